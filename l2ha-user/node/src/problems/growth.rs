//! Counters only grow; what is wrong now is what grows now.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Counters by key, and when each has grown last.
#[derive(Debug)]
pub(crate) struct Growth<K> {
    counters: BTreeMap<K, (u64, Option<Instant>)>,
    begun: bool,
}

impl<K> Default for Growth<K> {
    fn default() -> Self {
        Self {
            counters: BTreeMap::new(),
            begun: false,
        }
    }
}

impl<K: Ord> Growth<K> {
    /// Takes note of all counters as they are now. What is there the first time has grown before: counters may
    /// be older than the daemon. One that appears later began at 0.
    pub(crate) fn note(&mut self, now: Instant, counters: impl IntoIterator<Item = (K, u64)>) {
        let before = std::mem::take(&mut self.counters);
        for (key, count) in counters {
            let grew = match before.get(&key) {
                Some((old, grew)) if *old >= count => *grew,
                Some(_) => Some(now),
                None => (self.begun && count > 0).then_some(now),
            };
            self.counters.insert(key, (count, grew));
        }
        self.begun = true;
    }

    /// How long ago a counter has grown, if it has.
    pub(crate) fn ago(&self, now: Instant, key: &K) -> Option<Duration> {
        let (_, grew) = self.counters.get(key)?;
        grew.map(|grew| now.saturating_duration_since(grew))
    }

    /// Whether a counter has grown within this time.
    pub(crate) fn within(&self, now: Instant, time: Duration, key: &K) -> bool {
        self.ago(now, key).is_some_and(|ago| ago <= time)
    }

    /// The keys of the counters that have grown within this time.
    pub(crate) fn recent(&self, now: Instant, time: Duration) -> impl Iterator<Item = &K> {
        let recent = move |grew: Instant| now.saturating_duration_since(grew) <= time;
        let counters = self.counters.iter();
        counters.filter_map(move |(key, (_, grew))| grew.is_some_and(recent).then_some(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_grows_is_recent() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut growth = Growth::default();
        growth.note(at(0), [("old", 7), ("other", 0)]);
        assert_eq!(growth.recent(at(0), Duration::MAX).count(), 0);
        growth.note(at(1), [("old", 7), ("other", 1), ("new", 3), ("zero", 0)]);
        let recent: Vec<_> = growth.recent(at(1), Duration::ZERO).collect();
        assert_eq!(recent, [&"new", &"other"]);
        growth.note(at(5), [("old", 8), ("other", 1), ("new", 3)]);
        assert_eq!(growth.ago(at(5), &"other"), Some(Duration::from_secs(4)));
        assert_eq!(growth.ago(at(5), &"zero"), None);
        assert!(growth.within(at(6), Duration::from_secs(1), &"old"));
        assert!(!growth.within(at(6), Duration::from_secs(1), &"new"));
        // A counter that begins again, because its session was made anew.
        growth.note(at(7), [("old", 1)]);
        assert_eq!(growth.ago(at(7), &"old"), Some(Duration::from_secs(2)));
    }
}
