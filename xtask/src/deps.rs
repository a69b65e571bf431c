//! What the dependencies may be: their licences, and no crate twice.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail};
use cargo_metadata::{Metadata, MetadataCommand, PackageId};
use spdx::{Expression, Licensee, ParseMode};

use crate::cmd::{root, say};

/// Licences that ask for nothing but their own text to be passed on.
const LICENCES: [&str; 8] = [
    "MIT",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "NCSA",
    "Unicode-3.0",
    "Zlib",
];

/// Crates that are there in several versions, and why this cannot be helped now.
const DUPLICATES: [(&str, &str); 5] = [
    (
        "foldhash",
        "with the older hashbrown; it runs in the compiler only",
    ),
    (
        "hashbrown",
        "petgraph 0.8, under prost-build, wants an older one; it runs in the compiler only",
    ),
    (
        "prettyplease",
        "prost-build and tonic-build want different ones; they run in the compiler only",
    ),
    (
        "syn",
        "derive macros move to syn 3 one by one; it runs in the compiler only",
    ),
    ("getrandom", "ring 0.17, under rustls, wants an older one"),
];

/// The platform whose dependencies are looked at; those of others are never built.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// A crate from outside the workspace.
struct Dependency {
    name: String,
    version: String,
    licence: Option<String>,
    /// Crates that want it.
    wanted_by: Vec<String>,
}

/// Looks at all dependencies, those of tests and build scripts included.
///
/// # Errors
///
/// Names each crate with its version, what is wrong, and what can be done.
pub(crate) fn check() -> Result<()> {
    let metadata = MetadataCommand::new()
        .current_dir(root())
        .features(cargo_metadata::CargoOpt::AllFeatures)
        .other_options([
            "--locked".to_owned(),
            "--filter-platform".to_owned(),
            PLATFORM.to_owned(),
        ])
        .exec()
        .context(
            "the dependencies cannot be read; if Cargo.lock is out of date, call `cargo metadata`, \
             and commit it",
        )?;
    let dependencies = dependencies(&metadata)?;
    let problems: Vec<String> = licences(&dependencies)
        .into_iter()
        .chain(duplicates(&dependencies))
        .collect();
    if !problems.is_empty() {
        bail!("{}", problems.join("\n"));
    }
    say(format!(
        "{} dependencies: licences allowed, no unknown duplicates",
        dependencies.len()
    ));
    Ok(())
}

fn dependencies(metadata: &Metadata) -> Result<Vec<Dependency>> {
    let resolve = metadata
        .resolve
        .as_ref()
        .context("`cargo metadata` does not say what depends on what")?;
    let name = |id: &PackageId| {
        let package = metadata.packages.iter().find(|package| &package.id == id);
        package.map(|package| format!("{} {}", package.name, package.version))
    };
    let used: BTreeSet<&PackageId> = resolve.nodes.iter().map(|node| &node.id).collect();
    let packages = metadata.packages.iter();
    Ok(packages
        .filter(|package| package.source.is_some() && used.contains(&package.id))
        .map(|package| Dependency {
            name: package.name.to_string(),
            version: package.version.to_string(),
            licence: package.license.clone(),
            wanted_by: resolve
                .nodes
                .iter()
                .filter(|node| node.dependencies.contains(&package.id))
                .filter_map(|node| name(&node.id))
                .collect(),
        })
        .collect())
}

/// What is wrong with the licences.
fn licences(dependencies: &[Dependency]) -> Vec<String> {
    let allowed: Vec<Licensee> = LICENCES
        .iter()
        .map(|licence| Licensee::parse(licence).expect("the list has SPDX names"))
        .collect();
    let problem = |dependency: &Dependency| {
        let Some(text) = &dependency.licence else {
            return Some("names no licence".to_owned());
        };
        match Expression::parse_mode(text, ParseMode::LAX) {
            Ok(expression) => {
                let fine = expression
                    .evaluate(|wanted| allowed.iter().any(|licence| licence.satisfies(wanted)));
                (!fine).then(|| format!("has the licence `{text}`, which is not on the list"))
            }
            Err(_) => Some(format!(
                "has the licence `{text}`, which is no SPDX expression"
            )),
        }
    };
    dependencies
        .iter()
        .filter_map(|dependency| {
            let problem = problem(dependency)?;
            Some(format!(
                "{} {}: {problem}; replace it (wanted by {}), or, if its licence asks for no more \
                 than these do, add it to LICENCES in xtask/src/deps.rs",
                dependency.name,
                dependency.version,
                dependency.wanted_by.join(", "),
            ))
        })
        .collect()
}

