//! Cleaning up: after a namespace that ends, and after labs that were killed before they could.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::Once,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    command::output,
    lab::PINS,
    ns::{NETNS, PREFIX},
};

/// Removes, once in this process, what labs left that were killed.
pub(crate) fn once() {
    static SWEPT: Once = Once::new();
    SWEPT.call_once(|| {
        namespaces();
        folders();
    });
}

/// Whether a name is a prefix and then the pid of a maker that is gone.
fn is_orphan(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix)
        .and_then(|rest| rest.split('-').next())
        .and_then(|pid| pid.parse::<u32>().ok())
        .is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
}

/// Removes scratch folders and pins of labs whose maker is gone.
fn folders() {
    for (folder, prefix) in [
        (std::env::temp_dir(), "l2ha-lab"),
        (PathBuf::from(PINS), "lab"),
    ] {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name.to_str().is_some_and(|name| is_orphan(name, prefix))
                && let Err(error) = fs::remove_dir_all(entry.path())
            {
                eprintln!("lab: cannot remove {}: {error}", entry.path().display());
            }
        }
    }
}

/// Removes namespaces of labs whose maker is gone, with what still runs in them.
fn namespaces() {
    let Ok(entries) = fs::read_dir(NETNS) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if !is_orphan(name, PREFIX) {
            continue;
        }
        if let Ok(metadata) = entry.path().metadata() {
            end_strays(metadata.ino());
        }
        remove(name);
    }
}

/// Ends every process that still runs in the namespace with this inode.
pub(crate) fn end_strays(inode: u64) {
    let until = Instant::now() + Duration::from_secs(2);
    loop {
        let pids = pids_in(inode);
        for pid in &pids {
            // A stray that ended by itself in between is what was wanted.
            let _ = kill(*pid, Signal::SIGKILL);
        }
        if pids.is_empty() || Instant::now() > until {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// The processes, other than this one, whose network namespace has this inode.
fn pids_in(inode: u64) -> Vec<Pid> {
    let own = std::process::id();
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| u32::try_from(*pid) != Ok(own))
        .filter(|pid| {
            fs::metadata(format!("/proc/{pid}/ns/net")).is_ok_and(|file| file.ino() == inode)
        })
        .map(Pid::from_raw)
        .collect()
}

/// Removes a namespace's name; its interfaces go with it.
pub(crate) fn remove(name: &str) {
    if let Err(error) = output(Command::new("ip").args(["netns", "del", name])) {
        eprintln!("lab: {error:#}");
    }
}
