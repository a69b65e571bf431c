//! The main job, again and again: what the loss and the return of a server cost the client.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use l2ha_lab::{Lab, Outage, Probe, Trio, TrioOptions, is_deep, judged};

/// The dead interval, which a silent cut costs.
const DEAD: Duration = Duration::from_secs(3);
/// What a silent cut may cost beyond that.
const CUT_MARGIN: Duration = Duration::from_millis(500);
/// What everything else may cost. A server that is missed costs the dead interval.
const SMOOTH_LIMIT: Duration = Duration::from_millis(250);

/// An event, and what it may cost beyond what it must.
struct Event {
    name: &'static str,
    must: Duration,
    margin: Duration,
    act: fn(&Trio, &Probe) -> Result<Outage>,
    gaps: Vec<Duration>,
}

impl Event {
    fn new(name: &'static str, act: fn(&Trio, &Probe) -> Result<Outage>) -> Self {
        Self {
            name,
            must: Duration::ZERO,
            margin: SMOOTH_LIMIT,
            act,
            gaps: Vec::new(),
        }
    }

    fn limit(&self) -> Duration {
        self.must + self.margin
    }
}

impl fmt::Display for Event {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted = self.gaps.clone();
        sorted.sort();
        let ms = |gap: Option<&Duration>| gap.map_or(0.0, |gap| gap.as_secs_f64() * 1000.0);
        write!(
            to,
            "{:<10} {} times: min {:.1} / median {:.1} / max {:.1} ms, allowed {} ms",
            self.name,
            sorted.len(),
            ms(sorted.first()),
            ms(sorted.get(sorted.len() / 2)),
            ms(sorted.last()),
            self.limit().as_millis()
        )
    }
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn the_address_outlives_its_server() -> Result<()> {
    let rounds: usize = match std::env::var("L2HA_REPEAT") {
        Ok(text) => text.parse()?,
        Err(_) if is_deep() => 20,
        Err(_) => 2,
    };
    Lab::run("failover", |lab| {
        let trio = Trio::start(lab, TrioOptions::default())?;
        trio.wait_full()?;
        lab.say("every neighbour Full");
        let probe = trio.probe()?;
        undisturbed(lab, &probe)?;

        // The second of each pair undoes the first.
        let mut pairs = [
            [
                Event {
                    must: DEAD,
                    margin: CUT_MARGIN,
                    ..Event::new("silent cut", Trio::silent_cut)
                },
                Event::new("heal", Trio::heal),
            ],
            [
                Event::new("clean stop", Trio::clean_stop),
                Event::new("return", Trio::come_back),
            ],
        ];
        for round in 1..=rounds {
            lab.say(format_args!("round {round} of {rounds}"));
            for pair in &mut pairs {
                play(lab, &trio, &probe, pair)?;
            }
        }
        for event in pairs.iter().flatten() {
            lab.say(event);
        }
        Ok(())
    })
}

/// An event and its return: each within its limit.
fn play(lab: &Lab, trio: &Trio, probe: &Probe, pair: &mut [Event; 2]) -> Result<()> {
    let outages = judged(lab, pair[0].name, |step| {
        let mut outages = Vec::new();
        for event in &*pair {
            let outage = (event.act)(trio, probe)?;
            lab.say(format_args!("  {:<10} {:>8.1?}", event.name, outage.gap));
            step.window(outage.from, outage.to, event.margin);
            outages.push(outage);
        }
        trio.wait_full()?;
        for (event, outage) in pair.iter().zip(&outages) {
            let limit = event.limit();
            ensure!(
                outage.gap <= limit,
                "{}: {outage:?}, allowed {limit:?}",
                event.name
            );
        }
        Ok(outages)
    })?;
    for (event, outage) in pair.iter_mut().zip(outages) {
        event.gaps.push(outage.gap);
    }
    Ok(())
}

/// What the machine itself costs when nothing happens: the floor of every figure.
fn undisturbed(lab: &Lab, probe: &Probe) -> Result<()> {
    judged(lab, "undisturbed", |step| {
        let from = Instant::now();
        std::thread::sleep(Duration::from_secs(1));
        let to = Instant::now();
        let gap = probe.longest_gap(from, to);
        lab.say(format_args!("undisturbed for 1 s: longest gap {gap:.1?}"));
        step.window(from, to, SMOOTH_LIMIT);
        ensure!(
            gap < SMOOTH_LIMIT,
            "{gap:?} without an answer while nothing happens"
        );
        Ok(())
    })
}
