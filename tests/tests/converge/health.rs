//! How a service is advertised: what its checks and its operator say, and what is told of that.

use std::{fs, time::Instant};

use anyhow::{Result, ensure};
use l2ha_lab::{ANYCAST, Lab, PATIENCE, SERVER_1, SERVER_2, Shop, wait_for, wait_unrouted};

/// How often each check is made, and what it takes to pass.
const CHECK: &str = "interval = \"100ms\", rise = 2";

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_service_is_drained_alone_and_its_changes_are_told() -> Result<()> {
    Lab::run("health-drain", |lab| {
        let told = lab.dir().join("told");
        let script = format!(
            "echo $L2HA_SERVICE $L2HA_STATE $L2HA_REASON >> {}-$L2HA_NODE",
            told.display()
        );
        let keys = format!(
            "check = {{ http = \"http://[{ANYCAST}]/\", {CHECK} }}\n\
             on_change = [\"/bin/sh\", \"-c\", \"{script}\"]"
        );
        let shop = Shop::start(lab, &keys)?;
        let (probes, server) = (shop.probes()?, &shop.servers[0]);
        let node = server.daemon.config().name.clone();
        let told = lab.dir().join(format!("told-{node}"));
        wait_for("the first change to be told", PATIENCE, || {
            let text = fs::read_to_string(&told)?;
            ensure!(text.starts_with("web advertised"), "{text}");
            Ok(Some(()))
        })?;
        fs::write(&told, "")?;
        let from = Instant::now();
        server.daemon.l2ha(&["drain", "--service", "web"])?;
        Shop::wait_served_by(&probes, SERVER_2, from)?;
        server.wait_state("passing", true)?;
        // The node itself is not drained, and healthy.
        let status = server.daemon.l2ha(&["status"])?;
        ensure!(
            status.contains("healthy") && status.contains("last resort, drained"),
            "{status}"
        );
        // It stays so over a restart.
        server.daemon.leave()?;
        server.daemon.run()?;
        server.wait_state("passing", true)?;
        let from = Instant::now();
        let off = ["drain", "--service", "web", "--off"];
        server.daemon.l2ha(&off)?;
        Shop::wait_served_by(&probes, SERVER_1, from)?;
        server.service.kill();
        server.wait_state("failed", true)?;
        let reason = format!("web last-resort GET http://[{ANYCAST}]/");
        wait_for("the changes to be told", PATIENCE, || {
            let text = fs::read_to_string(&told)?;
            let lines: Vec<&str> = text.lines().collect();
            ensure!(
                lines.len() == 3
                    && lines[0] == "web last-resort drained"
                    && lines[1].trim_end() == "web advertised"
                    && lines[2].starts_with(&reason),
                "{text}"
            );
            Ok(Some(()))
        })
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn what_is_to_be_withdrawn_is_withdrawn_and_comes_back() -> Result<()> {
    Lab::run("health-withdraw", |lab| {
        let keys = format!(
            "check = {{ http = \"http://[{ANYCAST}]/\", {CHECK} }}\nwhen_failed = \"withdraw\""
        );
        let shop = Shop::start(lab, &keys)?;
        let probes = shop.probes()?;
        let from = Instant::now();
        shop.servers[0].service.kill();
        Shop::wait_served_by(&probes, SERVER_2, from)?;
        let status = shop.servers[0].daemon.status()?;
        ensure!(status["services"][0]["advertised"] == false, "{status}");
        for server in &shop.servers {
            server.service.kill();
        }
        for client in &shop.clients {
            wait_unrouted(client, &ANYCAST.to_string())?;
        }
        let from = Instant::now();
        for server in &shop.servers {
            server.service.run()?;
        }
        Shop::wait_served_by(&probes, SERVER_1, from)
    })
}
