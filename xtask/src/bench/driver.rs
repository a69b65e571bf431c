//! The underlay `driver`: how many small packets one core can receive, each frame injected as a
//! driver would and taken through the stack to a socket, on that core.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{
    inject::{Injector, Spread, multiply_session, stand_back},
    stay_on_last_core,
};

use super::{
    Effort, frame, go_on,
    host::progress,
    pair::{Pair, UNDERLAY, Wire},
    rows::{Figure, Samples, Underlay},
    subject::Subject,
    udp::{SINK, SOURCE, Sink},
};

/// Tries until nearly all frames come: where the kernel leaves packets to a thread of its own, a queue
/// may overflow, and what is spent on that is no capacity.
pub(super) const ATTEMPTS: u32 = 5;
const SMALL: &str = "small";
/// How many sessions there are.
const COUNTS: [u32; 3] = [1, 100, 10_000];
/// Times as many runs with these: what they differ by is less than what two runs do.
const OFTEN: u32 = 3;

/// One line of the result: a pair, and the frames for it.
struct Shot<'a> {
    pair: &'a Pair,
    case: String,
    injector: Injector,
}

/// Measures every subject, taking turns.
pub(super) fn measure(effort: Effort, binary: &Path, samples: &mut Samples) -> Result<()> {
    let mut pairs = Vec::new();
    for subject in [
        Subject::Plain,
        Subject::Vxlan,
        Subject::L2ha,
        Subject::L2haTc,
        Subject::L2haUdp6,
        Subject::L2haIp,
        // Once more for each number of sessions.
        Subject::L2ha,
        Subject::L2ha,
        Subject::L2ha,
    ] {
        go_on()?;
        progress(format_args!("driver: setting up {subject}"));
        pairs.push(Pair::new(subject, Wire::default(), binary)?);
    }
    let mut shots = Vec::new();
    for (number, pair) in pairs.iter().enumerate() {
        let sessions = number.checked_sub(6).map(|at| COUNTS[at]);
        shots.push(shot(pair, sessions)?);
    }
    for run in 0..effort.runs * OFTEN {
        shots.rotate_left(1);
        for shot in &shots {
            go_on()?;
            let runs = match shot.case == SMALL {
                true => effort.runs,
                false => effort.runs * OFTEN,
            };
            if run >= runs {
                continue;
            }
            let name = shot.pair.subject.to_string();
            progress(format_args!(
                "driver: run {} of {runs}, {}, {name}",
                run + 1,
                shot.case
            ));
            let rate =
                fire(shot, effort.udp).with_context(|| format!("{} of {name}", shot.case))?;
            samples.add(
                Underlay::Driver,
                &name,
                &shot.case,
                Figure::Rate,
                rate / 1e6,
            );
            samples.add(
                Underlay::Driver,
                &name,
                &shot.case,
                Figure::CpuPerPacket,
                1e9 / rate,
            );
        }
    }
    Ok(())
}

/// From and to where the frames of a pair go.
pub(super) fn addresses(pair: &Pair) -> Result<frame::Addresses> {
    let inner = match pair.subject {
        Subject::Plain => UNDERLAY,
        _ => "inner0",
    };
    Ok(frame::Addresses {
        outer: [
            pair.hosts[0].ns.mac(UNDERLAY)?,
            pair.hosts[1].ns.mac(UNDERLAY)?,
        ],
        inner: [pair.hosts[0].ns.mac(inner)?, pair.hosts[1].ns.mac(inner)?],
        session_id: pair.session_ids[1],
    })
}

fn shot(pair: &Pair, sessions: Option<u32>) -> Result<Shot<'_>> {
    let (frame, offset) = frame::small(pair.subject, &addresses(pair)?);
    let spread = match (sessions, offset) {
        (Some(count), Some(offset)) => {
            let base = pair.session_ids[1];
            multiply_session(base, count).with_context(|| format!("sessions-{count}"))?;
            Some(Spread {
                offset,
                base,
                count,
            })
        }
        _ => None,
    };
    let ifindex = pair.hosts[0].ns.ifindex(UNDERLAY)?.context("no underlay")?;
    Ok(Shot {
        pair,
        case: sessions.map_or(SMALL.to_owned(), |count| format!("sessions-{count}")),
        injector: Injector::new(&frame, ifindex, spread)?,
    })
}

/// Injects a million frames for each second of `time` on one core; returns how many packets a second came to the socket.
fn fire(shot: &Shot<'_>, time: Duration) -> Result<f64> {
    let sink = Sink::open(shot.pair, SOURCE, SINK)?;
    let mut best = (0, 0.0);
    for _ in 0..ATTEMPTS {
        go_on()?;
        let before = sink.count()?;
        let (sent, seconds) = inject(shot, time)?;
        let came = sink.count()? - before;
        if came > best.0 {
            best = (came, came as f64 / seconds);
        }
        if came >= sent / 100 * 98 {
            return Ok(best.1);
        }
    }
    ensure!(best.0 > 0, "no frame came to the socket");
    progress(format_args!(
        "{}, {}: {} frames came at best, the others overflowed a queue",
        shot.case, shot.pair.subject, best.0
    ));
    Ok(best.1)
}

/// Injects on one core; returns how many frames, and the seconds it took.
fn inject(shot: &Shot<'_>, time: Duration) -> Result<(u64, f64)> {
    shot.pair.hosts[0].ns.enter(|| {
        stay_on_last_core()?;
        stand_back()?;
        // In one go: between two the kernel waits for many milliseconds, and sends nothing.
        let count = u32::try_from(time.as_micros())?;
        let start = Instant::now();
        shot.injector.run(count)?;
        let took = start.elapsed();
        // What that wait is, without a packet worth mentioning.
        let start = Instant::now();
        shot.injector.run(64)?;
        let seconds = took.saturating_sub(start.elapsed()).as_secs_f64();
        Ok((u64::from(count), seconds))
    })?
}
