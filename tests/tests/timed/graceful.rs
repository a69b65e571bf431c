//! Graceful restart (RFC 5187), both ways, among our own daemons and with FRR and BIRD: a daemon
//! dies or is restarted, and its neighbours do not notice.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{
    Lab, Member, PATIENCE, SERVER_1, SERVER_2, Speaker, Trio, TrioOptions, is_deep, judged,
    wait_for, wait_one_database, wait_quiet, wait_route,
};
use nix::sys::signal::Signal;
use serde_json::Value;

/// How long a crashed daemon is away before it is started: with the start, and on a busy machine,
/// less than the dead interval of 3 s, which ends an adjacency that no neighbour was asked to keep.
const AWAY: Duration = Duration::from_millis(500);
/// The same for one that has asked: longer than the dead interval.
const LONG_AWAY: Duration = Duration::from_secs(5);
/// A machine that pauses for so long looks like a failure: what the dead interval leaves of itself to a crash ...
const DEAD: Duration = Duration::from_secs(2);
/// ... and BFD of 50 ms x 4.
const DETECTION: Duration = Duration::from_millis(200);

/// How long it is watched that nothing is lost late, and how long the last answers may take.
const LATE: Duration = Duration::from_millis(500);
const LAST: Duration = Duration::from_millis(100);

/// What a node that dies during its restart may cost.
const DEAD_NODE: Duration = Duration::from_secs(1);
/// How long zebra may take between two messages to the kernel on a busy machine.
const REPLACED: Duration = Duration::from_millis(250);
/// How long BIRD may have no LSAs and no routes of its own after a restart.
const FLUSHED: Duration = Duration::from_millis(1500);

/// What a member says of its neighbour on an interface.
fn neighbour(member: &Member, interface: &str) -> Result<Value> {
    let neighbours = member.daemon.ospf("neighbors")?;
    let list = neighbours.as_array().context("no list")?;
    let found = list.iter().find(|it| it["interface_name"] == interface);
    found
        .cloned()
        .with_context(|| format!("no neighbour on {interface}: {neighbours}"))
}

/// What must not happen at a neighbour while a router restarts.
struct Quiet<'a> {
    member: &'a Member,
    mark: usize,
    lost: u64,
    completed: u64,
}

const COMPLETED: &[&str] = &["graceful", "helps_ended", "completed"];

impl<'a> Quiet<'a> {
    fn begin(member: &'a Member) -> Result<Self> {
        Ok(Self {
            member,
            mark: member.daemon.log_mark(),
            lost: member.counter(&["adjacencies_lost"])?,
            completed: member.counter(COMPLETED)?,
        })
    }

    /// Whether nothing at all was noticed.
    fn check(&self, helped: &str) -> Result<()> {
        let name = &self.member.host.name;
        let log = self.member.daemon.log_since(self.mark);
        let moved = log
            .lines()
            .find(|line| line.contains("route installed") || line.contains("route removed"));
        ensure!(moved.is_none(), "{name} has moved a route: {moved:?}");
        self.check_adjacency(helped)
    }

    fn check_adjacency(&self, helped: &str) -> Result<()> {
        let name = &self.member.host.name;
        let lost = self.member.counter(&["adjacencies_lost"])?;
        ensure!(lost == self.lost, "{name} has lost an adjacency");
        let completed = self.member.counter(COMPLETED)? - self.completed;
        ensure!(completed == 1, "{name} says {completed} helps completed");
        let view = neighbour(self.member, helped)?;
        ensure!(view["state"] == "full", "{name}: {view}");
        ensure!(
            view["graceful"]["last_end"] == "completed",
            "{name}: {view}"
        );
        Ok(())
    }
}

/// Waits until a member's own restart is over; how it ended.
#[track_caller]
fn wait_restarted(member: &Member) -> Result<Value> {
    wait_for("the end of the restart", PATIENCE, || {
        let status = member.daemon.status()?;
        let ospf = &status["ospf"];
        ensure!(
            ospf["graceful_restart"].is_null(),
            "{}",
            ospf["graceful_restart"]
        );
        let ended = &ospf["counters"]["graceful"]["restarts_ended"];
        ensure!(
            ended.is_object() && ended != &serde_json::json!({}),
            "{ended}"
        );
        Ok(Some(ended.clone()))
    })
}

fn with_bfd() -> TrioOptions {
    TrioOptions {
        bfd: Some((50.0, 4)),
        ..TrioOptions::default()
    }
}

/// How a daemon ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Crash,
    Planned,
}

fn end(member: &Member, how: End) -> Result<()> {
    match how {
        End::Crash => member.daemon.kill(),
        End::Planned => member.daemon.leave(),
    }
}

