//! What the tests of the data plane share.
#![expect(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod bench;
pub(crate) mod log;
pub(crate) mod net;
pub(crate) mod outer;
pub(crate) mod raw;
pub(crate) mod vlan;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Once,
        atomic::{AtomicU32, Ordering},
    },
};

use anyhow::Context as _;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// What every test returns.
pub(crate) type Result<T = ()> = anyhow::Result<T>;

/// What the mount points of these tests begin with; the pid of their maker follows.
const PREFIX: &str = "l2ha-pins-";

/// A bpffs of its own; dropping it unmounts it, and with it all pins are gone.
pub(crate) struct Pins {
    root: PathBuf,
}

impl Pins {
    /// Mounts it.
    pub(crate) fn new() -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        static SWEPT: Once = Once::new();
        SWEPT.call_once(sweep);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("{PREFIX}{}-{number}", std::process::id()));
        fs::create_dir_all(&root)?;
        mount(
            Some("bpf"),
            &root,
            Some("bpf"),
            MsFlags::empty(),
            None::<&str>,
        )
        .context("cannot mount a bpffs; this test needs root")?;
        Ok(Self { root })
    }

    /// The pin folder of a node.
    pub(crate) fn dir(&self, node: &str) -> PathBuf {
        self.root.join("l2ha").join(node)
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        remove(&self.root);
    }
}

fn remove(root: &Path) {
    let unmounted = umount2(root, MntFlags::MNT_DETACH).is_ok();
    if !unmounted || fs::remove_dir(root).is_err() {
        eprintln!("cannot remove {}", root.display());
    }
}

/// Removes what tests left that were killed before they could: their maker is gone.
fn sweep() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let maker = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX))
            .and_then(|rest| rest.split('-').next())
            .and_then(|pid| pid.parse::<u32>().ok());
        if maker.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            remove(&entry.path());
        }
    }
}
