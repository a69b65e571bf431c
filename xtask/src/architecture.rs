//! The table "The parts" of docs/architecture.md says of each crate which others it knows; its manifest
//! says so too.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, TargetKind};

use crate::cmd::root;

const PAGE: &str = "docs/architecture.md";
/// What is built and tested on a machine without the BPF toolchain and without root.
const ANYWHERE: [&str; 7] = [
    "bfd", "config", "control", "health", "linux", "ospfv3", "routing",
];

/// The crates of the workspace.
fn workspace() -> Metadata {
    MetadataCommand::new()
        .current_dir(root())
        .no_deps()
        .exec()
        .expect("cargo reads the workspace")
}

/// The crates of the workspace that one depends on, for one of these purposes.
fn known(metadata: &Metadata, package: &Package, kinds: &[DependencyKind]) -> BTreeSet<String> {
    let ours = |name: &str| metadata.packages.iter().any(|it| it.name.as_str() == name);
    let dependencies = package.dependencies.iter();
    dependencies
        .filter(|it| kinds.contains(&it.kind) && ours(&it.name))
        .map(|it| it.name.clone())
        .collect()
}

/// The words between backticks.
fn names(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// What the page says: the crates known, by the folder of the one that knows them.
fn table(page: &str) -> BTreeMap<String, BTreeSet<String>> {
    let (_, part) = page
        .split_once("\n## The parts\n")
        .expect("the page has a part `The parts`");
    let part = part.split("\n## ").next().unwrap_or_default();
    let rows = part.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let [folder, _, whom] = cells[..] else {
            panic!("{PAGE}: three cells are wanted in `{row}`");
        };
        let folder = names(folder)[0].to_owned();
        (folder, names(whom).into_iter().map(str::to_owned).collect())
    })
    .collect()
}

/// The row that is about a crate.
fn row(package: &Package) -> String {
    let manifest = package.manifest_path.as_std_path();
    let folder = manifest.parent().expect("a manifest lies in a folder");
    let folder = folder
        .strip_prefix(root())
        .expect("crates lie in the workspace");
    match folder.to_str().expect("a folder of ours") {
        // Other crates lie in the same folder.
        "l2ha-user" => "l2ha-user/src".to_owned(),
        // The programs have a row of their own.
        "l2ha-ebpf" => "l2ha-ebpf/src/lib.rs".to_owned(),
        folder => folder.to_owned(),
    }
}

#[test]
fn the_table_of_the_parts_is_what_the_manifests_say() {
    let page = fs::read_to_string(root().join(PAGE)).expect("the page is there");
    let mut table = table(&page);
    table.remove("l2ha-ebpf/src/main.rs");
    let metadata = workspace();
    let mut faults = Vec::new();
    for package in &metadata.packages {
        let (name, row) = (&package.name, row(package));
        let Some(said) = table.remove(&row) else {
            faults.push(format!(
                "{PAGE}: add a row `{row}` for the crate {name} to the table"
            ));
            continue;
        };
        let kinds = [DependencyKind::Normal, DependencyKind::Build];
        let is = known(&metadata, package, &kinds);
        for other in is.difference(&said) {
            faults.push(format!(
                "{name} depends on {other}, which the architecture does not allow: take it out of \
                 {name}'s Cargo.toml, or write `{other}` into the row `{row}` of {PAGE}"
            ));
        }
        for other in said.difference(&is) {
            faults.push(format!(
                "{PAGE}: take `{other}` out of the row `{row}`: {name} does not depend on it"
            ));
        }
    }
    for row in table.keys() {
        faults.push(format!(
            "{PAGE}: take the row `{row}` out: no crate is there"
        ));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn what_needs_no_bpf_toolchain_reaches_no_build_script() {
    let metadata = workspace();
    let package = |name: &str| {
        let mut all = metadata.packages.iter();
        all.find(|it| it.name.as_str() == name)
            .unwrap_or_else(|| panic!("there is no crate {name}"))
    };
    let mut seen = BTreeSet::new();
    // Tests need what their crate needs, and what it needs for tests.
    let mut open: Vec<String> = ANYWHERE.map(str::to_owned).to_vec();
    while let Some(name) = open.pop() {
        let it = package(&name);
        let is_script = |kind: &TargetKind| *kind == TargetKind::CustomBuild;
        assert!(
            !it.targets
                .iter()
                .any(|target| target.kind.iter().any(is_script)),
            "{name} has a build script, and one of {} depends on it: these must build without the \
             BPF toolchain; take the dependency out",
            ANYWHERE.join(", ")
        );
        let mut kinds = vec![DependencyKind::Normal, DependencyKind::Build];
        if ANYWHERE.contains(&name.as_str()) {
            kinds.push(DependencyKind::Development);
        }
        if seen.insert(name.clone()) {
            open.extend(known(&metadata, it, &kinds));
        }
    }
    assert!(!seen.contains("l2ha-tests"), "the lab wants root");
}
