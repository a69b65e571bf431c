//! Two nodes with a tunnel between them, and what is done to a node while packets flow.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    cloud::{Cloud, CloudOptions, Host},
    config::{Link, NodeConfig, TunnelConfig, join},
    daemon::Daemon,
    lab::{Lab, PATIENCE, wait_for},
};

/// How long packets flow before, between and after what is done.
const PAUSE: Duration = Duration::from_millis(300);

/// A sender and a receiver: [`Pair::ADDRESSES`] and [`Pair::ADDRESSES_V4`] are theirs, at the ends of the
/// tunnel.
#[derive(Debug)]
pub struct Pair {
    /// Joins the two hosts.
    pub cloud: Arc<Cloud>,
    /// Of the sender and of the receiver.
    pub hosts: Vec<Arc<Host>>,
    /// On the first.
    pub sender: Arc<Daemon>,
    /// On the second.
    pub receiver: Arc<Daemon>,
}

impl Pair {
    /// In the tunnel: of the sender and of the receiver.
    pub const ADDRESSES: [&str; 2] = ["fd00:9::1", "fd00:9::2"];
    /// The same of IPv4.
    pub const ADDRESSES_V4: [&str; 2] = ["10.9.0.1", "10.9.0.2"];

    /// Starts both in mode `xdp` or `tc`, and waits until the tunnel carries packets.
    ///
    /// # Errors
    ///
    /// When it does not.
    #[track_caller]
    pub fn start(lab: &Lab, mode: &str) -> Result<Self> {
        Self::start_over(lab, mode, Link::default())
    }

    /// The same with such a tunnel.
    ///
    /// # Errors
    ///
    /// When it carries none.
    #[track_caller]
    pub fn start_over(lab: &Lab, mode: &str, link: Link) -> Result<Self> {
        let (cloud, hosts) = lab.cloud(CloudOptions::default(), &["sender", "receiver"])?;
        let mut a = NodeConfig::new(lab, &hosts[0])?;
        let mut b = NodeConfig::new(lab, &hosts[1])?;
        join(&mut a, &mut b, link)?;
        for (number, config) in [&mut a, &mut b].into_iter().enumerate() {
            config.mode = mode.into();
            config.tunnels[0].addresses = vec![
                format!("{}/64", Self::ADDRESSES[number]),
                format!("{}/24", Self::ADDRESSES_V4[number]),
            ];
        }
        let pair = Self {
            sender: Daemon::start(lab, a)?,
            receiver: Daemon::start(lab, b)?,
            cloud,
            hosts,
        };
        pair.wait()?;
        for daemon in [&pair.sender, &pair.receiver] {
            let hook = daemon.status()?["underlay"]["hook"].clone();
            ensure!(hook == mode, "attached to {hook}");
        }
        Ok(pair)
    }

    /// Waits until the tunnel carries packets.
    ///
    /// # Errors
    ///
    /// When it does not.
    #[track_caller]
    pub fn wait(&self) -> Result<()> {
        wait_for("a ping through the tunnel", PATIENCE, || {
            self.hosts[0]
                .ns
                .run(["ping", "-c", "1", "-W", "1", Self::ADDRESSES[1]])
                .map(Some)
        })
        .map(drop)
    }

    /// How often the receiver has counted something.
    ///
    /// # Errors
    ///
    /// When it does not say.
    pub fn counted(&self, reason: &str) -> Result<u64> {
        let status = self.receiver.status()?;
        Ok(status["dataplane"]["reasons"][reason].as_u64().unwrap_or(0))
    }

    /// Kills a node's daemon and starts it again.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    #[track_caller]
    pub fn restart(daemon: &Daemon) -> Result<()> {
        daemon.kill()?;
        run(daemon)
    }

    /// Kills a node's daemon and starts one that takes the maps for those of another version.
    ///
    /// # Errors
    ///
    /// When it does not come up, or leaves the old maps pinned.
    #[track_caller]
    pub fn upgrade(daemon: &Daemon) -> Result<()> {
        daemon.kill()?;
        let pins = daemon.config().pins();
        as_another_version(&pins)?;
        run(daemon)?;
        ensure!(
            !pins.join("v00000001").exists(),
            "the old maps are still pinned"
        );
        Ok(())
    }

    /// Gives the tunnel another cookie, of which the sender hears by `tell`, without a moment in which the
    /// receiver refuses what the sender sends.
    ///
    /// # Errors
    ///
    /// When the counter of the former cookie does not say what is sent.
    #[track_caller]
    pub fn rotate_cookie(&self, lab: &Lab, tell: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        // One after the other: `genkey` replaces none.
        let mut names = (1..).map(|number| lab.dir().join(format!("new-cookie-{number}")));
        let new = names.find(|file| !file.exists());
        let new = new.context("no name is left")?;
        let output = Command::new(self.receiver.binary())
            .args(["genkey", "--output"])
            .arg(&new)
            .output()?;
        ensure!(output.status.success(), "{output:?}");
        reload(&self.receiver, |tunnel| {
            tunnel.previous_cookie = tunnel.receive_cookie.replace(new.clone());
        })?;
        ensure!(
            self.counted("previous_cookie_used")? > 0,
            "the former cookie is not counted"
        );
        tell(&new)?;
        let before = self.counted("previous_cookie_used")?;
        thread::sleep(PAUSE);
        ensure!(
            self.counted("previous_cookie_used")? == before,
            "the former cookie is still used"
        );
        reload(&self.receiver, |tunnel| tunnel.previous_cookie = None)?;
        let refused = self.counted("wrong_cookie")?;
        ensure!(refused == 0, "refused: {refused}");
        Ok(())
    }
}

/// Changes a daemon's only tunnel and reloads; returns when it says that it has.
///
/// # Errors
///
/// When it does not say so.
#[track_caller]
pub fn reload(daemon: &Daemon, change: impl FnOnce(&mut TunnelConfig)) -> Result<()> {
    daemon.reload(|config| change(&mut config.tunnels[0]))?;
    // The pass that follows.
    thread::sleep(PAUSE);
    Ok(())
}

/// A cookie of 8 bytes as its file has it.
///
/// # Errors
///
/// When the file has no such cookie.
pub fn read_cookie(file: Option<&PathBuf>) -> Result<[u8; 8]> {
    let text = fs::read_to_string(file.context("no cookie")?)?;
    let number = u64::from_str_radix(text.trim(), 16).context("no cookie of 8 bytes")?;
    Ok(number.to_be_bytes())
}

#[track_caller]
fn run(daemon: &Daemon) -> Result<()> {
    daemon.run()?;
    wait_for("its tunnel", PATIENCE, || {
        ensure!(daemon.status()?["tunnels"][0]["up"] == true, "not yet");
        Ok(Some(()))
    })?;
    thread::sleep(PAUSE);
    Ok(())
}

/// Makes the pinned maps look as if another version with other layouts had left them.
fn as_another_version(pins: &Path) -> Result<()> {
    for folder in fs::read_dir(pins)? {
        let folder = folder?.path();
        if !folder.is_dir() {
            continue;
        }
        for map in fs::read_dir(&folder)? {
            let map = map?.path();
            let name = map.file_name().context("a pin without a name")?;
            let (name, _) = name
                .to_str()
                .and_then(|name| name.split_once('_'))
                .context("no layout")?;
            fs::rename(&map, folder.join(format!("{name}_00000001")))?;
        }
        fs::rename(&folder, pins.join("v00000001"))?;
    }
    Ok(())
}
