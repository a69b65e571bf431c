//! Adjacencies that come and go.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use ospfv3::{Event, Family, NeighborState};
use tokio::time::Instant;

use crate::rate_limit::RateLimit;

/// So many losses within this time are more than a restart.
const MANY: usize = 3;
const WITHIN: Duration = Duration::from_secs(60);

/// How often adjacencies were lost, for each interface.
#[derive(Debug, Default)]
pub(crate) struct Flaps(BTreeMap<(u32, Family), Losses>);

#[derive(Debug, Default)]
struct Losses {
    count: u64,
    /// The last few.
    recent: VecDeque<Instant>,
    warnings: RateLimit,
}

impl Flaps {
    /// Takes note of a loss, and says it when there are many.
    pub(crate) fn note(&mut self, family: Family, event: &Event, name: Option<&str>) {
        let Event::NeighborChanged {
            peer,
            from: NeighborState::Full,
            reason,
            ..
        } = event
        else {
            return;
        };
        let losses = self.0.entry((peer.interface, family)).or_default();
        if losses.add(Instant::now())
            && let Some(times) = losses.warnings.again(WITHIN)
        {
            tracing::warn!(
                interface = name.unwrap_or("?"), router_id = %peer.router_id, ?reason, count = losses.count, times,
                within = ?WITHIN, %family,
                "the adjacency flaps: traffic moves each time. Look for loss on the underlay \
                 (`l2ha sessions`), a busy CPU, or detection times that are too short"
            );
        }
    }

    /// How often adjacencies on an interface were lost.
    pub(crate) fn of(&self, interface: u32, family: Family) -> u64 {
        self.0
            .get(&(interface, family))
            .map_or(0, |losses| losses.count)
    }

    /// Forgets an interface that is gone, or begins again.
    pub(crate) fn forget(&mut self, interface: u32) {
        self.0.retain(|(of, _), _| *of != interface);
    }
}

impl Losses {
    /// Whether that makes many.
    fn add(&mut self, now: Instant) -> bool {
        self.count += 1;
        self.recent.push_back(now);
        if self.recent.len() > MANY {
            self.recent.pop_front();
        }
        self.recent.len() == MANY && now < self.recent[0] + WITHIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_are_told_from_few() {
        let start = Instant::now();
        let mut losses = Losses::default();
        let mut at = |seconds| losses.add(start + Duration::from_secs(seconds));
        assert_eq!([0, 40, 80].map(&mut at), [false; 3]);
        assert_eq!([85, 90, 200].map(at), [true, true, false]);
        assert_eq!(losses.count, 6);
    }
}
