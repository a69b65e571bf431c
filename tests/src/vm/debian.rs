//! Debian's kernels: which package a series is in, and fetching it with apt, once.
//!
//! The series of this machine's own release come from its own package lists. Others come from lists of
//! our own below the cache, so that nothing of the machine's configuration is changed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::ns::output;

/// Chooses the series.
pub const SERIES: &str = "L2HA_VM_KERNEL";
/// Names a package file to use instead of fetching one.
const OVERRIDE: &str = "L2HA_VM_KERNEL_DEB";
/// How long it is not asked again which packages are the newest: apt takes seconds to say.
const FRESH: Duration = Duration::from_hours(12);
/// What the packages' names end with: the plain kernels, no rt, cloud, debug or unsigned ones.
const SUFFIX: &str = "-amd64";

/// A series of kernels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Series {
    /// As people say it.
    name: &'static str,
    /// What the versions of its packages begin with.
    version: &'static str,
    /// The suite that has it, where it is not this machine's own release.
    suite: Option<&'static str>,
}

const ALL: [Series; 3] = [
    Series {
        name: "6.1",
        version: "6.1.",
        suite: None,
    },
    Series {
        name: "6.12",
        version: "6.12.",
        suite: Some("bookworm-backports"),
    },
    Series {
        name: "7.x",
        version: "7.",
        suite: Some("sid"),
    },
];

impl Series {
    /// The one that the environment asks for, else the oldest.
    pub(super) fn wanted() -> Result<Self> {
        let Ok(name) = std::env::var(SERIES) else {
            let [oldest, ..] = ALL;
            return Ok(oldest);
        };
        let names = ALL.map(|series| series.name);
        ALL.into_iter()
            .find(|series| series.name == name)
            .with_context(|| format!("{SERIES}: {name} is none of {}", names.join(", ")))
    }
}

/// The files of the packages, fetched if they are not there yet.
pub(super) fn packages(cache: &Path, series: &Series) -> Result<Vec<PathBuf>> {
    if let Some(named) = std::env::var_os(OVERRIDE) {
        let named = PathBuf::from(named);
        ensure!(named.is_file(), "{OVERRIDE}: no file {}", named.display());
        return Ok(vec![named]);
    }
    fs::create_dir_all(cache).with_context(|| format!("cannot create {}", cache.display()))?;
    let answer = cache.join(format!("{}.packages", series.name));
    if let Some(files) = answered(&answer) {
        return Ok(files);
    }
    fetch(cache, series)
        .and_then(|files| {
            let paths: Vec<_> = files.iter().map(|file| file.to_string_lossy()).collect();
            fs::write(&answer, paths.join("\n"))?;
            Ok(files)
        })
        .or_else(|error| {
            let old = newest_files(cache, series)?;
            if old.is_empty() {
                return Err(error);
            }
            println!("vm: using {}, because {error:#}", old[0].display());
            Ok(old)
        })
        .with_context(|| {
            format!(
                "the virtual machine needs a kernel; fetch a linux-image-{}*{SUFFIX} package by hand \
                 and name its file in {OVERRIDE}",
                series.version
            )
        })
}

/// What [`fetch`] found a short while ago, if the files are still there.
fn answered(answer: &Path) -> Option<Vec<PathBuf>> {
    let age = fs::metadata(answer).ok()?.modified().ok()?.elapsed().ok()?;
    let files: Vec<_> = fs::read_to_string(answer)
        .ok()?
        .lines()
        .map(PathBuf::from)
        .collect();
    let usable = age < FRESH && !files.is_empty() && files.iter().all(|file| file.is_file());
    usable.then_some(files)
}

fn fetch(cache: &Path, series: &Series) -> Result<Vec<PathBuf>> {
    let apt = Apt::new(cache, series)?;
    let version = match apt.newest(series)? {
        Some(version) => version,
        None => {
            println!("vm: fetching Debian's package lists");
            apt.update()?;
            apt.newest(series)?.with_context(|| {
                format!(
                    "apt knows no kernel {}; Debian 12 (bookworm) has it",
                    series.name
                )
            })?
        }
    };
    // Since Linux 7 the kernel, its modules and their lists are packages of their own.
    let parts = ["binary", "modules", "base"].map(|part| format!("linux-{part}-{version}{SUFFIX}"));
    let whole = format!("linux-image-{version}{SUFFIX}");
    let names = if apt.knows(&parts[0])? {
        parts.to_vec()
    } else {
        vec![whole]
    };
    names.iter().map(|name| apt.download(name, cache)).collect()
}

/// Apt, with this machine's lists or with ones of our own.
struct Apt(Vec<String>);

impl Apt {
    fn new(cache: &Path, series: &Series) -> Result<Self> {
        // Its own user may not write in our folder.
        let mut options = vec!["APT::Sandbox::User=root".to_owned()];
        if let Some(suite) = series.suite {
            let home = cache.join("apt");
            for folder in ["lists/partial", "cache/archives/partial", "parts"] {
                fs::create_dir_all(home.join(folder))?;
            }
            let list = home.join(format!("{suite}.list"));
            fs::write(&list, source(suite)?)?;
            options.extend([
                format!("Dir::Etc::sourcelist={}", list.display()),
                format!("Dir::Etc::sourceparts={}", home.join("parts").display()),
                format!("Dir::State::lists={}", home.join("lists").display()),
                format!("Dir::Cache={}", home.join("cache").display()),
                "Acquire::Languages=none".to_owned(),
            ]);
        }
        Ok(Self(options))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for option in &self.0 {
            command.args(["-o", option]);
        }
        command
    }

