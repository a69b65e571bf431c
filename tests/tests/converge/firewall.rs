//! Firewalls within a host, as nftables has them: told apart from a silent peer, named with the rule, and open after it.

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{Daemon, Lab, PATIENCE, wait_for};
use serde_json::Value;

use crate::problems::{pair, wait_healthy, wait_said};

/// Loads rules in the host's namespace.
fn nft(daemon: &Daemon, rules: &str) -> Result<()> {
    let host = daemon.config().host.clone();
    host.ns.run(["nft", rules]).map(drop)
}

/// The finding `firewall` of `l2ha doctor`.
fn finding(daemon: &Daemon) -> Result<Option<Value>> {
    let binary = daemon.binary().to_string_lossy().into_owned();
    let file = daemon.file().to_string_lossy().into_owned();
    let host = daemon.config().host.clone();
    let words = [&binary, "doctor", "--json", "--config", &file];
    let (_, text) = host.ns.try_run(words)?;
    let answer: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
    ensure!(
        answer["unknown"] == Value::Array(Vec::new()),
        "not learned: {answer}"
    );
    let findings = answer["findings"].as_array().context("no findings")?;
    Ok(findings.iter().find(|it| it["id"] == "firewall").cloned())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn fault_9_a_firewall_that_drops_by_default_is_named_with_the_rule() -> Result<()> {
    Lab::run("firewall", |lab| {
        let (ours, _theirs) = pair(lab)?;
        ensure!(finding(&ours)?.is_none(), "{:?}", finding(&ours)?);
        nft(
            &ours,
            "table inet filter { chain input { type filter hook input priority 0; policy drop; \
             iif lo accept; ct state established accept; udp dport 1701 accept; }; }",
        )?;
        let words = &[
            "tunnel them",
            "l2-them",
            "firewall of this host",
            "protocol 89",
        ];
        let said = wait_said(&ours, "ospf-unheard", words)?;
        lab.say(format_args!("firewall: {said}"));
        let found = finding(&ours)?.context("the doctor finds nothing")?;
        let command = found["command"].as_str().context("no command")?;
        lab.say(format_args!("doctor: {} {command}", found["text"]));
        let host = ours.config().host.clone();
        host.ns.run(["sh", "-c", command])?;
        wait_healthy(&ours)?;
        ensure!(finding(&ours)?.is_none(), "{:?}", finding(&ours)?);
        Ok(())
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn fault_10_bfd_that_a_firewall_filters_is_named_at_both_ends() -> Result<()> {
    Lab::run("firewall-bfd", |lab| {
        let (ours, theirs) = pair(lab)?;
        for daemon in [&ours, &theirs] {
            daemon.stop()?;
            daemon.reconfigure(|config| {
                if let Some(ospf) = &mut config.ospf {
                    ospf.bfd = Some("50x3".to_owned());
                }
            })?;
        }
        nft(
            &ours,
            "table inet filter { chain input { type filter hook input priority 0; \
             udp dport 3784 drop; }; }",
        )?;
        ours.run()?;
        theirs.run()?;
        let words = &["tunnel them", "no BFD", "3784"];
        let said = wait_said(&ours, "bfd-one-sided", words)?;
        lab.say(format_args!("where it is filtered: {said}"));
        let words = &["tunnel us", "does not hear this node", "3784"];
        let said = wait_said(&theirs, "bfd-down", words)?;
        lab.say(format_args!("at the other end: {said}"));
        for daemon in [&ours, &theirs] {
            wait_for("degraded nodes", PATIENCE, || {
                let status = daemon.status()?;
                ensure!(status["health"] == "degraded", "{}", status["problems"]);
                Ok(Some(()))
            })?;
        }
        nft(&ours, "delete table inet filter")?;
        wait_healthy(&ours)?;
        wait_healthy(&theirs)
    })
}
