//! A start takes no longer for looking at the gateway where there is nothing to be waited for.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use l2ha_lab::{Cloud, CloudOptions, Daemon, Deaf, Gateway, Host, Lab, NodeConfig, judged};
use serde_json::Value;

/// How long a start takes at most when nothing is waited for.
const QUICK: Duration = Duration::from_millis(1500);

fn host(lab: &Lab) -> Result<(Arc<Cloud>, Arc<Host>)> {
    let (cloud, hosts) = lab.cloud(CloudOptions::default(), &["host"])?;
    Ok((cloud, Arc::clone(&hosts[0])))
}

fn rolled_back(status: &Value) -> u64 {
    status["repairs"]["rolled_back"].as_u64().unwrap_or(0)
}

/// Starts with native XDP and without waiting.
fn quick_start(lab: &Lab, host: &Arc<Host>) -> Result<Arc<Daemon>> {
    let daemon = Daemon::prepare(lab, NodeConfig::tunnels_only(lab, host)?)?;
    judged(lab, "a start", |step| {
        if daemon.pid().is_ok() {
            daemon.stop()?;
        }
        let from = Instant::now();
        daemon.run()?;
        let to = Instant::now();
        lab.say(format_args!("started in {:.2?}", to - from));
        step.window(from, to, QUICK);
        ensure!(to - from < QUICK, "{:?}", to - from);
        Ok(())
    })?;
    let status = daemon.status()?;
    ensure!(status["underlay"]["hook"] == "xdp", "{status}");
    ensure!(rolled_back(&status) == 0, "{status}");
    Ok(daemon)
}

/// A gateway that was silent before has not been cut off, and is not waited for.
#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_gateway_that_was_silent_before_delays_nothing() -> Result<()> {
    Lab::run("rollback-silent", |lab| {
        let (cloud, host) = host(lab)?;
        let _gateway = Gateway::start(&cloud, &host, Deaf::Always)?;
        quick_start(lab, &host)?;
        Ok(())
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn without_a_gateway_nothing_is_waited_for() -> Result<()> {
    Lab::run("rollback-none", |lab| {
        let (_cloud, host) = host(lab)?;
        for family in ["-4", "-6"] {
            host.ns.run(["ip", family, "route", "del", "default"])?;
        }
        quick_start(lab, &host)?;
        Ok(())
    })
}

/// What an earlier daemon has attached is taken over, whatever the gateway says.
#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn adopted_programs_are_not_rolled_back() -> Result<()> {
    Lab::run("rollback-adopted", |lab| {
        let (cloud, host) = host(lab)?;
        let gateway = Gateway::start(&cloud, &host, Deaf::Never)?;
        let daemon = quick_start(lab, &host)?;
        daemon.kill()?;
        drop(gateway);
        let _gateway = Gateway::start(&cloud, &host, Deaf::WithXdp)?;
        judged(lab, "a second start", |step| {
            if daemon.pid().is_ok() {
                daemon.kill()?;
            }
            let from = Instant::now();
            daemon.run()?;
            let to = Instant::now();
            step.window(from, to, QUICK);
            ensure!(to - from < QUICK, "{:?}", to - from);
            Ok(())
        })?;
        let status = daemon.status()?;
        ensure!(status["underlay"]["hook"] == "xdp", "{status}");
        ensure!(rolled_back(&status) == 0, "{status}");
        Ok(())
    })
}
