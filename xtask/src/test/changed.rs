//! Which crates a change concerns.

use std::{collections::BTreeSet, path::Path, process::Command};

use anyhow::Result;
use cargo_metadata::MetadataCommand;

use crate::cmd::{output, root};

/// What lies in no crate's folder, and the crate whose tests read it.
const READ_BY: [(&str, &str); 6] = [
    ("docs", "config"),
    ("docs/cli.md", "l2ha-user"),
    ("docs/problems.md", "l2ha-user"),
    ("docs/architecture.md", "xtask"),
    ("docs/contributing.md", "xtask"),
    ("docs/glossary.md", "xtask"),
];

/// The names of the crates that have uncommitted changes, or were changed by the last commit if there
/// are none.
///
/// # Errors
///
/// When git or cargo do not answer.
pub(crate) fn packages() -> Result<Vec<String>> {
    let mut files = git(&["status", "--porcelain", "--no-renames"])?
        .lines()
        .filter_map(|line| line.get(3..).map(str::to_owned))
        .collect::<Vec<_>>();
    if files.is_empty() {
        files = git(&["diff", "--name-only", "HEAD~1", "HEAD"])?
            .lines()
            .map(str::to_owned)
            .collect();
    }
    let metadata = MetadataCommand::new()
        .current_dir(root())
        .no_deps()
        .exec()?;
    let folders: Vec<(String, String)> = metadata
        .packages
        .iter()
        .filter_map(|package| {
            let folder = package.manifest_path.parent()?.strip_prefix(root()).ok()?;
            Some((folder.to_string(), package.name.to_string()))
        })
        .chain(READ_BY.map(|(folder, name)| (folder.to_owned(), name.to_owned())))
        .collect();
    let concerned: BTreeSet<String> = files
        .iter()
        .filter_map(|file| owner(&folders, file).map(str::to_owned))
        .collect();
    Ok(concerned.into_iter().collect())
}

/// The crate in whose folder a file lies: the innermost.
fn owner<'a>(folders: &'a [(String, String)], file: &str) -> Option<&'a str> {
    folders
        .iter()
        .filter(|(folder, _)| Path::new(file).starts_with(folder))
        .max_by_key(|(folder, _)| folder.len())
        .map(|(_, name)| name.as_str())
}

fn git(arguments: &[&str]) -> Result<String> {
    output(Command::new("git").args(arguments).current_dir(root()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_crate_owns_a_file() {
        let folders = [("l2ha-user", "l2ha-user"), ("l2ha-user/bfd", "bfd")]
            .map(|(folder, name)| (folder.to_owned(), name.to_owned()));
        let owner = |file| owner(&folders, file);
        assert_eq!(owner("l2ha-user/bfd/src/lib.rs"), Some("bfd"));
        assert_eq!(owner("l2ha-user/bfd2/src/lib.rs"), Some("l2ha-user"));
        assert_eq!(owner("README.md"), None);
    }
}
