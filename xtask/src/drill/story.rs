//! One subject's drills in a lab of its own.

use std::{
    cell::Cell,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use l2ha_lab::{
    Beats, Gap, Lab, PATIENCE, Probe, SERVER_1, SERVER_2, Speaker, Trio, TrioOptions, UNDERLAY,
};

use crate::cmd::target_dir;

use super::{Check, Cut, Options, Subject, gaps::Gaps, load::Load};

/// The checks of a service whose process is cut.
const HTTP: &str = "http = \"http://[2001:db8::80]/\", interval = \"100ms\", timeout = \"200ms\"";
const EXEC: &str = "exec = [\"/usr/bin/busybox\", \"wget\", \"-q\", \"-O\", \"-\", \"http://[2001:db8::80]/\"], \
                    interval = \"100ms\", timeout = \"200ms\"";
/// Answers in a row by which a server serves for good.
const IN_A_ROW: usize = 100;
/// How long everything is left alone between two drills: BFD has to come up, first at its slow
/// pace, and a clean stop takes its time.
const REST: Duration = Duration::from_millis(2500);
/// FRR notices a cut at once but waits with its own LSA, and with its route, until MinLSInterval (5 s) after
/// the last one.
const REST_OF_FRR: Duration = Duration::from_secs(6);
/// How long the last answers may take.
const LAST: Duration = Duration::from_millis(100);
/// How often a watch says what it has seen.
const REPORT: Duration = Duration::from_secs(60);
/// A crashed daemon is left dead for so long.
const DEAD: Duration = Duration::from_secs(2);

/// Runs them all.
pub(super) fn run(binary: &Path, subject: Subject, options: &Options) -> Result<Gaps> {
    let lab = Lab::new("drill")?.with_binary(binary);
    let (servers, client, rest) = match subject {
        Subject::L2ha => (Speaker::L2ha, Speaker::L2ha, REST),
        Subject::Frr => (Speaker::Bird, Speaker::Frr, REST_OF_FRR),
    };
    let check = options.check().map(|check| match check {
        Check::Http => HTTP,
        Check::Exec => EXEC,
    });
    let trio = Trio::start(
        &lab,
        TrioOptions {
            servers,
            client,
            bfd: Some((options.bfd.ms, options.bfd.times)),
            check,
            ..TrioOptions::default()
        },
    )?;
    trio.wait_up()?;
    let asked = if check.is_some() {
        Asked::Pages(trio.probe()?, Cell::new(0))
    } else {
        Asked::Beats(trio.beats()?)
    };
    thread::sleep(rest);
    let mut gaps = Gaps::default();
    for number in 1..=options.count {
        let gap = match once(&trio, &asked, options.cut, rest) {
            Err(_) if l2ha_lab::interrupted() && gaps.count() > 0 => break,
            gap => gap?,
        };
        lab.say(format_args!(
            "{subject:?} {number} of {}: {:.1?}, {} lost",
            options.count, gap.longest, gap.lost
        ));
        if let Some(most) = options.at_most.map(Duration::from_millis)
            && gap.longest > most
        {
            let evidence = target_dir().join("lab-failures/drill");
            lab.keep_evidence(&evidence)?;
            bail!(
                "{:.1?}: what every host has written is in {}",
                gap.longest,
                evidence.display()
            );
        }
        gaps.add(&gap);
    }
    Ok(gaps)
}

/// Leaves the lab alone, with its cores busy if that is wanted, and counts what falls.
pub(super) fn watch(binary: &Path, options: &Options, time: Duration) -> Result<()> {
    let lab = Lab::new("drill")?.with_binary(binary);
    let trio = Trio::start(
        &lab,
        TrioOptions {
            bfd: Some((options.bfd.ms, options.bfd.times)),
            ..TrioOptions::default()
        },
    )?;
    trio.wait_up()?;
    let beats = trio.beats()?;
    thread::sleep(REST);
    let start = Instant::now();
    let before = counted(&trio)?;
    let load = options.load.map(Load::start).transpose()?;
    while start.elapsed() < time {
        let report = start.elapsed().saturating_add(REPORT).min(time);
        while start.elapsed() < report {
            ensure!(!l2ha_lab::interrupted(), "interrupted");
            thread::sleep(LAST.min(report.saturating_sub(start.elapsed())));
        }
        let gap = beats.gap(start, Instant::now() - LAST);
        lab.say(format_args!(
            "{:.0?} of {time:.0?}: {}; longest gap {:.1?}, {} lost",
            start.elapsed(),
            counted(&trio)?.since(&before),
            gap.longest,
            gap.lost
        ));
    }
    drop(load);
    let counted = counted(&trio)?.since(&before);
    println!("BFD {} in {time:.0?}: {counted}", options.bfd);
    ensure!(
        counted.downs == 0,
        "{} BFD sessions fell with nothing cut",
        counted.downs
    );
    Ok(())
}

/// What all BFD sessions of the lab have counted.
#[derive(Clone, Copy, Default)]
struct Counted {
    downs: u64,
    own_pauses: u64,
    probes_answered: u64,
}

impl Counted {
    const fn since(&self, before: &Self) -> Self {
        Self {
            downs: self.downs - before.downs,
            own_pauses: self.own_pauses - before.own_pauses,
            probes_answered: self.probes_answered - before.probes_answered,
        }
    }
}

impl std::fmt::Display for Counted {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            to,
            "{} sessions fell, {} own pauses, {} kept by echo",
            self.downs, self.own_pauses, self.probes_answered
        )
    }
}

