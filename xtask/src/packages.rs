//! Debian packages that tests and the live run need.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use anyhow::{Context as _, Result};
use l2ha_lab::packages::PACKAGES;

use crate::cmd::{output, run, say};

/// Asked by Debian's packages before they start a service (invoke-rc.d(8)).
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Whether this process may make namespaces and load programs.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Installs what is missing, on Debian as root.
///
/// # Errors
///
/// When something is missing and cannot be installed here; the text says what to install.
pub(crate) fn install() -> Result<()> {
    let missing: Vec<&str> = PACKAGES
        .iter()
        .filter(|package| !is_installed(package.name))
        .map(|package| package.name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    anyhow::ensure!(
        is_root() && Path::new("/etc/debian_version").exists(),
        "missing: {list} (on Debian: `sudo apt-get install --no-install-recommends {list}`)"
    );
    for package in PACKAGES
        .iter()
        .filter(|package| missing.contains(&package.name))
    {
        say(format!("installing {}: {}", package.name, package.purpose));
    }
    let _policy = NoServices::set();
    run(Command::new("apt-get").args(["update", "--quiet=2"]))
        .context("cannot update Debian's package lists")?;
    run(Command::new("apt-get")
        .args(["install", "--yes", "--quiet=2", "--no-install-recommends"])
        .args(&missing)
        .env("DEBIAN_FRONTEND", "noninteractive"))
    .with_context(|| format!("cannot install {list}"))
}

fn is_installed(name: &str) -> bool {
    output(Command::new("dpkg-query").args(["--show", "--showformat=${db:Status-Status}", name]))
        .is_ok_and(|status| status == "installed")
}

/// Keeps the packages from starting their services on this machine: only the tests shall run
/// routing daemons, in namespaces of their own.
struct NoServices {
    ours: bool,
}

impl NoServices {
    fn set() -> Self {
        let path = Path::new(POLICY);
        if path.exists() {
            return Self { ours: false };
        }
        let set = fs::write(path, "#!/bin/sh\nexit 101\n")
            .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)));
        if let Err(error) = &set {
            say(format!(
                "cannot write {POLICY} ({error}): the packages may start their services"
            ));
        }
        Self { ours: set.is_ok() }
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours {
            let _ = fs::remove_file(POLICY);
        }
    }
}
