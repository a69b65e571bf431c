//! Cleaning up: after a namespace that ends, and after labs that were killed before they could.
//!
//! Everything that a lab makes outside of its process has the process's id in its name. What has the id of a process
//! that lives is left alone.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::Once,
    thread,
    time::{Duration, Instant},
};

use nix::{
    fcntl::{Flock, FlockArg},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    command::output,
    lab::PINS,
    ns::{NETNS, PREFIX},
};

/// The process that cleans up holds this file's lock: tests that begin at the same moment do not disturb each other.
const LOCK: &str = "/run/l2ha-lab-sweep.lock";
/// Where BPF objects are pinned.
const BPFFS: &str = "/sys/fs/bpf";

/// Removes, once in this process, what labs left that were killed. Where another process does so, this one does not.
pub(crate) fn once() {
    static SWEPT: Once = Once::new();
    SWEPT.call_once(|| {
        let locked = fs::File::create(LOCK)
            .ok()
            .and_then(|file| Flock::lock(file, FlockArg::LockExclusiveNonblock).ok());
        if locked.is_some() {
            remove_all(|pid| !Path::new("/proc").join(pid.to_string()).exists());
        }
    });
}

/// Removes whatever labs of this process have made.
pub(crate) fn own() {
    remove_all(|pid| pid == std::process::id());
}

/// Removes what labs of these processes have made: namespaces with what runs in them, scratch folders and pins.
fn remove_all(of: impl Fn(u32) -> bool) {
    let named = |folder: &Path, prefix: &str| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let matches = |entry: &fs::DirEntry| maker(&entry.file_name(), prefix).is_some_and(&of);
        entries.filter(matches).map(|entry| entry.path()).collect()
    };
    for path in named(Path::new(NETNS), PREFIX) {
        if let Ok(metadata) = path.metadata() {
            end_strays(metadata.ino());
        }
        if let Some(name) = path.file_name().and_then(OsStr::to_str) {
            remove(name);
        }
    }
    for (folder, prefix) in [
        (std::env::temp_dir().as_path(), "l2ha-lab"),
        (Path::new(PINS), "lab"),
        (Path::new(BPFFS), "l2ha-lab"),
    ] {
        for path in named(folder, prefix) {
            let removed = match path.is_dir() {
                true => fs::remove_dir_all(&path),
                false => fs::remove_file(&path),
            };
            if let Err(error) = removed {
                eprintln!("lab: cannot remove {}: {error}", path.display());
            }
        }
    }
}

/// The process whose lab has made something of this name: after a prefix, its id.
fn maker(name: &OsStr, prefix: &str) -> Option<u32> {
    let rest = name.to_str()?.strip_prefix(prefix)?;
    rest.split('-').next()?.parse().ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_their_maker() {
        let maker = |name: &str, prefix| maker(OsStr::new(name), prefix);
        assert_eq!(maker("l2ha-17-0-client", "l2ha-"), Some(17));
        assert_eq!(maker("l2ha-lab17-0", "l2ha-lab"), Some(17));
        assert_eq!(maker("lab17-0-client", "lab"), Some(17));
        for name in ["l2ha-lab17-0", "l2ha", "eth0", "l2ha--1", "l2ha-x-0"] {
            assert_eq!(maker(name, "l2ha-"), None, "{name}");
        }
    }

    #[test]
    fn what_a_living_process_has_made_stays() {
        let folder = |pid| std::env::temp_dir().join(format!("l2ha-lab{pid}-sweep"));
        // No process has this id: it is more than pid_max may be.
        let (ours, gone) = (folder(std::process::id()), folder(1 << 23));
        for folder in [&ours, &gone] {
            fs::create_dir_all(folder.join("sub")).unwrap();
        }
        remove_all(|pid| pid == 1 << 23);
        assert!(ours.exists() && !gone.exists());
        fs::remove_dir_all(ours).unwrap();
    }
}
