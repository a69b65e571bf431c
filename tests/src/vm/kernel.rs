//! The virtual machine's kernel: Debian's own package, fetched once and unpacked below `target/vm`.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::ns::output;

/// What the packages are called: this, an ABI number, and [`SUFFIX`].
const PREFIX: &str = "linux-image-6.1.0-";
const SUFFIX: &str = "-amd64";
/// Names a package file to use instead of fetching one.
const OVERRIDE: &str = "L2HA_VM_KERNEL_DEB";
/// The parts of the package that are unpacked, as patterns for tar.
const PARTS: &[&str] = &[
    "./boot/vmlinuz-*",
    "./lib/modules/*/modules.builtin",
    "./lib/modules/*/kernel/drivers/char/*",
    "./lib/modules/*/kernel/drivers/net/*",
    "./lib/modules/*/kernel/drivers/virtio/*",
    "./lib/modules/*/kernel/net/*",
];

/// An unpacked kernel.
#[derive(Debug)]
pub(super) struct Kernel {
    /// The package's file name, which has its version.
    pub(super) package: String,
    /// The compressed kernel.
    pub(super) image: PathBuf,
    modules: BTreeMap<String, PathBuf>,
    /// Modules that are part of the kernel itself: newer ones have virtio so.
    built_in: BTreeSet<String>,
}

impl Kernel {
    /// The newest 6.1 kernel Debian offers, or without an answer from Debian the newest one that
    /// was fetched earlier.
    pub(super) fn get(cache: &Path) -> Result<Self> {
        let deb = package_file(cache).with_context(|| {
            format!(
                "the virtual machine needs a kernel; fetch a {PREFIX}*{SUFFIX} package by hand \
                 and name its file in {OVERRIDE}"
            )
        })?;
        let package = deb
            .file_stem()
            .and_then(OsStr::to_str)
            .context("a package without a name")?
            .to_owned();
        // Another name than that of trees unpacked before they had the list of built-in modules.
        let tree = cache.join(format!("{package}.tree"));
        if !tree.exists() {
            println!("vm: unpacking {package}");
            unpack(&deb, &tree).inspect_err(|_| {
                // One that was cut short on its way would fail for ever; a named one is not ours.
                if deb.parent() == Some(cache) {
                    let _ = fs::remove_file(&deb);
                }
            })?;
        }
        Ok(Self {
            image: image(&tree)?,
            modules: modules_below(&tree)?,
            built_in: built_in(&tree)?,
            package,
        })
    }

    /// The files of these modules and of all they depend on, in an order they can be inserted in.
    pub(super) fn modules(&self, wanted: &[&str]) -> Result<Vec<PathBuf>> {
        let mut order = Vec::new();
        for name in wanted {
            self.add(name, &mut order)?;
        }
        Ok(order)
    }

    fn add(&self, name: &str, order: &mut Vec<PathBuf>) -> Result<()> {
        if self.built_in.contains(name) {
            return Ok(());
        }
        let path = self
            .modules
            .get(name)
            .with_context(|| format!("{} has no module {name}", self.package))?;
        if order.contains(path) {
            return Ok(());
        }
        for dependency in dependencies(path)? {
            self.add(&dependency, order)?;
        }
        order.push(path.clone());
        Ok(())
    }
}

/// The package's file, fetched if it is not there yet.
fn package_file(cache: &Path) -> Result<PathBuf> {
    if let Some(named) = std::env::var_os(OVERRIDE) {
        let named = PathBuf::from(named);
        ensure!(named.is_file(), "{OVERRIDE}: no file {}", named.display());
        return Ok(named);
    }
    fs::create_dir_all(cache).with_context(|| format!("cannot create {}", cache.display()))?;
    match fetch(cache) {
        Ok(file) => Ok(file),
        Err(error) => {
            let Some(old) = newest_file(cache)? else {
                return Err(error);
            };
            println!("vm: using {}, because {error:#}", old.display());
            Ok(old)
        }
    }
}

fn fetch(cache: &Path) -> Result<PathBuf> {
    let name = match newest_name()? {
        Some(name) => name,
        None => {
            println!("vm: Debian's package lists are empty; updating them");
            output(Command::new("apt-get").args(["update", "--quiet=2"]))?;
            newest_name()?.with_context(|| {
                format!("apt knows no {PREFIX}*{SUFFIX}; Debian 12 (bookworm) has it")
            })?
        }
    };
    let show = output(Command::new("apt-cache").args(["show", "--no-all-versions", &name]))?;
    let version = show
        .lines()
        .find_map(|line| line.strip_prefix("Version: "))
        .with_context(|| format!("apt-cache shows no version of {name}"))?;
    let file = cache.join(format!("{name}_{}_amd64.deb", version.replace(':', "%3a")));
    if !file.is_file() {
        println!("vm: fetching {name} {version} (70 MB)");
        output(
            Command::new("apt-get")
                // Its own user may not write in our folder.
                .args(["-o", "APT::Sandbox::User=root", "download", &name])
                .current_dir(cache),
        )?;
        ensure!(
            file.is_file(),
            "apt-get downloaded something else than {}",
            file.display()
        );
    }
    Ok(file)
}

