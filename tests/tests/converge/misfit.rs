//! Neighbours that do not fit, one point each: no adjacency, and the counter, the log and `l2ha ospf
//! interfaces` say why. Then the point is mended, and there is one.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{CloudOptions, Daemon, Lab, Link, NodeConfig, PATIENCE, join, router_id, wait_for};
use serde_json::Value;

use crate::problems::wait_said;

/// What is wrong with the second node, and what the first says of it.
struct Case {
    name: &'static str,
    change: fn(&mut NodeConfig),
    reason: &'static str,
    /// The problem that `l2ha status` names.
    problem: &'static str,
    /// The key to change that is named in its first lines.
    key: &'static str,
    /// What each side has, where that is a number.
    sides: Option<(u64, u64)>,
    /// Whether an exchange begins nevertheless.
    begins: bool,
}

const fn case(
    name: &'static str,
    (reason, problem, key): (&'static str, &'static str, &'static str),
    change: fn(&mut NodeConfig),
) -> Case {
    Case {
        name,
        change,
        reason,
        problem,
        key,
        sides: None,
        begins: false,
    }
}

fn ospf(config: &mut NodeConfig) -> &mut l2ha_lab::OspfConfig {
    config.ospf.as_mut().expect("the lab's nodes have OSPF")
}

const CASES: &[Case] = &[
    Case {
        sides: Some((0, 7)),
        ..case(
            "another area",
            ("area_mismatch", "ospf-area-mismatch", "area = "),
            |config| {
                ospf(config).more.push("area = \"0.0.0.7\"".into());
            },
        )
    },
    Case {
        sides: Some((1, 2)),
        ..case(
            "another Hello interval",
            (
                "hello_interval_mismatch",
                "ospf-hello-mismatch",
                "hello_interval = ",
            ),
            |config| {
                ospf(config).hello = 2;
            },
        )
    },
    Case {
        sides: Some((3, 9)),
        ..case(
            "another dead interval",
            (
                "dead_interval_mismatch",
                "ospf-dead-mismatch",
                "dead_interval = ",
            ),
            |config| {
                ospf(config).dead = 9;
            },
        )
    },
    Case {
        sides: Some((0, 5)),
        ..case(
            "another instance",
            (
                "instance_mismatch",
                "ospf-instance-mismatch",
                "instance_id = ",
            ),
            |config| {
                ospf(config).more.push("instance_id = 5".into());
            },
        )
    },
    Case {
        sides: Some((1300, 1400)),
        begins: true,
        ..case(
            "a larger MTU",
            ("mtu_mismatch", "ospf-mtu-mismatch", "mtu"),
            |config| {
                config.tunnels[0].more = vec!["mtu = 1400".into()];
            },
        )
    },
    case(
        "signed packets",
        ("auth_unexpected", "ospf-key-mismatch", "[[ospf_keys]]"),
        |config| {
            config.key = Some((3, "a-key-for-the-lab".into()));
        },
    ),
    case(
        "our own Router ID",
        ("duplicate_router_id", "router-id-doubled", "router_id"),
        |config| {
            ospf(config).router_id = [10, 0, 0, 1].into();
        },
    ),
];

/// What the first node says of the reason, if it does.
fn refused(daemon: &Daemon, reason: &str) -> Result<Option<Value>> {
    let interfaces = daemon.ospf("interfaces")?;
    let all = interfaces.as_array().context("no list")?.iter();
    let mut refused = all.flat_map(|it| it["refused"].as_array().into_iter().flatten());
    Ok(refused.find(|it| it["reason"] == reason).cloned())
}

fn count(daemon: &Daemon, reason: &str) -> Result<u64> {
    let status = daemon.status()?;
    let counted = &status["ospf"]["counters"]["refused"][reason];
    Ok(counted.as_u64().unwrap_or(0))
}

fn check(lab: &Lab, case: &Case, ours: &Daemon, theirs: &Arc<Daemon>) -> Result<()> {
    let before = count(ours, case.reason)?;
    let good = theirs.config().clone();
    let mark = ours.log_mark();
    theirs.stop()?;
    wait_for("the neighbour to be gone", PATIENCE, || {
        ensure!(ours.full_neighbours()?.is_empty(), "still Full");
        Ok(Some(()))
    })?;
    theirs.reconfigure(case.change)?;
    theirs.run()?;
    let said = wait_for("a refusal", PATIENCE, || {
        let seen = refused(ours, case.reason)?.filter(|it| it["count"].as_u64() >= Some(3));
        ensure!(seen.is_some(), "{}", ours.ospf("interfaces")?);
        Ok(seen)
    })?;
    if let Some((mine, other)) = case.sides {
        ensure!(said["ours"] == mine && said["theirs"] == other, "{said}");
    }
    ensure!(said["transient"] == false, "{said}");
    ensure!(count(ours, case.reason)? >= before + 3, "not counted");
    ensure!(ours.full_neighbours()?.is_empty(), "an adjacency");
    let neighbors = ours.ospf("neighbors")?;
    let neighbors = neighbors.as_array().context("no list")?;
    // The one of before may still be there, and hears nothing of us.
    let begun = neighbors.iter().any(|it| it["state"] != "init");
    ensure!(case.begins || !begun, "{neighbors:?}");
    // What was refused before counts for some seconds more.
    wait_for("the problem", PATIENCE, || {
        let status = ours.status()?;
        let problem = &status["problems"][0];
        ensure!(problem["id"] == case.problem, "{}", status["problems"]);
        ensure!(
            problem["subject"]["tunnel"] == "them" && status["health"] == "failed",
            "{problem}"
        );
        Ok(Some(()))
    })?;
    if case.begins {
        // Where nothing is refused it is seen in the neighbour's packets.
        wait_for("the problem at the other end", PATIENCE, || {
            let status = theirs.status()?;
            let problem = &status["problems"][0];
            ensure!(problem["id"] == case.problem, "{}", status["problems"]);
            Ok(Some(()))
        })?;
    }
    let words = case.reason.replace('_', " ");
    let text = ours.l2ha(&["ospf", "interfaces"])?;
    ensure!(text.contains(&words), "{text}");
    let first = wait_said(ours, case.problem, &["tunnel them", case.key])?;
    lab.say(format_args!("{}: {first}", case.name));
    // It is said once, and not for every packet.
    wait_for("a line in the log", PATIENCE, || {
        let log = ours.log_since(mark);
        let problem = format!("problem={}", case.problem);
        let said = |it: &&str| !it.contains("no longer so") && it.contains(&problem);
        let lines: Vec<&str> = log.lines().filter(said).collect();
        ensure!(lines.len() == 1, "{lines:#?}");
        ensure!(!log.contains("packet refused"), "{log}");
        Ok(Some(()))
    })?;
    let row = text.lines().find(|line| line.contains(&words));
    lab.say(format_args!("{}: {}", case.name, row.unwrap_or_default()));

    theirs.stop()?;
    theirs.reconfigure(|config| *config = good)?;
    theirs.run()?;
    wait_for("an adjacency", PATIENCE, || {
        ensure!(ours.full_neighbours()?.len() == 1, "none");
        Ok(Some(()))
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn each_mismatch_is_refused_under_its_own_reason() -> Result<()> {
    Lab::run("misfit", |lab| {
        let (_cloud, hosts) = lab.cloud(CloudOptions::default(), &["us", "them"])?;
        let mut ours = NodeConfig::new(lab, &hosts[0])?;
        let mut theirs = NodeConfig::new(lab, &hosts[1])?;
        join(&mut ours, &mut theirs, Link::default())?;
        for config in [&mut ours, &mut theirs] {
            config.tunnels[0].more.push("mtu = 1300".into());
            ospf(config).more.push("graceful_restart = 0".into());
        }
        ensure!(
            router_id(&hosts[0]).octets() == [10, 0, 0, 1],
            "another Router ID"
        );
        let ours = Daemon::start(lab, ours)?;
        let theirs = Daemon::start(lab, theirs)?;
        wait_for("an adjacency", PATIENCE, || {
            ensure!(ours.full_neighbours()?.len() == 1, "none");
            Ok(Some(()))
        })?;
        for case in CASES {
            check(lab, case, &ours, &theirs).with_context(|| case.name.to_owned())?;
        }
        Ok(())
    })
}
