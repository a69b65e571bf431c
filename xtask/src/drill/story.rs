//! One subject's drills in a lab of its own.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use l2ha_lab::{Beats, Lab, SERVER_1, SERVER_2, Speaker, Trio, TrioOptions, UNDERLAY};
use nix::sys::signal::Signal;

use super::{Cut, Options, Subject, gaps::Gaps};

const PATIENCE: Duration = Duration::from_secs(40);
/// Answers in a row by which a server serves for good.
const IN_A_ROW: usize = 100;
/// How long everything is left alone between two drills: BFD has to come up, first at its slow
/// pace, and a clean stop takes its time.
const REST: Duration = Duration::from_millis(2500);
/// How long the last answers may take.
const LAST: Duration = Duration::from_millis(100);
/// A crashed daemon is left dead for so long.
const DEAD: Duration = Duration::from_secs(2);

/// Runs them all.
pub(super) fn run(binary: &Path, subject: Subject, options: &Options) -> Result<Gaps> {
    let lab = Lab::new("drill")?.with_binary(binary);
    let (servers, client) = match subject {
        Subject::L2ha => (Speaker::L2ha, Speaker::L2ha),
        Subject::Frr => (Speaker::Bird, Speaker::Frr),
    };
    let trio = Trio::start(
        &lab,
        TrioOptions {
            servers,
            client,
            bfd: Some((options.bfd.ms, options.bfd.times)),
            ..TrioOptions::default()
        },
    )?;
    settle(&trio)?;
    let beats = trio.beats()?;
    thread::sleep(REST);
    let mut gaps = Gaps::default();
    for number in 1..=options.count {
        let gap = once(&trio, &beats, options.cut)?;
        lab.say(format_args!(
            "{subject:?} {number} of {}: {:.1?}, {} lost",
            options.count, gap.longest, gap.lost
        ));
        gaps.add(&gap);
    }
    Ok(gaps)
}

/// Waits until every neighbour is Full and every BFD session of ours up.
fn settle(trio: &Trio) -> Result<()> {
    trio.wait_full(PATIENCE)?;
    trio.wait_watched(PATIENCE)
}

/// One drill: what the loss of the server cost, and its return too unless it had failed.
fn once(trio: &Trio, beats: &Beats, cut: Cut) -> Result<l2ha_lab::Gap> {
    let first = &trio.first;
    let nic = |state| first.host.ns.run(["ip", "link", "set", UNDERLAY, state]);
    let from = Instant::now();
    match cut {
        Cut::Silent => trio.cloud.cut(&first.host)?,
        Cut::Crash => first.daemon.kill()?,
        Cut::Nic => drop(nic("down")?),
        Cut::Stop => first.daemon.stop()?,
        Cut::Service => {
            first.daemon.reconfigure(|config| config.services.clear())?;
            first.daemon.signal(Signal::SIGHUP)?;
        }
    }
    if cut == Cut::Crash {
        // Its kernel goes on forwarding: the address may never leave.
        thread::sleep(DEAD);
    } else {
        beats.wait_served_by(SERVER_2, from, IN_A_ROW, PATIENCE)?;
    }
    let gone = Instant::now();
    thread::sleep(LAST);
    let cost = beats.gap(from, gone);
    match cut {
        Cut::Silent => trio.cloud.heal(&first.host)?,
        Cut::Nic => {
            nic("up")?;
            first.host.underlay_up()?;
        }
        Cut::Crash | Cut::Stop => first.daemon.run()?,
        Cut::Service => {
            first.daemon.reconfigure(|config| {
                config.services.push(("web".into(), l2ha_lab::ANYCAST));
            })?;
            first.daemon.signal(Signal::SIGHUP)?;
        }
    }
    beats.wait_served_by(SERVER_1, gone, IN_A_ROW, PATIENCE)?;
    settle(trio)?;
    thread::sleep(REST);
    Ok(match cut {
        Cut::Silent | Cut::Nic => cost,
        // Done in order, the way back shall cost nothing either.
        Cut::Crash | Cut::Stop | Cut::Service => beats.gap(from, Instant::now() - LAST),
    })
}