/// The package with the highest ABI number that apt knows.
fn newest_name() -> Result<Option<String>> {
    let names = output(Command::new("apt-cache").args(["pkgnames", PREFIX]))
        .context("the kernel comes from Debian, and apt is needed to get it")?;
    Ok(names
        .lines()
        .filter_map(|name| Some((abi(name)?, name)))
        .max()
        .map(|(_, name)| name.to_owned()))
}

/// The ABI number in the name of a plain kernel; none for the rt, cloud, debug and unsigned ones.
fn abi(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?
        .strip_suffix(SUFFIX)?
        .parse()
        .ok()
}

fn newest_file(cache: &Path) -> Result<Option<PathBuf>> {
    Ok(fs::read_dir(cache)?
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let package = name.to_str()?.strip_suffix("_amd64.deb")?;
            Some((abi(package.split('_').next()?)?, entry.path()))
        })
        .max()
        .map(|(_, path)| path))
}

/// Unpacks [`PARTS`] of a package; the folder is there only when all of it is.
fn unpack(deb: &Path, to: &Path) -> Result<()> {
    let part = to.with_added_extension("part");
    // Of an attempt that was interrupted; usually there is none.
    let _ = fs::remove_dir_all(&part);
    fs::create_dir_all(&part)?;
    let mut archive = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(deb)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start dpkg-deb")?;
    let pipe = archive.stdout.take().context("no pipe")?;
    let unpacked = Command::new("tar")
        .arg("--extract")
        .arg("--directory")
        .arg(&part)
        .arg("--wildcards")
        .args(PARTS)
        .stdin(pipe)
        .status()
        .context("cannot start tar")?;
    let read = archive.wait()?;
    if !unpacked.success() || !read.success() {
        bail!(
            "cannot unpack {} (dpkg-deb: {read}, tar: {unpacked}); is the disk full? Else try again",
            deb.display()
        );
    }
    // Kernels after 6.1 have their modules compressed.
    output(Command::new("find").arg(&part).args([
        "-name",
        "*.ko.xz",
        "-exec",
        "xz",
        "--decompress",
        "{}",
        "+",
    ]))
    .context("cannot decompress the kernel's modules: apt-get install xz-utils")?;
    fs::rename(&part, to).with_context(|| format!("cannot create {}", to.display()))
}

/// What the kernel's own list of built-in modules has, by the names the kernel has for them.
fn built_in(tree: &Path) -> Result<BTreeSet<String>> {
    let modules = tree.join("lib/modules");
    let mut names = BTreeSet::new();
    for version in fs::read_dir(&modules)
        .with_context(|| format!("no folder {}", modules.display()))?
        .flatten()
    {
        let list = version.path().join("modules.builtin");
        let text =
            fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
        names.extend(text.lines().filter_map(|line| {
            let file = Path::new(line).file_stem()?.to_str()?;
            Some(file.replace('-', "_"))
        }));
    }
    Ok(names)
}

fn image(tree: &Path) -> Result<PathBuf> {
    let boot = tree.join("boot");
    fs::read_dir(&boot)
        .with_context(|| format!("no folder {}", boot.display()))?
        .flatten()
        .map(|entry| entry.path())
        .next()
        .with_context(|| format!("no kernel in {}", boot.display()))
}

/// Every module below a folder, by the name the kernel has for it.
fn modules_below(tree: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![tree.join("lib/modules")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)
            .with_context(|| format!("no folder {}", folder.display()))?
            .flatten()
        {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension() == Some(OsStr::new("ko"))
                && let Some(name) = path.file_stem().and_then(OsStr::to_str)
            {
                found.insert(name.replace('-', "_"), path);
            }
        }
    }
    Ok(found)
}

/// The modules a module names in its own `depends=`, as depmod reads it.
fn dependencies(module: &Path) -> Result<Vec<String>> {
    const KEY: &[u8] = b"\0depends=";
    let bytes = fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
    let start = bytes
        .windows(KEY.len())
        .position(|window| window == KEY)
        .with_context(|| format!("{} names no dependencies", module.display()))?;
    let value = bytes[start + KEY.len()..]
        .split(|byte| *byte == 0)
        .next()
        .unwrap_or_default();
    Ok(std::str::from_utf8(value)?
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect())
}
