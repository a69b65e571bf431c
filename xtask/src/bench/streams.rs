//! The underlay `driver` once more: what two cores can receive of four streams in one tunnel, each
//! core fed with two of them by a queue of its own, as the spreading of a NIC would; and what one
//! core can of one stream.

use std::{
    path::Path,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use l2ha_lab::inject::{Injector, Spread, stand_back};

use super::{
    Effort,
    driver::{self, ATTEMPTS},
    frame, go_on,
    host::progress,
    pair::{Pair, UNDERLAY, Wire},
    rows::{Figure, Samples, Underlay},
    subject::Subject,
    udp::{SINK, SOURCE, Sink},
};

/// Streams of one core.
const EACH: u16 = 2;
const CORES: u16 = 2;

/// A pair, and frames for each core.
struct Fed {
    pair: Pair,
    one: Injector,
    cores: Vec<Injector>,
}

/// Measures every subject, taking turns.
pub(super) fn measure(effort: Effort, binary: &Path, samples: &mut Samples) -> Result<()> {
    let cores = l2ha_lab::cores()?;
    if cores.len() < usize::from(CORES) {
        progress(format_args!("driver: no two cores for the streams"));
        return Ok(());
    }
    let mut feds = Vec::new();
    for subject in [Subject::Plain, Subject::Vxlan, Subject::L2ha] {
        go_on()?;
        progress(format_args!("driver: setting up {subject} with two queues"));
        feds.push(fed(subject, binary)?);
    }
    for run in 0..effort.runs {
        feds.rotate_left(1);
        for fed in &feds {
            let name = fed.pair.subject.to_string();
            for (case, injectors) in [
                ("streams-1", std::slice::from_ref(&fed.one)),
                ("streams-4", &fed.cores),
            ] {
                go_on()?;
                progress(format_args!(
                    "driver: run {} of {}, {case}, {name}",
                    run + 1,
                    effort.runs
                ));
                // The last ones: the first has most of the machine's other work.
                let cores = &cores[cores.len() - injectors.len()..];
                let rate = fire(&fed.pair, injectors, cores, effort.udp)
                    .with_context(|| format!("{case} of {name}"))?;
                samples.add(Underlay::Driver, &name, case, Figure::Rate, rate / 1e6);
            }
        }
    }
    Ok(())
}

fn fed(subject: Subject, binary: &Path) -> Result<Fed> {
    let wire = Wire {
        spread: true,
        ..Wire::default()
    };
    let pair = Pair::new(subject, wire, binary)?;
    let (frame, _) = frame::small(subject, &driver::addresses(&pair)?);
    let offset = frame::ports_at(&frame);
    let ifindex = pair.hosts[0].ns.ifindex(UNDERLAY)?.context("no underlay")?;
    // The destination ports tell the streams apart.
    let injector = |first: u16, count: u16| {
        let spread = Spread {
            offset,
            base: u32::from(SOURCE) << 16 | u32::from(first),
            count: u32::from(count),
        };
        Injector::new(&frame, ifindex, Some(spread))
    };
    let cores = (0..CORES).map(|core| injector(SINK + core * EACH, EACH));
    Ok(Fed {
        one: injector(SINK, 1)?,
        cores: cores.collect::<Result<_>>()?,
        pair,
    })
}

/// Injects on each core at once; returns how many packets a second came to the sockets.
fn fire(pair: &Pair, injectors: &[Injector], cores: &[usize], time: Duration) -> Result<f64> {
    let sinks: Vec<Sink<'_>> = (SINK..SINK + CORES * EACH)
        .map(|port| Sink::open(pair, SOURCE, port))
        .collect::<Result<_>>()?;
    let sink = sinks.first().context("no socket")?;
    let count = u32::try_from(time.as_micros())?;
    let mut best = 0.0;
    for _ in 0..ATTEMPTS {
        go_on()?;
        let before = sink.count()?;
        let barrier = Barrier::new(injectors.len());
        let times: Vec<f64> = thread::scope(|scope| {
            let threads: Vec<_> = injectors
                .iter()
                .zip(cores)
                .map(|(injector, core)| {
                    scope.spawn(|| inject(pair, injector, *core, count, &barrier))
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().map_err(|_| anyhow!("panicked"))?)
                .collect::<Result<_>>()
        })?;
        let came = sink.count()? - before;
        let seconds = times.into_iter().fold(0.0, f64::max);
        best = f64::max(best, came as f64 / seconds);
        if came >= u64::from(count) * injectors.len() as u64 / 100 * 98 {
            break;
        }
    }
    ensure!(best > 0.0, "no frame came to the sockets");
    Ok(best)
}

/// Injects on one core, together with the others; returns the seconds it took.
fn inject(
    pair: &Pair,
    injector: &Injector,
    core: usize,
    count: u32,
    barrier: &Barrier,
) -> Result<f64> {
    pair.hosts[0].ns.enter(|| {
        let prepared = l2ha_lab::stay_on(core).and_then(|()| stand_back());
        // Before any error: the others wait here.
        barrier.wait();
        prepared?;
        let start = Instant::now();
        injector.run(count)?;
        let took = start.elapsed();
        // As in `driver`: the wait that is in every injection.
        let start = Instant::now();
        injector.run(64)?;
        Ok(took.saturating_sub(start.elapsed()).as_secs_f64())
    })?
}
