//! BFD: a path that breaks without a sign is noticed in milliseconds; a node whose daemon is stopped takes no neighbour for dead, and is not taken for dead.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{
    Both, Ipv4Links, Lab, PATIENCE, SERVER_1, SERVER_2, Speaker, Trio, TrioOptions, cut_with_bfd,
    is_deep, judged,
};
use nix::sys::signal::Signal;
use serde_json::Value;

/// BFD of 20 ms x 3: a machine that pauses for so long looks like a failure.
const DETECTION: Duration = Duration::from_millis(60);
/// What the kernel's own switch may cost.
const DETOUR_LIMIT: Duration = Duration::from_millis(500);
/// How long the last answers may take.
const LAST: Duration = Duration::from_millis(100);

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_silent_cut_costs_milliseconds() -> Result<()> {
    cut_with_bfd(
        "bfd",
        [Speaker::L2ha; 2],
        (20.0, 3),
        3,
        Duration::from_millis(500),
    )
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_stopped_daemon_loses_no_session() -> Result<()> {
    Lab::run("bfd-paused", |lab| {
        let options = TrioOptions {
            bfd: Some((20.0, 3)),
            ..TrioOptions::default()
        };
        let trio = Trio::start(lab, options)?;
        trio.wait_up()?;
        let beats = trio.beats()?;
        trio.wait_settled()?;
        let downs = || -> Result<Vec<u64>> {
            let mut downs = Vec::new();
            for member in trio.members() {
                for session in member.daemon.bfd_sessions()? {
                    downs.push(session["counters"]["downs"].as_u64().context("no downs")?);
                }
            }
            Ok(downs)
        };
        // Stopped for less than OSPF's dead interval; the kernel forwards meanwhile, and answers
        // when the others ask the path.
        for stopped in [&trio.client, &trio.first] {
            judged(lab, "a stopped daemon", |step| {
                let before = downs()?;
                let from = Instant::now();
                stopped.daemon.signal(Signal::SIGSTOP)?;
                thread::sleep(Duration::from_secs(2));
                stopped.daemon.signal(Signal::SIGCONT)?;
                thread::sleep(Duration::from_millis(500));
                let to = Instant::now();
                thread::sleep(LAST);
                let gap = beats.gap(from, to);
                lab.say(format_args!(
                    "{} 2 s stopped: gap {:.1?}, {} lost",
                    stopped.host.name, gap.longest, gap.lost
                ));
                step.window(from, to, DETECTION);
                trio.wait_settled()?;
                ensure!(
                    downs()? == before,
                    "a session fell: {:#?}",
                    stopped.daemon.bfd_sessions()?
                );
                ensure!(gap.lost == 0, "{gap:?}");
                Ok(())
            })?;
        }
        let kept = trio.client.daemon.bfd_sessions()?;
        let answered = |it: &Value| it["counters"]["probes_answered"].as_u64() > Some(50);
        ensure!(kept.iter().any(answered), "kept by what? {kept:#?}");
        Ok(())
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_clean_stop_is_no_failure() -> Result<()> {
    Lab::run("bfd-stop", |lab| {
        let options = TrioOptions {
            bfd: Some((20.0, 3)),
            ..TrioOptions::default()
        };
        let trio = Trio::start(lab, options)?;
        trio.wait_up()?;
        let beats = trio.beats()?;
        // Not right after the adjacencies came up, when neighbours still refuse newer LSAs
        // (MinLSArrival).
        trio.wait_settled()?;
        let mut again = false;
        judged(lab, "a clean stop", |step| {
            if again {
                let started = Instant::now();
                trio.first.daemon.run()?;
                beats.wait_served_by(SERVER_1, started, 200, PATIENCE)?;
                trio.wait_settled()?;
            }
            again = true;
            let from = Instant::now();
            trio.first.daemon.stop()?;
            beats.wait_served_by(SERVER_2, from, 200, PATIENCE)?;
            let to = Instant::now();
            thread::sleep(LAST);
            let gap = beats.gap(from, to);
            lab.say(format_args!(
                "clean stop: gap {:.1?}, {} lost",
                gap.longest, gap.lost
            ));
            step.window(from, to, DETECTION);
            ensure!(gap.lost == 0, "a clean stop lost {gap:?}");
            Ok(())
        })
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn the_kernel_leaves_a_dead_path_without_the_daemon() -> Result<()> {
    detours("bfd-detour", Ipv4Links::Bare, 2)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn the_kernel_leaves_a_dead_path_with_ipv4_on_the_tunnels() -> Result<()> {
    detours("bfd-detour-4", Ipv4Links::Numbered, 1)
}

/// The client's daemon is stopped while the path to its server is cut, for addresses of both families.
fn detours(name: &str, ipv4: Ipv4Links, rounds: usize) -> Result<()> {
    Lab::run(name, |lab| {
        let options = TrioOptions {
            bfd: Some((10.0, 3)),
            ipv4: Some(ipv4),
            ..TrioOptions::default()
        };
        let trio = Trio::start(lab, options)?;
        trio.wait_up()?;
        let both = Both::start(&trio)?;
        trio.wait_settled()?;
        let mut is_cut = false;
        for _ in 0..if is_deep() { 3 } else { rounds } {
            judged(lab, "a cut behind a stopped daemon", |step| {
                if is_cut {
                    let healed = Instant::now();
                    trio.cloud.heal(&trio.first.host)?;
                    both.wait_served_by(SERVER_1, healed, 200)?;
                    trio.wait_settled()?;
                }
                is_cut = true;
                trio.client.daemon.signal(Signal::SIGSTOP)?;
                thread::sleep(Duration::from_millis(500));
                let from = Instant::now();
                trio.cloud.cut(&trio.first.host)?;
                let switched = both.wait_served_by(SERVER_2, from, 50);
                thread::sleep(Duration::from_millis(500));
                trio.client.daemon.signal(Signal::SIGCONT)?;
                switched.context("the client's kernel did not switch")?;
                // Its own routes take over without a loss.
                thread::sleep(LAST);
                let to = Instant::now();
                let gaps = both.gaps(lab, "a cut", from, to);
                step.window(from, to, DETOUR_LIMIT);
                ensure!(
                    gaps.iter().all(|gap| gap.longest < DETOUR_LIMIT),
                    "{gaps:?}"
                );
                Ok(())
            })?;
        }
        let status = trio.client.daemon.status()?;
        ensure!(
            status["dataplane"]["reasons"]["detoured"].as_u64() > Some(0),
            "nothing was detoured: {status:#}"
        );
        Ok(())
    })
}