/// The preferred server's daemon ends and starts again, among our own.
fn among_ourselves(
    lab: &Lab,
    options: TrioOptions,
    rounds: usize,
    how: End,
    away: Duration,
) -> Result<()> {
    let trio = Trio::start(lab, options)?;
    trio.wait_settled()?;
    wait_one_database(&trio.members())?;
    wait_route(&trio.client.host, SERVER_1)?;
    let beats = trio.beats()?;
    let limit = options.bfd.map_or(DEAD, |_| DETECTION);
    let interface = format!("l2-{SERVER_1}");
    for _ in 0..if is_deep() { 3 } else { rounds } {
        judged(lab, "a restart", |step| {
            let others = [Quiet::begin(&trio.client)?, Quiet::begin(&trio.second)?];
            let start = Instant::now();
            end(&trio.first, how)?;
            thread::sleep(away);
            let meanwhile = neighbour(&trio.client, &interface);
            let started = Instant::now();
            trio.first.daemon.run()?;
            let ended = wait_restarted(&trio.first)?;
            let took = started.elapsed();
            trio.wait_full()?;
            step.window(start, Instant::now(), limit);
            wait_one_database(&trio.members())?;
            wait_for("the end of the help", PATIENCE, || {
                others[0].check(&interface)?;
                others[1].check(&interface)?;
                Ok(Some(()))
            })?;
            thread::sleep(LATE);
            let to = Instant::now();
            thread::sleep(LAST);
            let gap = beats.gap(start, to);
            let by = beats.answered_by(start);
            lab.say(format_args!(
                "{how:?}, {away:?} away, back after {took:.1?}: {} lost, longest gap {:.1?}, answers by {by:?}",
                gap.lost, gap.longest
            ));
            step.window(start, to, limit);
            if how == End::Planned {
                let view = meanwhile?;
                ensure!(view["state"] == "full", "{view}");
                let reason = &view["graceful"]["help"]["reason"];
                ensure!(*reason == "software_restart", "{view}");
            }
            ensure!(ended["completed"] == 1, "{ended}");
            ensure!(gap.lost == 0, "{gap:?}");
            ensure!(by.len() == 1 && by.contains(SERVER_1), "{by:?}");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_crash_loses_nothing() -> Result<()> {
    Lab::run("graceful-crash", |lab| {
        among_ourselves(lab, TrioOptions::default(), 1, End::Crash, AWAY)
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_crash_loses_nothing_although_bfd_watches() -> Result<()> {
    Lab::run("graceful-crash-bfd", |lab| {
        among_ourselves(lab, with_bfd(), 2, End::Crash, AWAY)
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_planned_restart_may_take_longer_than_the_dead_interval() -> Result<()> {
    Lab::run("graceful-planned", |lab| {
        among_ourselves(lab, with_bfd(), 1, End::Planned, LONG_AWAY)
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn frr_helps_us() -> Result<()> {
    Lab::run("graceful-frr-helps", |lab| {
        foreign_helper(lab, Speaker::Frr)
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn deep_bird_helps_us() -> Result<()> {
    Lab::run("graceful-bird-helps", |lab| {
        foreign_helper(lab, Speaker::Bird)
    })
}

/// The preferred server's daemon ends and starts again; the client is FRR or BIRD.
fn foreign_helper(lab: &Lab, client: Speaker) -> Result<()> {
    let options = TrioOptions {
        client,
        ..TrioOptions::default()
    };
    let trio = Trio::start(lab, options)?;
    if let Some(frr) = &trio.client.frr {
        frr.configure(&["router ospf6", "graceful-restart helper enable"])?;
    }
    trio.wait_settled()?;
    wait_one_database(&trio.members())?;
    wait_route(&trio.client.host, SERVER_1)?;
    let beats = trio.beats()?;
    for (how, away) in [(End::Crash, AWAY), (End::Planned, LONG_AWAY)] {
        judged(lab, "a restart", |step| {
            let start = Instant::now();
            end(&trio.first, how)?;
            thread::sleep(away);
            trio.first.daemon.run()?;
            let ended = wait_restarted(&trio.first)?;
            trio.wait_full()?;
            wait_one_database(&trio.members())?;
            wait_quiet(&trio.members())?;
            let to = Instant::now();
            thread::sleep(LAST);
            let gap = beats.gap(start, to);
            let by = beats.answered_by(start);
            lab.say(format_args!(
                "{client:?} helps, {how:?}, {away:?} away: {} lost, longest gap {:.1?}, answers by \
                 {by:?}, ended {ended}",
                gap.lost, gap.longest
            ));
            step.window(start, to, DEAD);
            ensure!(gap.lost == 0, "{gap:?}");
            ensure!(by.len() == 1 && by.contains(SERVER_1), "{by:?}");
            ensure!(ended["completed"] == 1, "{ended}");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn we_help_bird() -> Result<()> {
    Lab::run("graceful-help-bird", |lab| {
        foreign_restart(lab, Speaker::Bird)
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn we_help_frr() -> Result<()> {
    Lab::run("graceful-help-frr", |lab| {
        foreign_restart(lab, Speaker::Frr)
    })
}

/// The preferred server's router is FRR or BIRD and restarts gracefully.
fn foreign_restart(lab: &Lab, servers: Speaker) -> Result<()> {
    let options = TrioOptions {
        servers,
        ..TrioOptions::default()
    };
    let trio = Trio::start(lab, options)?;
    if let Some(frr) = &trio.first.frr {
        frr.configure(&["router ospf6", "graceful-restart grace-period 60"])?;
    }
    for server in [&trio.first, &trio.second] {
        if let Some(frr) = &server.frr {
            frr.configure(&["router ospf6", "graceful-restart helper enable"])?;
        }
    }
    // BIRD originates a Router-LSA at most every 5 s, and its second, which has all links, would be the changed topology
    // that ends a help.
    trio.wait_settled()?;
    wait_one_database(&trio.members())?;
    wait_route(&trio.client.host, SERVER_1)?;
    let beats = trio.beats()?;
    // So that the server's kernel refuses what it has no way for, rather than take it to the cloud's gateway.
    let server = &trio.first.host.ns;
    server.run(["ip", "-6", "route", "add", "unreachable", "2001:db8::/32"])?;
    let interface = format!("l2-{SERVER_1}");
    judged(lab, "a restart", |step| {
        let quiet = Quiet::begin(&trio.client)?;
        let (start, unanswerable) = (Instant::now(), trio.first.unanswerable());
        trio.first.restart_peer_gracefully()?;
        let view = neighbour(&trio.client, &interface)?;
        step.window(start, Instant::now(), DEAD);
        ensure!(view["state"] == "full", "{view}");
        // It may be back already.
        let graceful = &view["graceful"];
        ensure!(
            graceful["help"].is_object() || graceful["last_end"] == "completed",
            "{view}"
        );
        wait_for("the end of the help", PATIENCE, || {
            quiet.check_adjacency(&interface)?;
            Ok(Some(()))
        })?;
        let helped = Instant::now();
        trio.wait_full()?;
        wait_quiet(&trio.members())?;
        // What a helper answers for ends with the help.
        let until = match servers {
            Speaker::Bird => helped,
            _ => Instant::now(),
        };
        thread::sleep(LAST);
        let gap = beats.gap(start, until - LAST);
        let by = beats.answered_by(start);
        // When its ospf6d is back, zebra (FRR 8.4) deletes the route to the client and adds the same one again, as
        // `ip monitor route` shows at the server. What is to be answered in between has no way back: with 50
        // questions a millisecond 9 were lost, and 9 had none. BIRD 2.0 flushes its own LSAs when it is back, has new
        // ones a second later, and no routes until then. Where its Grace-LSA came less than a second before, we may
        // not take the flush of that one (MinLSArrival), and help until it is sent again.
        let unanswerable = trio.first.unanswerable() - unanswerable;
        lab.say(format_args!(
            "{servers:?} restarts: {} lost, {unanswerable} without a route at the server, longest gap {:.1?}, \
             answers by {by:?}",
            gap.lost, gap.longest
        ));
        // What it takes counts against its own limit.
        let limit = match servers {
            Speaker::Bird => FLUSHED,
            _ => REPLACED,
        };
        step.window(start, until, limit);
        ensure!(gap.lost <= unanswerable, "{gap:?}");
        ensure!(gap.longest < limit || gap.lost == 0, "{gap:?}");
        if servers != Speaker::Bird {
            quiet.check(&interface)?;
            ensure!(by.len() == 1 && by.contains(SERVER_1), "{by:?}");
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_node_that_dies_during_its_restart_is_not_helped_for_long() -> Result<()> {
    Lab::run("graceful-dead", |lab| {
        let trio = Trio::start(lab, with_bfd())?;
        trio.wait_settled()?;
        wait_one_database(&trio.members())?;
        let beats = trio.beats()?;
        let others = [&trio.client, &trio.second];
        let ended = |why: &str| -> Result<u64> {
            let path = ["graceful", "helps_ended", why];
            others.iter().map(|member| member.counter(&path)).sum()
        };
        let mut again = false;
        judged(lab, "a dead node under grace", |step| {
            if again {
                trio.cloud.heal(&trio.first.host)?;
                trio.first.daemon.run()?;
                beats.wait_served_by(SERVER_1, Instant::now(), 100, PATIENCE)?;
                trio.wait_settled()?;
            }
            again = true;
            let before = [ended("path_lost")?, ended("topology_changed")?];
            trio.first.daemon.leave()?;
            // Long enough for the kernel to have answered in the daemon's place.
            thread::sleep(Duration::from_secs(1));
            let start = Instant::now();
            trio.cloud.cut(&trio.first.host)?;
            beats.wait_served_by(SERVER_2, start, 100, PATIENCE)?;
            let to = Instant::now();
            let gap = beats.gap(start, to);
            lab.say(format_args!("a dead node under grace: {:.1?}", gap.longest));
            step.window(start, to, DEAD_NODE);
            ensure!(gap.longest < DEAD_NODE, "{gap:?}");
            // The first that notices tells the other, whose help a changed topology ends then.
            wait_for("the end of both helps", PATIENCE, || {
                let lost = ended("path_lost")? - before[0];
                let all = lost + ended("topology_changed")? - before[1];
                ensure!(
                    lost >= 1 && all == 2,
                    "{lost} paths lost, {all} helps ended"
                );
                Ok(Some(()))
            })?;
            ensure!(
                trio.first.daemon.signal(Signal::SIGTERM).is_err(),
                "still there"
            );
            Ok(())
        })
    })
}
