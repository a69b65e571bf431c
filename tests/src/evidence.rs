//! What is kept of a scenario that failed.

use std::{fs, path::Path};

use anyhow::Result;

use crate::ns::Namespace;

/// What a person would look at first.
pub(crate) fn state(ns: &Namespace) -> String {
    let mut text = String::new();
    for words in [
        &["ip", "-d", "addr"][..],
        &["ip", "-4", "route", "show", "table", "all"],
        &["ip", "-6", "route", "show", "table", "all"],
        &["ip", "neigh"],
        &["ip", "-s", "link"],
        &["bpftool", "net"],
        &["ss", "-anptu"],
    ] {
        let shown = match ns.try_run(words) {
            Ok((_, shown)) => shown,
            Err(error) => format!("{error:#}\n"),
        };
        text.push_str(&format!("# {}\n{shown}\n", words.join(" ")));
    }
    text
}

/// Copies files, not sockets or what may not be seen, below `from` to `to`.
pub(crate) fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let target = to.join(entry.file_name());
        if kind.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