    fn update(&self) -> Result<()> {
        output(self.command("apt-get").args(["update", "--quiet=2"])).map(drop)
    }

    /// The newest version of a series, as it stands in the names.
    fn newest(&self, series: &Series) -> Result<Option<String>> {
        let prefix = format!("linux-image-{}", series.version);
        let names = output(self.command("apt-cache").args(["pkgnames", &prefix]))
            .context("the kernel comes from Debian, and apt is needed to get it")?;
        let versions = names.lines().filter_map(version_of);
        Ok(versions
            .max_by_key(|version| numbers(version))
            .map(str::to_owned))
    }

    fn knows(&self, package: &str) -> Result<bool> {
        let names = output(self.command("apt-cache").args(["pkgnames", package]))?;
        Ok(names.lines().any(|name| name == package))
    }

    fn download(&self, name: &str, to: &Path) -> Result<PathBuf> {
        let show = output(
            self.command("apt-cache")
                .args(["show", "--no-all-versions", name]),
        )?;
        let version = show
            .lines()
            .find_map(|line| line.strip_prefix("Version: "))
            .with_context(|| format!("apt-cache shows no version of {name}"))?;
        let file = to.join(format!("{name}_{}_amd64.deb", version.replace(':', "%3a")));
        if !file.is_file() {
            println!("vm: fetching {name} {version}");
            output(
                self.command("apt-get")
                    .args(["download", "--quiet=2", name])
                    .current_dir(to),
            )?;
            ensure!(
                file.is_file(),
                "apt-get downloaded something else than {}",
                file.display()
            );
        }
        Ok(file)
    }
}

/// A line for apt's sources: another suite of the mirror that this machine uses.
fn source(suite: &str) -> Result<String> {
    let targets = output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(REPO_URI) $(CODENAME)",
        "Identifier: Packages",
    ]))?;
    let mirror = targets
        .lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(_, codename)| !codename.contains('-'))
        .map(|(mirror, _)| mirror)
        .context("apt has no source of a Debian release: look at /etc/apt/sources.list")?;
    let keys = ["gpg", "pgp"]
        .map(|end| format!("/usr/share/keyrings/debian-archive-keyring.{end}"))
        .into_iter()
        .find(|file| Path::new(file).exists())
        .context("no Debian keys: apt-get install debian-archive-keyring")?;
    Ok(format!("deb [signed-by={keys}] {mirror} {suite} main\n"))
}

/// The version in the name of a plain kernel's package.
fn version_of(name: &str) -> Option<&str> {
    let version = name.strip_prefix("linux-image-")?.strip_suffix(SUFFIX)?;
    let plain = |part: &str| part.starts_with(|first: char| first.is_ascii_digit() || first == 'd');
    let (upstream, revision) = version.split_once(['-', '+'])?;
    let is_upstream = upstream.split('.').all(|part| part.parse::<u32>().is_ok());
    (is_upstream && plain(revision) && !revision.contains('-')).then_some(version)
}

/// The numbers in a version, to be compared one by one.
fn numbers(version: &str) -> Vec<u32> {
    version
        .split(|letter: char| !letter.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect()
}

/// The newest packages of a series in the cache.
fn newest_files(cache: &Path, series: &Series) -> Result<Vec<PathBuf>> {
    let mut found: Vec<(Vec<u32>, String, PathBuf)> = Vec::new();
    for entry in fs::read_dir(cache)?.flatten() {
        let name = entry.file_name();
        let Some(package) = name
            .to_str()
            .and_then(|name| name.strip_suffix("_amd64.deb"))
        else {
            continue;
        };
        let Some((package, _)) = package.split_once('_') else {
            continue;
        };
        for part in ["image", "binary", "modules", "base"] {
            let version = package.strip_prefix(&format!("linux-{part}-"));
            if let Some(version) = version.filter(|version| version.starts_with(series.version)) {
                found.push((numbers(version), part.to_owned(), entry.path()));
            }
        }
    }
    let Some(newest) = found.iter().map(|(version, _, _)| version.clone()).max() else {
        return Ok(Vec::new());
    };
    found.retain(|(version, _, _)| *version == newest);
    // The kernel itself first.
    found.sort_by_key(|(_, part, _)| !["image", "binary"].contains(&part.as_str()));
    let whole = found.len() == 3 || found.iter().any(|(_, part, _)| part == "image");
    if !whole {
        bail!(
            "of kernel {} a package is missing in {}",
            series.name,
            cache.display()
        );
    }
    Ok(found.into_iter().map(|(_, _, path)| path).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_kernels_are_told_from_others() {
        for (name, version) in [
            ("linux-image-6.1.0-51-amd64", Some("6.1.0-51")),
            ("linux-image-6.12.90+deb12.1-amd64", Some("6.12.90+deb12.1")),
            ("linux-image-7.2.13+deb14-amd64", Some("7.2.13+deb14")),
            ("linux-image-6.1.0-51-rt-amd64", None),
            ("linux-image-6.12.95+deb12-cloud-amd64", None),
            ("linux-image-6.1.0-51-amd64-unsigned", None),
            ("linux-image-amd64", None),
        ] {
            assert_eq!(version_of(name), version, "{name}");
        }
        assert!(numbers("6.12.100+deb12") > numbers("6.12.95+deb12"));
        assert!(numbers("6.12.90+deb12.1") > numbers("6.12.90+deb12"));
    }
}