/// What is wrong with crates that are there more than once.
fn duplicates(dependencies: &[Dependency]) -> Vec<String> {
    let mut versions: BTreeMap<&str, Vec<&Dependency>> = BTreeMap::new();
    for dependency in dependencies {
        versions
            .entry(&dependency.name)
            .or_default()
            .push(dependency);
    }
    versions.retain(|_, versions| versions.len() > 1);
    let known = |name: &str| DUPLICATES.iter().any(|(known, _)| *known == name);
    let unknown = versions.iter().filter(|(name, _)| !known(name));
    let unknown = unknown.map(|(name, versions)| {
        let list: Vec<String> = versions
            .iter()
            .map(|dependency| {
                format!(
                    "{} (wanted by {})",
                    dependency.version,
                    dependency.wanted_by.join(", ")
                )
            })
            .collect();
        format!(
            "{name}: is there in {} versions: {}; bring those that want it to one version \
             (`cargo update`, or another version in Cargo.toml), or add it with the reason to \
             DUPLICATES in xtask/src/deps.rs",
            versions.len(),
            list.join(", ")
        )
    });
    let stale = DUPLICATES
        .iter()
        .filter(|(name, _)| !versions.contains_key(name));
    let stale = stale.map(|(name, _)| {
        format!("{name}: is there only once now; remove it from DUPLICATES in xtask/src/deps.rs")
    });
    unknown.chain(stale).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dependency(name: &str, version: &str, licence: Option<&str>) -> Dependency {
        Dependency {
            name: name.to_owned(),
            version: version.to_owned(),
            licence: licence.map(str::to_owned),
            wanted_by: vec!["l2ha-user 0.1.0".to_owned()],
        }
    }

    #[test]
    fn allowed_licences_pass() {
        for licence in [
            "MIT",
            "MIT OR Apache-2.0",
            "MIT/Apache-2.0",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR MIT",
            "GPL-3.0-only OR MIT",
        ] {
            let problems = licences(&[dependency("good", "1.0.0", Some(licence))]);
            assert!(problems.is_empty(), "{problems:?}");
        }
    }

    #[test]
    fn other_licences_are_named_with_crate_version_and_remedy() {
        for licence in [
            Some("GPL-3.0-only"),
            Some("MIT AND GPL-2.0-only"),
            Some("Apache-2.0 WITH LLVM-exception"),
            Some("see file"),
            None,
        ] {
            let problems = licences(&[dependency("bad", "1.2.3", licence)]);
            let [problem] = &problems[..] else {
                panic!("{licence:?}: {problems:?}");
            };
            assert!(problem.starts_with("bad 1.2.3: "), "{problem}");
            assert!(problem.contains("l2ha-user 0.1.0"), "{problem}");
            assert!(problem.contains("xtask/src/deps.rs"), "{problem}");
        }
    }

    #[test]
    fn unknown_and_stale_duplicates_are_named() {
        let twice = |name: &str| {
            [
                dependency(name, "1.0.0", None),
                dependency(name, "2.0.0", None),
            ]
        };
        let known: Vec<Dependency> = DUPLICATES
            .iter()
            .flat_map(|(name, _)| twice(name))
            .collect();
        assert!(duplicates(&known).is_empty());

        let unknown: Vec<Dependency> = known.into_iter().chain(twice("nix")).collect();
        let problems = duplicates(&unknown);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(
            problems[0].starts_with(
                "nix: is there in 2 versions: 1.0.0 (wanted by l2ha-user 0.1.0), 2.0.0"
            ),
            "{problems:?}"
        );

        let problems = duplicates(&[dependency("syn", "2.0.0", None)]);
        assert_eq!(problems.len(), DUPLICATES.len(), "{problems:?}");
        assert!(problems[0].contains("only once now"), "{problems:?}");
    }
}
