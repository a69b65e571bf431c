//! The main job, again and again: what the loss and the return of a server cost the client.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use l2ha_lab::{Lab, Outage, Probe, Trio, TrioOptions};

const CUT_LIMIT: Duration = Duration::from_millis(3500);
/// What a busy machine may hold back; who is gone is missed for the dead interval.
const SMOOTH_LIMIT: Duration = Duration::from_millis(250);
/// The gaps of one kind of event.
struct Gaps {
    name: &'static str,
    limit: Duration,
    all: Vec<Duration>,
}

impl Gaps {
    fn new(name: &'static str, limit: Duration) -> Self {
        Self {
            name,
            limit,
            all: Vec::new(),
        }
    }

    fn add(&mut self, lab: &Lab, outage: &Outage) {
        lab.say(format_args!("  {:<10} {:>8.1?}", self.name, outage.gap));
        self.all.push(outage.gap);
    }

    fn too_long(&self) -> usize {
        self.all.iter().filter(|gap| **gap > self.limit).count()
    }
}

impl fmt::Display for Gaps {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted = self.all.clone();
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
            self.limit.as_millis()
        )
    }
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn the_address_outlives_its_server_twenty_times() -> Result<()> {
    let repeat: usize = match std::env::var("L2HA_REPEAT") {
        Ok(text) => text.parse()?,
        Err(_) => 20,
    };
    Lab::run("failover", |lab| {
        let trio = Trio::start(lab, TrioOptions::default())?;
        trio.wait_full()?;
        lab.say("every neighbour Full");
        let probe = trio.probe()?;
        undisturbed(lab, &probe)?;

        let mut cut = Gaps::new("silent cut", CUT_LIMIT);
        let mut heal = Gaps::new("heal", SMOOTH_LIMIT);
        let mut stop = Gaps::new("clean stop", SMOOTH_LIMIT);
        let mut back = Gaps::new("return", SMOOTH_LIMIT);
        for round in 1..=repeat {
            lab.say(format_args!("round {round} of {repeat}"));
            cut.add(lab, &trio.silent_cut(&probe)?);
            heal.add(lab, &trio.heal(&probe)?);
            trio.wait_full()?;
            stop.add(lab, &trio.clean_stop(&probe)?);
            back.add(lab, &trio.come_back(&probe)?);
            trio.wait_full()?;
        }
        let kinds = [cut, heal, stop, back];
        for kind in &kinds {
            lab.say(kind);
        }
        let too_long: Vec<_> = kinds
            .iter()
            .filter(|kind| kind.too_long() > 0)
            .map(|kind| format!("{} too long: {kind}", kind.too_long()))
            .collect();
        ensure!(too_long.is_empty(), "{}", too_long.join("\n"));
        Ok(())
    })
}

/// What the machine itself costs when nothing happens: the floor of every figure.
fn undisturbed(lab: &Lab, probe: &Probe) -> Result<()> {
    let from = Instant::now();
    std::thread::sleep(Duration::from_secs(1));
    let gap = probe.longest_gap(from, Instant::now());
    lab.say(format_args!("undisturbed for 1 s: longest gap {gap:.1?}"));
    ensure!(
        gap < SMOOTH_LIMIT,
        "{gap:?} without an answer while nothing happens"
    );
    Ok(())
}
