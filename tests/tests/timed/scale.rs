//! A node with many tunnels: what a start costs grows with their number, and no faster.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use l2ha_lab::{CloudOptions, Daemon, Lab, Link, NodeConfig, join, wait_for};

const FEW: u32 = 250;
const MANY: u32 = 1000;
const PATIENCE: Duration = Duration::from_secs(120);
/// How much more than its share the larger start may take, on a machine that does other things too.
const SLACK: f64 = 2.5;

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_start_is_linear_in_the_tunnels() -> Result<()> {
    let few = start(FEW)?;
    let many = start(MANY)?;
    let share = f64::from(MANY) / f64::from(FEW);
    for (what, few, many) in [("start", few.0, many.0), ("restart", few.1, many.1)] {
        ensure!(
            many.as_secs_f64() < few.as_secs_f64() * share * SLACK,
            "{what}: {few:?} with {FEW} tunnels, {many:?} with {MANY}"
        );
    }
    Ok(())
}

/// How long a start from nothing takes until all tunnels are up, and one after a kill.
fn start(count: u32) -> Result<(Duration, Duration)> {
    let mut times = None;
    Lab::run(&format!("scale-{count}"), |lab| {
        let (_cloud, hosts) = lab.cloud(CloudOptions::default(), &["node", "peer"])?;
        let mut config = NodeConfig::tunnels_only(lab, &hosts[0])?;
        let mut peer = NodeConfig::tunnels_only(lab, &hosts[1])?;
        join(&mut config, &mut peer, Link::default())?;
        let first = config.tunnels.remove(0);
        for number in 0..count {
            let mut tunnel = first.clone();
            tunnel.name = format!("t{number}");
            tunnel.interface = format!("l2-t{number}");
            tunnel.session_id = 10_000 + number;
            tunnel.peer_session_id = 20_000 + number;
            config.tunnels.push(tunnel);
        }
        let daemon = Daemon::prepare(lab, config)?;
        let cold = timed(&daemon, count)?;
        nothing_strays(&daemon)?;
        daemon.kill()?;
        let warm = timed(&daemon, count)?;
        nothing_strays(&daemon)?;
        lab.say(format_args!(
            "{count} tunnels: up after {cold:.2?}, after a kill {warm:.2?}"
        ));
        times = Some((cold, warm));
        Ok(())
    })?;
    times.ok_or_else(|| anyhow::anyhow!("nothing was measured"))
}

fn timed(daemon: &Daemon, count: u32) -> Result<Duration> {
    let start = Instant::now();
    daemon.run()?;
    wait_for("all tunnels", PATIENCE, || {
        let status = daemon.status()?;
        let tunnels = status["tunnels"].as_array().map_or(&[][..], Vec::as_slice);
        let up = tunnels.iter().filter(|it| it["up"] == true).count();
        ensure!(up == count as usize, "{up} of {count} are up");
        Ok(Some(()))
    })?;
    Ok(start.elapsed())
}

/// What the kernel sends of its own accord on a new interface goes through the programs already.
fn nothing_strays(daemon: &Daemon) -> Result<()> {
    let strays = &daemon.status()?["dataplane"]["reasons"]["stray_frame"];
    ensure!(*strays == 0, "{strays} frames left without a program");
    Ok(())
}
