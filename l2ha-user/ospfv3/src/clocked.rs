//! A map whose values want to be called at times of their own. With hundreds of them, which is due when is
//! known without asking each.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use crate::config::Time;

/// What wants to be called.
pub(crate) trait Clock {
    /// When, if at all; possibly in the past.
    fn next_timeout(&self) -> Option<Time>;
}

/// A map that is read as a [`BTreeMap`].
#[derive(Clone, Debug)]
pub(crate) struct Clocked<K, V> {
    map: BTreeMap<K, V>,
    /// What may have changed since [`Self::settle`].
    touched: BTreeSet<K>,
    /// Whether that is everything.
    all_touched: bool,
    /// When each wants to be called, and the same by time.
    at: BTreeMap<K, Time>,
    order: BTreeSet<(Time, K)>,
}

impl<K, V> Default for Clocked<K, V> {
    fn default() -> Self {
        Self {
            map: BTreeMap::new(),
            touched: BTreeSet::new(),
            all_touched: false,
            at: BTreeMap::new(),
            order: BTreeSet::new(),
        }
    }
}

impl<K, V> Deref for Clocked<K, V> {
    type Target = BTreeMap<K, V>;

    fn deref(&self) -> &Self::Target {
        &self.map
    }
}

impl<K: Copy + Ord, V: Clock> Clocked<K, V> {
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let value = self.map.get_mut(key)?;
        self.touched.insert(*key);
        Some(value)
    }

    /// Creates it if it is not there.
    pub(crate) fn get_or_default(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        self.touched.insert(key);
        self.map.entry(key).or_default()
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.touched.insert(key);
        self.map.insert(key, value);
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        self.set(*key, None);
        self.map.remove(key)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.all_touched = true;
        self.map.iter_mut()
    }

    /// When the first wants to be called.
    pub(crate) fn next_timeout(&self) -> Option<Time> {
        if self.all_touched || !self.touched.is_empty() {
            return self.map.values().filter_map(V::next_timeout).min();
        }
        self.order.first().map(|(at, _)| *at)
    }

    /// Those that want to be called by now.
    pub(crate) fn due(&mut self, now: Time) -> Vec<K> {
        self.settle();
        let due = self.order.iter().take_while(|(at, _)| *at <= now);
        let mut due: Vec<K> = due.map(|(_, key)| *key).collect();
        due.sort_unstable();
        due
    }

    /// Asks those that may have changed.
    pub(crate) fn settle(&mut self) {
        let touched = std::mem::take(&mut self.touched);
        let keys: Vec<K> = if std::mem::take(&mut self.all_touched) {
            self.map.keys().copied().collect()
        } else {
            touched.into_iter().collect()
        };
        for key in keys {
            let at = self.map.get(&key).and_then(V::next_timeout);
            self.set(key, at);
        }
    }

    fn set(&mut self, key: K, at: Option<Time>) {
        let before = match at {
            Some(at) => self.at.insert(key, at),
            None => self.at.remove(&key),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.order.remove(&(before, key));
        }
        if let Some(at) = at {
            self.order.insert((at, key));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    impl Clock for Option<Time> {
        fn next_timeout(&self) -> Option<Time> {
            *self
        }
    }

    proptest! {
        /// Whatever comes, changes and goes, it knows who is due as if it asked each.
        #[test]
        fn it_is_as_if_each_were_asked(steps in vec((0u8..6, 0u8..8, 0u64..20), 1..100)) {
            let mut clocked = Clocked::<u8, Option<Time>>::default();
            for (what, key, at) in steps {
                let at = Duration::from_secs(at);
                match what {
                    0 => clocked.insert(key, Some(at)),
                    1 => *clocked.get_or_default(key) = Some(at),
                    2 => clocked.get_mut(&key).into_iter().for_each(|it| *it = None),
                    3 => drop(clocked.remove(&key)),
                    4 => clocked.iter_mut().for_each(|(_, it)| *it = Some(at)),
                    _ => {
                        let is_due = |it: &Option<Time>| it.is_some_and(|it| it <= at);
                        let wanted: Vec<u8> =
                            clocked.iter().filter(|it| is_due(it.1)).map(|it| *it.0).collect();
                        prop_assert_eq!(clocked.due(at), wanted);
                    }
                }
                let first = clocked.values().flatten().min().copied();
                prop_assert_eq!(clocked.next_timeout(), first);
            }
        }
    }
}