fn counted(trio: &Trio) -> Result<Counted> {
    let mut sum = Counted::default();
    for member in trio.members() {
        for session in member.daemon.bfd_sessions()? {
            let counter = |name: &str| session["counters"][name].as_u64().unwrap_or(0);
            sum.downs += counter("downs");
            sum.own_pauses += counter("own_pauses");
            sum.probes_answered += counter("probes_answered");
        }
    }
    Ok(sum)
}

/// How the client asks.
enum Asked {
    /// By a datagram every millisecond.
    Beats(Beats),
    /// For a page every 5 ms, and how many of these had failed before the last gap.
    Pages(Probe, Cell<u64>),
}

impl Asked {
    fn wait_served_by(&self, server: &str, since: Instant) -> Result<()> {
        match self {
            Self::Beats(beats) => beats.wait_served_by(server, since, IN_A_ROW, PATIENCE),
            Self::Pages(probe, _) => {
                let first = probe.wait_served_by(server, since, IN_A_ROW, PATIENCE);
                first.map(drop)
            }
        }
    }

    fn gap(&self, from: Instant, to: Instant) -> Gap {
        match self {
            Self::Beats(beats) => beats.gap(from, to),
            Self::Pages(probe, before) => {
                let (failures, _) = probe.failures();
                Gap {
                    longest: probe.longest_gap(from, to),
                    lost: failures - before.replace(failures),
                }
            }
        }
    }
}

/// One drill: what the loss of the server cost, and its return too unless it had failed.
fn once(trio: &Trio, asked: &Asked, cut: Cut, rest: Duration) -> Result<Gap> {
    let first = &trio.first;
    let service = || first.service.as_ref().context("no service to cut");
    let nic = |state| first.host.ns.run(["ip", "link", "set", UNDERLAY, state]);
    let from = Instant::now();
    match cut {
        Cut::Silent => trio.cloud.cut(&first.host)?,
        Cut::Crash => first.daemon.kill()?,
        Cut::Nic => drop(nic("down")?),
        Cut::Stop => first.daemon.stop()?,
        Cut::Service => service()?.kill(),
        Cut::Hang => service()?.hang()?,
    }
    if cut == Cut::Crash {
        // Its kernel goes on forwarding: the address may never leave.
        thread::sleep(DEAD);
    } else {
        asked.wait_served_by(SERVER_2, from)?;
    }
    let gone = Instant::now();
    thread::sleep(LAST);
    let cost = asked.gap(from, gone);
    match cut {
        Cut::Silent => trio.cloud.heal(&first.host)?,
        Cut::Nic => {
            nic("up")?;
            first.host.underlay_up()?;
        }
        Cut::Crash | Cut::Stop => first.daemon.run()?,
        Cut::Service => service()?.run()?,
        Cut::Hang => service()?.go_on()?,
    }
    asked.wait_served_by(SERVER_1, gone)?;
    trio.wait_up()?;
    thread::sleep(rest);
    Ok(match cut {
        Cut::Silent | Cut::Nic | Cut::Service | Cut::Hang => cost,
        // Done in order, the way back shall cost nothing either.
        Cut::Crash | Cut::Stop => asked.gap(from, Instant::now() - LAST),
    })
}
