//! A program that cuts the node off from its gateway is taken off again.

use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use l2ha_lab::{
    Cloud, CloudOptions, Daemon, Deaf, GATEWAY_V4, Gateway, Host, Lab, Link, NodeConfig, Snapshot,
    UNDERLAY, attached, join,
};
use serde_json::Value;

fn host(lab: &Lab) -> Result<(Arc<Cloud>, Arc<Host>)> {
    let (cloud, hosts) = lab.cloud(CloudOptions::default(), &["host"])?;
    Ok((cloud, Arc::clone(&hosts[0])))
}

fn config(lab: &Lab, host: &Arc<Host>, mode: &str) -> Result<NodeConfig> {
    let mut config = NodeConfig::tunnels_only(lab, host)?;
    config.mode = mode.into();
    Ok(config)
}

fn rolled_back(status: &Value) -> u64 {
    status["repairs"]["rolled_back"].as_u64().unwrap_or(0)
}

/// The gateway answers with tc and not with XDP, as behind a driver that goes deaf.
#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn in_automatic_mode_tc_is_used_instead() -> Result<()> {
    Lab::run("rollback-auto", |lab| {
        let (cloud, host) = host(lab)?;
        let _gateway = Gateway::start(&cloud, &host, Deaf::WithXdp)?;
        let daemon = Daemon::start(lab, config(lab, &host, "auto")?)?;
        let status = daemon.status()?;
        ensure!(status["underlay"]["hook"] == "tc", "{status}");
        let why = status["underlay"]["why_not_xdp"].to_string();
        ensure!(
            why.contains("rolled back") && why.contains(&GATEWAY_V4.to_string()),
            "{why}"
        );
        ensure!(why.contains("answers again without it"), "{why}");
        ensure!(rolled_back(&status) == 1, "{status}");
        let places: Vec<String> = attached(&host.ns)?
            .into_iter()
            .filter(|program| program.device == UNDERLAY)
            .map(|program| format!("{} {}", program.place, program.name))
            .collect();
        ensure!(places == ["clsact/ingress l2ha_decap"], "{places:?}");
        let log = daemon.log_since(0);
        let said = |line: &str| line.contains("ERROR") && line.contains("mode = \\\"tc\\\"");
        ensure!(log.lines().any(said), "no remedy in {log}");
        let neighbours = host.ns.run(["ip", "neigh", "show", "dev", UNDERLAY])?;
        ensure!(neighbours.contains("REACHABLE"), "{neighbours}");
        lab.say(format_args!("{why}"));

        // Once is enough: what repairs it does not try XDP again.
        host.ns
            .run(["tc", "filter", "del", "dev", UNDERLAY, "ingress"])?;
        l2ha_lab::wait_for("the repair", l2ha_lab::PATIENCE, || {
            let there = attached(&host.ns)?;
            ensure!(there.iter().any(|it| it.name == "l2ha_decap"), "{there:?}");
            Ok(Some(()))
        })?;
        let status = daemon.status()?;
        ensure!(rolled_back(&status) == 1, "{status}");
        ensure!(status["underlay"]["hook"] == "tc", "{status}");
        Ok(())
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn in_xdp_mode_the_start_is_refused() -> Result<()> {
    Lab::run("rollback-xdp", |lab| {
        let (cloud, host) = host(lab)?;
        let _gateway = Gateway::start(&cloud, &host, Deaf::WithXdp)?;
        let daemon = Daemon::prepare(lab, config(lab, &host, "xdp")?)?;
        let pins = daemon.config().pins();
        let before = Snapshot::take(&host.ns, &pins)?;
        let Err(error) = daemon.run() else {
            bail!("it has started: {}", daemon.status()?);
        };
        let error = format!("{error:#}");
        ensure!(error.contains("rolled back"), "{error}");
        ensure!(error.contains("mode = \"auto\""), "{error}");
        let changes = before.changes(&Snapshot::take(&host.ns, &pins)?);
        ensure!(changes.is_empty(), "left behind: {changes:#?}");
        Ok(())
    })
}

/// What tc cannot cure is not hidden by it.
#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn where_tc_cuts_off_as_well_the_start_is_refused() -> Result<()> {
    for (mode, times) in [("tc", 1), ("auto", 2)] {
        Lab::run(&format!("rollback-tc-{mode}"), |lab| {
            let (cloud, host) = host(lab)?;
            let _gateway = Gateway::start(&cloud, &host, Deaf::WithTc)?;
            let daemon = Daemon::prepare(lab, config(lab, &host, mode)?)?;
            let pins = daemon.config().pins();
            let before = Snapshot::take(&host.ns, &pins)?;
            let Err(error) = daemon.run() else {
                bail!("it has started: {}", daemon.status()?);
            };
            ensure!(format!("{error:#}").contains("has ended"), "{error:#}");
            let log = daemon.log_since(0);
            let said = |line: &&str| line.contains("ERROR") && line.contains("rolled back");
            ensure!(log.lines().filter(said).count() == times, "{log}");
            ensure!(
                log.contains("with tc it is the same") == (mode == "auto"),
                "{log}"
            );
            let changes = before.changes(&Snapshot::take(&host.ns, &pins)?);
            ensure!(changes.is_empty(), "left behind: {changes:#?}");
            Ok(())
        })?;
    }
    Ok(())
}

/// Without a default route, the way to the peers is watched.
#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn without_a_default_route_the_peers_next_hop_counts() -> Result<()> {
    Lab::run("rollback-peer", |lab| {
        let (cloud, hosts) = lab.cloud(CloudOptions::default(), &["host", "peer"])?;
        let (host, peer) = (&hosts[0], &hosts[1]);
        host.ns.run(["ip", "route", "del", "default"])?;
        let (remote, gateway) = (peer.v4.to_string(), GATEWAY_V4.to_string());
        host.ns
            .run(["ip", "route", "add", &remote, "via", &gateway])?;
        let _gateway = Gateway::start(&cloud, host, Deaf::WithXdp)?;
        let mut mine = config(lab, host, "auto")?;
        join(&mut mine, &mut config(lab, peer, "auto")?, Link::default())?;
        let status = Daemon::start(lab, mine)?.status()?;
        ensure!(status["underlay"]["hook"] == "tc", "{status}");
        ensure!(rolled_back(&status) == 1, "{status}");
        Ok(())
    })
}
