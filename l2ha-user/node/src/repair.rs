//! What was found wrong and repaired, counted by kind and logged.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// The kinds of repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// The virtual interface was gone or not a pair any more.
    Interface,
    /// The virtual interface was down, or its MTU, MAC address or an offload was changed.
    Setting,
    /// An address was missing from a virtual interface.
    Address,
    /// A tc program was gone from a virtual interface.
    Filter,
    /// The program was gone from the underlay.
    Underlay,
    /// A service's address was missing from the loopback.
    Service,
    /// What an earlier configuration or a crashed daemon had left was removed.
    Leftover,
    /// A program was taken off the underlay again, because it cut the node off.
    RolledBack,
}

impl Kind {
    /// The name that status shows.
    fn name(self) -> &'static str {
        match self {
            Self::Interface => "interface",
            Self::Setting => "setting",
            Self::Address => "address",
            Self::Filter => "filter",
            Self::Underlay => "underlay",
            Self::Service => "service",
            Self::Leftover => "leftover",
            Self::RolledBack => "rolled_back",
        }
    }
}

/// What comes again so soon after it was repaired is undone by somebody.
const AGAIN: Duration = Duration::from_secs(10);
/// So many repairs of one thing, each soon after the one before, are somebody's work and no accident.
const MANY: u32 = 8;
/// How long a pass waits for more notifications, at most, while repairs are undone.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Counts of repairs since the start, and what is undone again and again.
#[derive(Debug, Default)]
pub(crate) struct Repairs {
    counts: BTreeMap<Kind, u64>,
    /// Whether the first pass is done: what is made before that is no repair.
    started: bool,
    /// What the configuration has had since the last pass: what is made for it is no repair.
    new: BTreeSet<String>,
    /// What was repaired lately, by kind, subject and what was found.
    recent: BTreeMap<(Kind, String, String), Recent>,
}

/// A repair, and how often it followed itself.
#[derive(Clone, Copy, Debug)]
struct Recent {
    times: u32,
    last: Instant,
}

impl Repairs {
    /// These are to be made in the next pass, which is no repair.
    pub(crate) fn expect(&mut self, subjects: impl IntoIterator<Item = String>) {
        self.new.extend(subjects);
    }

    /// From now on, what has to be made is a repair.
    pub(crate) fn start(&mut self) {
        self.started = true;
        self.new.clear();
        let now = Instant::now();
        self.recent.retain(|_, recent| now < recent.last + AGAIN);
    }

    /// Records that something was missing or wrong and is now being repaired. One that is undone again and
    /// again is said [`MANY`] times; then it is a problem, which is said once.
    pub(crate) fn found(&mut self, kind: Kind, subject: &str, what: &str) {
        if (!self.started || self.new.contains(subject)) && kind != Kind::Leftover {
            tracing::debug!(subject, "setting up: {what}");
            return;
        }
        *self.counts.entry(kind).or_default() += 1;
        let times = self.again(kind, subject, what, Instant::now());
        if kind == Kind::Leftover {
            // Asked for by a reload, or left by a crash.
            tracing::info!(subject, "{what}");
        } else if times <= MANY {
            tracing::warn!(kind = kind.name(), subject, "repair: {what}");
        }
    }

    /// How often this was repaired, each time soon after the one before.
    fn again(&mut self, kind: Kind, subject: &str, what: &str, now: Instant) -> u32 {
        let key = (kind, subject.to_owned(), what.to_owned());
        let recent = self.recent.entry(key).or_insert(Recent {
            times: 0,
            last: now,
        });
        if now >= recent.last + AGAIN {
            recent.times = 0;
        }
        recent.times = recent.times.saturating_add(1);
        recent.last = now;
        recent.times
    }

    /// Counts one that is logged elsewhere.
    pub(crate) fn count(&mut self, kind: Kind) {
        *self.counts.entry(kind).or_default() += 1;
    }

    /// The counts by name.
    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        self.counts
            .iter()
            .map(|(kind, count)| (kind.name().to_owned(), *count))
            .collect()
    }

    /// What somebody undoes again and again: the subject, and what is found each time.
    pub(crate) fn undone(&self, now: Instant) -> Vec<(String, String)> {
        self.fights(now)
            .map(|((_, subject, what), _)| (subject.clone(), what.clone()))
            .collect()
    }

    /// How much longer than usual a pass shall wait after a notification: twice as long with each
    /// time that a repair was undone, up to a second, so that two who disagree do not fill a processor.
    pub(crate) fn delay(&self, now: Instant) -> Duration {
        let most = self.fights(now).map(|(_, recent)| recent.times).max();
        most.map_or(Duration::ZERO, |times| {
            let steps = (times - MANY).min(10);
            Duration::from_millis(5 << steps).min(LONGEST_WAIT)
        })
    }

    fn fights(&self, now: Instant) -> impl Iterator<Item = (&(Kind, String, String), &Recent)> {
        let recent = self.recent.iter();
        recent.filter(move |(_, recent)| recent.times > MANY && now < recent.last + AGAIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_undone_again_and_again_is_one_problem_and_backs_off() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut repairs = Repairs::default();
        let mut now = 0;
        let mut rounds = 0;
        // Undone at once, each time.
        while now < 60_000 {
            repairs.again(Kind::Service, "web", "192.0.2.80 is missing on lo", at(now));
            rounds += 1;
            now += 5 + u64::try_from(repairs.delay(at(now)).as_millis()).unwrap();
        }
        assert!(rounds < 80, "{rounds}");
        let undone = repairs.undone(at(now));
        assert_eq!(undone.len(), 1, "{undone:?}");
        assert_eq!(undone[0].0, "web");
        // It has stopped.
        assert_eq!(repairs.undone(at(now + 10_000)), []);
        assert_eq!(repairs.delay(at(now + 10_000)), Duration::ZERO);
    }

    #[test]
    fn what_is_new_is_made_and_not_repaired() {
        let mut repairs = Repairs::default();
        repairs.start();
        repairs.expect(["web-1".to_owned()]);
        repairs.found(Kind::Interface, "web-1", "virtual interface is missing");
        assert!(repairs.counts().is_empty());
        repairs.found(Kind::Interface, "web-2", "virtual interface is missing");
        repairs.start();
        repairs.found(Kind::Interface, "web-1", "virtual interface is missing");
        assert_eq!(repairs.counts()["interface"], 2);
    }

    #[test]
    fn different_repairs_are_no_fight() {
        let now = Instant::now();
        let mut repairs = Repairs::default();
        for number in 0..100 {
            repairs.again(
                Kind::Interface,
                &format!("tunnel-{number}"),
                "is missing",
                now,
            );
        }
        assert_eq!(repairs.undone(now), []);
        assert_eq!(repairs.delay(now), Duration::ZERO);
    }
}
