//! The folder for pins.

use std::{fs, io, path::Path};

use anyhow::{Context as _, Result, bail};
use nix::{
    mount::{MsFlags, mount},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};

use crate::pins;

/// Where every system has its bpffs, if it has one.
const STANDARD: &str = "/sys/fs/bpf";

/// Makes the folder, and mounts the standard bpffs if the folder lies there and it is not mounted yet.
pub(crate) fn ensure_dir(dir: &Path) -> Result<()> {
    let base = dir
        .ancestors()
        .find(|path| path.exists())
        .with_context(|| format!("{} is not a path on a bpffs", dir.display()))?;
    if !is_bpffs(base)? {
        if base != Path::new(STANDARD) {
            bail!(
                "{} is not on a bpffs: mount one (`mount -t bpf bpf {}`) or set `bpffs` to where one is",
                dir.display(),
                base.display()
            );
        }
        mount(
            Some("bpf"),
            base,
            Some("bpf"),
            MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC,
            Some("mode=700"),
        )
        .with_context(|| format!("no bpffs at {STANDARD}, and it cannot be mounted"))?;
        tracing::info!(path = STANDARD, "mounted a bpffs");
    }
    // The node's folder and those above it, up to the mount point.
    for folder in dir.ancestors().take(3) {
        if fs::symlink_metadata(folder).is_ok_and(|it| !it.is_dir()) {
            pins::set_aside(folder)?;
        }
    }
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))
}

/// Removes the folder if it is empty, and then its parent likewise.
pub(crate) fn remove_dir(dir: &Path) -> Result<()> {
    for dir in dir.ancestors().take(2) {
        match fs::remove_dir(dir) {
            Ok(()) => {}
            // Another node's pins are in the parent, or it is the mount point itself.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound
                        | io::ErrorKind::DirectoryNotEmpty
                        | io::ErrorKind::ResourceBusy
                ) =>
            {
                return Ok(());
            }
            Err(error) => {
                return Err(error).with_context(|| format!("cannot remove {}", dir.display()));
            }
        }
    }
    Ok(())
}

pub(crate) fn is_bpffs(path: &Path) -> Result<bool> {
    let kind = statfs(path)
        .with_context(|| format!("cannot look at {}", path.display()))?
        .filesystem_type();
    Ok(kind == BPF_FS_MAGIC)
}
