//! The lab itself: what it makes, what crosses its cloud, and that nothing of it stays.

use std::{net::UdpSocket, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};
use l2ha_lab::Namespace;

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_namespace_ends_with_what_runs_in_it() -> Result<()> {
    let namespace = Namespace::new("alone")?;
    let path = namespace.path();
    let mut command = Command::new("sleep");
    command.arg("60");
    let process = namespace.spawn(command)?;
    assert!(process.is_running());

    // A socket made inside is not seen from outside, and the machine's own /sys is still there.
    let socket = namespace.enter(|| UdpSocket::bind("127.0.0.1:1701"))?;
    let socket = socket.context("the loopback is up")?;
    assert!(namespace.run(["ss", "-Hlun"])?.contains("127.0.0.1:1701"));
    let mounts = |path: &str| std::fs::read_link(path);
    assert_eq!(
        namespace.run(["readlink", "/proc/self/ns/mnt"])?.trim(),
        mounts("/proc/self/ns/mnt")?.to_string_lossy()
    );

    let stray: u32 = namespace
        .run(["sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!"])?
        .trim()
        .parse()?;
    drop(socket);
    drop(namespace);
    assert!(!process.is_running());
    assert!(!path.exists(), "{} is still there", path.display());
    assert!(!PathBuf::from(format!("/proc/{stray}/ns/net")).exists());
    Ok(())
}
