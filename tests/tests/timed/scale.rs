//! A node with many tunnels: what a start costs grows with their number, and no faster.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use l2ha_lab::{CloudOptions, Daemon, Lab, Link, NodeConfig, is_deep, join, judged, wait_for};

/// The smaller number of tunnels, in the gate and with `L2HA_DEEP=1`, and how many times as many the larger one is.
const FEW: [u32; 2] = [60, 250];
const TIMES: u32 = 4;
const PATIENCE: Duration = Duration::from_secs(120);
/// How much more than its share the larger start may take, on a machine that does other things too.
const SLACK: f64 = 2.5;

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_start_is_linear_in_the_tunnels() -> Result<()> {
    let share = f64::from(TIMES) * SLACK;
    let number = FEW[usize::from(is_deep())];
    Lab::run("scale", |lab| {
        judged(lab, "a start", |step| {
            let few = start(lab, number)?;
            let many = start(lab, number * TIMES)?;
            for (what, few, many) in [("start", few.0, many.0), ("restart", few.1, many.1)] {
                let limit = few.took.mul_f64(share);
                step.window(few.from, few.from + few.took, few.took);
                step.window(many.from, many.from + many.took, limit);
                ensure!(
                    many.took < limit,
                    "{what}: {few:?} with {number} tunnels, {many:?} with {TIMES} times as many"
                );
            }
            Ok(())
        })
    })
}

/// How long a start took.
#[derive(Debug, Clone, Copy)]
struct Start {
    from: Instant,
    took: Duration,
}

/// How long a start from nothing takes until all tunnels are up, and one after a kill.
fn start(lab: &Lab, count: u32) -> Result<(Start, Start)> {
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
        "{count} tunnels: up after {:.2?}, after a kill {:.2?}",
        cold.took, warm.took
    ));
    daemon.stop()?;
    Ok((cold, warm))
}

#[track_caller]
fn timed(daemon: &Daemon, count: u32) -> Result<Start> {
    let from = Instant::now();
    daemon.run()?;
    wait_for("all tunnels", PATIENCE, || {
        let status = daemon.status()?;
        let tunnels = status["tunnels"].as_array().map_or(&[][..], Vec::as_slice);
        let up = tunnels.iter().filter(|it| it["up"] == true).count();
        ensure!(up == count as usize, "{up} of {count} are up");
        Ok(Some(()))
    })?;
    let took = from.elapsed();
    Ok(Start { from, took })
}

/// What the kernel sends of its own accord on a new interface goes through the programs already.
fn nothing_strays(daemon: &Daemon) -> Result<()> {
    let strays = &daemon.status()?["dataplane"]["reasons"]["stray_frame"];
    ensure!(*strays == 0, "{strays} frames left without a program");
    Ok(())
}
