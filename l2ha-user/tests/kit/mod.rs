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
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::Context as _;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// What every test returns.
pub(crate) type Result<T = ()> = anyhow::Result<T>;

/// A bpffs of its own; dropping it unmounts it, and with it all pins are gone.
pub(crate) struct Pins {
    root: PathBuf,
}

impl Pins {
    /// Mounts it.
    pub(crate) fn new() -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("l2ha-pins-{}-{number}", std::process::id()));
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
        let unmounted = umount2(&self.root, MntFlags::MNT_DETACH).is_ok();
        if !unmounted || fs::remove_dir(&self.root).is_err() {
            eprintln!("cannot remove {}", self.root.display());
        }
    }
}
