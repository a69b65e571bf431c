//! How often instances of one LSA may follow each other.

use std::time::Duration;

use crate::config::Time;
use crate::wire::{LsaBody, LsaType};

/// How many instances in a row an LSA of one prefix may have after a quiet time. A service that dies
/// in the moment after it came is thus withdrawn at once, and one that comes and goes for ever is
/// told as seldom as RFC 2328 B has it.
const PREFIX_BURST: u32 = 4;

/// Counts what happens, and says when the next may: some in a row, then one in each interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pace {
    /// When as many intervals have passed as things have happened.
    settled: Time,
}

impl Pace {
    /// When the next may happen.
    pub(crate) fn due(self, interval: Duration, burst: u32) -> Time {
        let ahead = interval.saturating_mul(burst.saturating_sub(1));
        self.settled.saturating_sub(ahead)
    }

    /// It has happened, whether it was due or not.
    pub(crate) fn count(&mut self, now: Time, interval: Duration, burst: u32) {
        let latest = now + interval.saturating_mul(burst);
        self.settled = (self.settled.max(now) + interval).min(latest);
    }
}

/// How many instances in a row may be originated.
pub(crate) fn origination_burst(body: &LsaBody) -> u32 {
    match body {
        LsaBody::IntraAreaPrefix(body) if body.prefixes.len() == 1 => PREFIX_BURST,
        LsaBody::InterAreaPrefix(_) | LsaBody::AsExternal(_) => PREFIX_BURST,
        _ => 1,
    }
}

/// How many instances in a row may be originated up to this one, where it takes the place of another. What an address is
/// worth less by never waits for good news that came before it: these leave one for it.
pub(crate) fn burst_of(before: Option<&LsaBody>, body: &LsaBody) -> u32 {
    let burst = origination_burst(body);
    let is_worse = before.and_then(metric) < metric(body) && before.is_some();
    match is_worse {
        true => burst,
        false => burst.saturating_sub(1).max(1),
    }
}

/// The metric of what carries a single prefix.
fn metric(body: &LsaBody) -> Option<u32> {
    match body {
        LsaBody::IntraAreaPrefix(body) => Some(body.prefixes.first()?.metric.into()),
        LsaBody::InterAreaPrefix(body) => Some(body.metric),
        LsaBody::AsExternal(body) => Some(body.metric),
        _ => None,
    }
}

/// How many instances in a row are taken from neighbours: those that may be originated, and the
/// withdrawal after them.
pub(crate) fn arrival_burst(ty: LsaType) -> u32 {
    match ty {
        LsaType::INTRA_AREA_PREFIX | LsaType::INTER_AREA_PREFIX | LsaType::AS_EXTERNAL => {
            PREFIX_BURST + 1
        }
        _ => 1,
    }
}

/// A number that looks drawn at random, always the same for the same one (splitmix64).
pub(crate) fn spread(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn some_follow_at_once_and_the_next_an_interval_apart() {
        let mut pace = Pace::default();
        let mut now = SECOND * 100;
        let mut waits = Vec::new();
        for _ in 0..6 {
            let due = pace.due(SECOND, 3).max(now);
            waits.push((due - now).as_secs());
            now = due;
            pace.count(now, SECOND, 3);
        }
        assert_eq!(waits, [0, 0, 0, 1, 1, 1]);
        // Two intervals of quiet: two in a row again.
        now += SECOND * 2;
        pace.count(now, SECOND, 3);
        assert!(pace.due(SECOND, 3) <= now);
        pace.count(now, SECOND, 3);
        assert_eq!(pace.due(SECOND, 3), now + SECOND);
        // What could not wait delays the next by no more than that.
        pace.count(now, SECOND, 3);
        assert_eq!(pace.due(SECOND, 3), now + SECOND);
    }

    proptest! {
        /// Whatever is tried when, no more than the burst and one in each interval happens.
        #[test]
        fn it_is_bounded(burst in 1u32..6, gaps in vec(0u64..3000, 1..200)) {
            let mut pace = Pace::default();
            let mut now = Duration::ZERO;
            let mut happened = Vec::new();
            for gap in gaps {
                now += Duration::from_millis(gap);
                if pace.due(SECOND, burst) <= now {
                    pace.count(now, SECOND, burst);
                    happened.push(now);
                }
            }
            for (first, from) in happened.iter().enumerate() {
                for (last, to) in happened.iter().enumerate().skip(first) {
                    let most = u64::from(burst) + (*to - *from).as_secs();
                    prop_assert!((last - first + 1) as u64 <= most);
                }
            }
        }
    }
}
