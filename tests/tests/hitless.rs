//! A node is restarted, upgraded and given another cookie while packets flow: none is lost, none
//! overtakes another.

use std::{fs, path::Path, sync::Arc, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{
    CloudOptions, Daemon, Host, Lab, Link, NodeConfig, Seen, Stream, TunnelConfig, join, wait_for,
};
use nix::sys::signal::Signal;

const PATIENCE: Duration = Duration::from_secs(30);
/// Packets a second, unless [`RATE_OF`] says otherwise: what a busy machine of two cores can send, route
/// and receive.
const RATE: u64 = 100_000;
/// The environment variable with another rate.
const RATE_OF: &str = "L2HA_LAB_RATE";
/// How long packets flow before, between and after what is done.
const PAUSE: Duration = Duration::from_millis(300);

struct Pair {
    hosts: Vec<Arc<Host>>,
    sender: Arc<Daemon>,
    receiver: Arc<Daemon>,
}

impl Pair {
    fn start(lab: &Lab, mode: &str) -> Result<Self> {
        let (_cloud, hosts) = lab.cloud(CloudOptions::default(), &["sender", "receiver"])?;
        let mut a = NodeConfig::new(lab, &hosts[0])?;
        let mut b = NodeConfig::new(lab, &hosts[1])?;
        join(&mut a, &mut b, Link::default())?;
        for (config, address) in [(&mut a, "fd00:9::1/64"), (&mut b, "fd00:9::2/64")] {
            config.mode = mode.into();
            config.tunnels[0].addresses.push(address.into());
        }
        let pair = Self {
            sender: Daemon::start(lab, a)?,
            receiver: Daemon::start(lab, b)?,
            hosts,
        };
        wait_for("a ping through the tunnel", PATIENCE, || {
            pair.hosts[0]
                .ns
                .run(["ping", "-c", "1", "-W", "1", "fd00:9::2"])
                .map(Some)
        })?;
        Ok(pair)
    }

    fn during(&self, what: impl FnOnce() -> Result<()>) -> Result<Seen> {
        let (from, to) = (&self.hosts[0].ns, &self.hosts[1].ns);
        let rate = match std::env::var(RATE_OF) {
            Ok(text) => text.parse().context(RATE_OF)?,
            Err(_) => RATE,
        };
        let stream = Stream::start(from, to, "fd00:9::2".parse()?, rate)?;
        thread::sleep(PAUSE);
        what()?;
        thread::sleep(PAUSE);
        stream.finish()
    }

    fn nothing_is_lost(
        &self,
        lab: &Lab,
        name: &str,
        what: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let seen = self.during(what)?;
        let Seen { sent, rate, .. } = seen;
        lab.say(format_args!(
            "{name}: {sent} packets at {rate} a second, {} lost, {} reordered",
            seen.lost(),
            seen.reordered
        ));
        ensure!(
            sent > RATE / 10,
            "{name}: hardly anything was sent: {seen:?}"
        );
        ensure!(seen.lost() == 0 && seen.reordered == 0, "{name}: {seen:?}");
        Ok(())
    }
}

/// Changes a daemon's only tunnel and reloads; returns when it says that it has.
fn reload(daemon: &Daemon, change: impl FnOnce(&mut TunnelConfig)) -> Result<()> {
    let mark = daemon.log_mark();
    daemon.reconfigure(|config| change(&mut config.tunnels[0]))?;
    daemon.signal(Signal::SIGHUP)?;
    wait_for("the reload", PATIENCE, || {
        let said = daemon.log_since(mark);
        ensure!(said.contains("configuration reloaded"), "it says {said}");
        Ok(Some(()))
    })?;
    // The pass that follows.
    thread::sleep(PAUSE);
    Ok(())
}

fn restart(daemon: &Daemon) -> Result<()> {
    daemon.kill()?;
    run(daemon)
}

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

fn story(lab: &Lab, mode: &str) -> Result<()> {
    let pair = Pair::start(lab, mode)?;
    let counted = |reason: &str| -> Result<u64> {
        let status = pair.receiver.status()?;
        Ok(status["dataplane"]["reasons"][reason].as_u64().unwrap_or(0))
    };

    // That losses are seen at all.
    let seen = pair.during(|| {
        pair.hosts[1]
            .ns
            .run(["ip", "link", "set", "l2-sender", "down"])?;
        thread::sleep(Duration::from_millis(50));
        Ok(())
    })?;
    ensure!(
        seen.lost() > 0,
        "nothing was lost while the interface was down: {seen:?}"
    );
    lab.say(format_args!("a cut of 50 ms: {} lost", seen.lost()));
    wait_for("the repair", PATIENCE, || {
        pair.hosts[0]
            .ns
            .run(["ping", "-c", "1", "-W", "1", "fd00:9::2"])
            .map(Some)
    })?;

    let hook = |of: &Daemon| Ok::<_, anyhow::Error>(of.status()?["underlay"]["hook"].clone());
    ensure!(hook(&pair.receiver)? == mode, "{}", hook(&pair.receiver)?);
    pair.nothing_is_lost(lab, "restart of the receiver", || restart(&pair.receiver))?;
    pair.nothing_is_lost(lab, "restart of the sender", || restart(&pair.sender))?;
    ensure!(hook(&pair.receiver)? == mode, "{}", hook(&pair.receiver)?);

    pair.nothing_is_lost(lab, "upgrade of the receiver", || {
        pair.receiver.kill()?;
        let pins = pair.receiver.config().pins();
        as_another_version(&pins)?;
        run(&pair.receiver)?;
        ensure!(
            !pins.join("v00000001").exists(),
            "the old maps are still pinned"
        );
        Ok(())
    })?;
    pair.nothing_is_lost(lab, "upgrade of the sender", || {
        pair.sender.kill()?;
        as_another_version(&pair.sender.config().pins())?;
        run(&pair.sender)
    })?;

    pair.nothing_is_lost(lab, "a new cookie", || {
        let new = lab.dir().join("new-cookie");
        let output = std::process::Command::new(pair.receiver.binary())
            .args(["genkey", "--output"])
            .arg(&new)
            .output()?;
        ensure!(output.status.success(), "{output:?}");
        reload(&pair.receiver, |tunnel| {
            tunnel.previous_cookie = tunnel.receive_cookie.replace(new.clone());
        })?;
        ensure!(
            counted("previous_cookie_used")? > 0,
            "the former cookie is not counted"
        );
        reload(&pair.sender, |tunnel| tunnel.send_cookie = Some(new))?;
        let before = counted("previous_cookie_used")?;
        thread::sleep(PAUSE);
        ensure!(
            counted("previous_cookie_used")? == before,
            "the former cookie is still used"
        );
        reload(&pair.receiver, |tunnel| tunnel.previous_cookie = None)
    })?;
    ensure!(
        counted("wrong_cookie")? == 0,
        "refused: {}",
        counted("wrong_cookie")?
    );

    // Moving a port loses what is on its way between the two reloads, but no interface.
    let index = |host: &Host| -> Result<serde_json::Value> {
        Ok(host.ns.ip_json(&["link", "show", "dev", "l2-sender"])?[0]["ifindex"].clone())
    };
    let before = index(&pair.hosts[1])?;
    reload(&pair.receiver, |tunnel| tunnel.ports = (1800, 1801))?;
    reload(&pair.sender, |tunnel| tunnel.ports = (1801, 1800))?;
    pair.nothing_is_lost(lab, "after another port", || Ok(()))?;
    ensure!(
        index(&pair.hosts[1])? == before,
        "the interface was made anew"
    );
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn nothing_is_lost_in_xdp_mode() -> Result<()> {
    Lab::run("hitless-xdp", |lab| story(lab, "xdp"))
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn nothing_is_lost_in_tc_mode() -> Result<()> {
    Lab::run("hitless-tc", |lab| story(lab, "tc"))
}
