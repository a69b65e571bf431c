//! A NIC with several queues: what it has spread over the processors stays spread, each queue going on
//! to one of the virtual interface, and nothing is lost or overtaken.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{
    CloudOptions, Daemon, Host, Lab, Link, NodeConfig, PATIENCE, Stream, join, judged, wait_for,
};

const QUEUES: u8 = 2;
/// A machine that pauses for so long may lose packets by itself.
const LIMIT: Duration = Duration::from_millis(100);

/// How many queues an interface has, by what `ethtool -l` calls them.
fn queues(host: &Host, interface: &str, kind: &str) -> Result<u8> {
    let text = host.ns.run(["ethtool", "-l", interface])?;
    let (_, present) = text.split_once("Current").context("no present numbers")?;
    let line = present.lines().find_map(|line| line.strip_prefix(kind));
    let number = line.context("no such queues")?.trim();
    number.parse().context(text)
}

fn story(lab: &Lab, mode: &str) -> Result<()> {
    let options = CloudOptions {
        queues: QUEUES,
        ..CloudOptions::default()
    };
    let (_cloud, hosts) = lab.cloud(options, &["left", "right"])?;
    let mut left = NodeConfig::new(lab, &hosts[0])?;
    let mut right = NodeConfig::new(lab, &hosts[1])?;
    join(&mut left, &mut right, Link::default())?;
    for (config, address) in [(&mut left, "fd00:9::1/64"), (&mut right, "fd00:9::2/64")] {
        config.mode = mode.into();
        let tunnel = &mut config.tunnels[0];
        tunnel.addresses.push(address.into());
        tunnel.more.push("source_port = \"flow\"".into());
    }
    let _left = Daemon::start(lab, left)?;
    let right = Daemon::start(lab, right)?;
    wait_for("a ping through the tunnel", PATIENCE, || {
        let ping = ["ping", "-c", "1", "-W", "1", "fd00:9::2"];
        hosts[0].ns.run(ping).map(Some)
    })?;
    let hook = right.status()?["underlay"]["hook"].clone();
    ensure!(hook == mode, "it is {hook}");

    let received = queues(&hosts[1], "l2-left", "RX:")?;
    let sent = queues(&hosts[1], "l2h-left", "TX:")?;
    lab.say(format_args!("{mode}: {received} queues, {sent} to them"));
    ensure!((received, sent) == (QUEUES, QUEUES), "not {QUEUES}");

    // Both ways at once, so that both processors receive.
    let ends = [("fd00:9::2", 0, 1), ("fd00:9::1", 1, 0)];
    judged(lab, mode, |step| {
        let from = Instant::now();
        let streams: Vec<Stream> = ends
            .iter()
            .map(|(to, a, b)| Stream::start(&hosts[*a].ns, &hosts[*b].ns, to.parse()?, 20_000))
            .collect::<Result<_>>()?;
        std::thread::sleep(Duration::from_secs(1));
        let mut all = Vec::new();
        for stream in streams {
            let seen = stream.finish()?;
            lab.say(format_args!("{mode}: {seen:?}"));
            all.push(seen);
        }
        step.window(from, Instant::now(), LIMIT);
        ensure!(
            all.iter().all(|seen| seen.sent > 2000 && seen.is_whole()),
            "{all:?}"
        );
        Ok(())
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn queues_go_on_in_xdp_mode() -> Result<()> {
    Lab::run("queues-xdp", |lab| story(lab, "xdp"))
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn queues_go_on_in_tc_mode() -> Result<()> {
    Lab::run("queues-tc", |lab| story(lab, "tc"))
}
