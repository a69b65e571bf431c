//! Writes the two files of a cluster.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

use anyhow::{Context as _, Result, bail};

use super::super::genkey;

/// Refuses when one of them is there.
pub(super) fn refuse_existing<P: AsRef<Path>>(paths: [P; 2]) -> Result<()> {
    for path in &paths {
        let path = path.as_ref();
        if path.symlink_metadata().is_ok() {
            bail!(
                "{} is there already; name another file with `--output FILE`, or overwrite file and secret with `--force`",
                path.display()
            );
        }
    }
    Ok(())
}

/// Writes the cluster's file, which everybody may read, and its secret, which only its owner may. Either both are
/// written or neither; what is there is overwritten only with `force`.
pub(super) fn both(
    (file, text): (&Path, &str),
    (key, secret): (&Path, &str),
    force: bool,
) -> Result<()> {
    if let Some(folder) = file.parent().filter(|folder| *folder != Path::new("")) {
        let made = DirBuilder::new().recursive(true).mode(0o755).create(folder);
        made.with_context(|| format!("{} cannot be made", folder.display()))?;
    }
    if force {
        for path in [file, key] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error)
                        .with_context(|| format!("{} cannot be removed", path.display()));
                }
                _ => {}
            }
        }
    }
    genkey::write(key, secret)?;
    let opened = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(file);
    let written = opened.and_then(|mut opened| {
        opened.write_all(text.as_bytes())?;
        opened.sync_all()
    });
    if written.is_err() {
        // A secret without a file would be in the way the next time.
        let _ = fs::remove_file(key);
    }
    written.with_context(|| format!("{} cannot be written", file.display()))
}
