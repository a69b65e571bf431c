//! Who is in the cluster, as what etcd says makes it over time.
//!
//! ```text
//!              record of a node                     its alive key
//!   unknown ---------------------> absent <--------------------------> present
//!      ^                             |   the key goes, or is not there    |
//!      |                             +----------------+------------------+
//!      |                                              | record that it is gone
//!      |    no more than a third go at once           v
//!      +------------------------------------------- leaving
//!           or `l2ha accept`
//! ```
//!
//! What etcd does not have is never a reason to take a node away: it can have been restored from yesterday's backup.

mod departed;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use config::Joined;

pub(crate) use self::departed::Departed;
use crate::{
    identity::Identity,
    record::{Accepted, Cause, Gone, Id, Key, Record, What, printable},
};

/// How many nodes there can be.
const MOST: usize = 2048;
/// Of how many refused records the last reason is kept.
const MOST_REFUSED: usize = 64;
/// Who goes within so many seconds goes at once.
const AT_ONCE: u64 = 10;
/// Longest time between two looks at the clock that counts as absence: more is a clock that was set, or a pause.
const LONGEST_STEP: Duration = Duration::from_secs(60);

/// Since the beginning of 1970, as the host's clock says.
pub(crate) type Time = Duration;

/// How a node on the list is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Its lease runs.
    Present,
    /// It does not, since this time (seconds since 1970).
    Absent(u64),
    /// It is gone, and waits for `l2ha accept`, since so many go at once.
    Leaving(Cause),
}

/// A node on the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) node: Joined,
    pub(crate) id: Id,
    pub(crate) serial: u64,
    /// Which one of all that ever joined it was: the order of the list.
    pub(crate) order: u64,
    /// Since when it is absent, if it is; seconds since 1970.
    pub(crate) absent_since: Option<u64>,
    /// How long it was absent while etcd was there.
    pub(crate) absent_for: Duration,
    /// Why and when it went, where that waits.
    pub(crate) leaving: Option<Gone>,
}

/// What the record of this node's own name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    /// This node has not joined.
    None,
    /// Its record is there.
    Fine,
    /// It is missing, or an older one: etcd has lost it.
    Missing,
    /// It was taken out, and by whom.
    Gone(Cause),
    /// Another host has this name, or this node's identity.
    Held,
}

/// A change in etcd.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) key: Key,
    /// Nothing where the key is gone.
    pub(crate) value: Option<Vec<u8>>,
    /// The revision of etcd that made it.
    pub(crate) revision: i64,
}

/// Counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Records that were refused.
    pub refused: u64,
    /// Records of a time before what is known: etcd was restored, or somebody plays old ones back.
    pub stale: u64,
    /// Times that etcd came back with less than before.
    pub restored: u64,
}

/// Those who joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    /// Each, and how it is, in the order in which they joined.
    pub nodes: Vec<(Joined, Presence)>,
    /// Names whose record was refused lately, and why.
    pub refused: BTreeMap<String, String>,
}

/// Who is in the cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Roster {
    /// How many nodes the file names.
    pub(crate) local: usize,
    pub(crate) own: Option<Identity>,
    /// Of the etcd cluster that was seen last; 0 before.
    pub(crate) cluster_id: u64,
    /// Of etcd, up to which everything is known.
    pub(crate) revision: i64,
    pub(crate) entries: BTreeMap<String, Entry>,
    pub(crate) departed: Departed,
    /// The alive keys that there are.
    alive: BTreeMap<String, Id>,
    /// This node's own record in etcd.
    own_record: Option<(Id, u64, Option<Cause>)>,
    /// The last word of an operator, and its revision.
    accepted: Option<(i64, Accepted)>,
    /// When nodes went lately; seconds since 1970.
    recent: VecDeque<u64>,
    connected: bool,
    looked: Time,
    refused: BTreeMap<String, String>,
    seen: Seen,
}

impl Roster {
    /// As it was written down.
    pub(crate) fn stored(
        cluster_id: u64,
        revision: i64,
        entries: BTreeMap<String, Entry>,
        departed: Departed,
    ) -> Self {
        Self {
            cluster_id,
            revision,
            entries,
            departed,
            ..Self::default()
        }
    }

    /// Takes all that etcd has, after a connection is made; what it does not have is absent.
    pub(crate) fn snapshot(&mut self, now: Time, cluster_id: u64, revision: i64, items: &[Item]) {
        let known = self.cluster_id != 0;
        if known && (cluster_id != self.cluster_id || revision < self.revision) {
            self.seen.restored += 1;
        }
        self.cluster_id = cluster_id;
        self.revision = revision;
        self.connected = true;
        self.looked = now;
        self.alive.clear();
        self.own_record = None;
        self.accepted = None;
        // As they were written, so that every node comes to the same order.
        let mut items: Vec<&Item> = items.iter().collect();
        items.sort_by_key(|item| item.revision);
        self.take(now, &items, true);
    }

    /// Takes changes in the order in which etcd has made them.
    pub(crate) fn changes(&mut self, now: Time, revision: i64, items: &[Item]) {
        self.revision = self.revision.max(revision);
        self.take(now, &items.iter().collect::<Vec<_>>(), false);
    }

    /// The connection is lost: nothing changes until it is there again.
    pub(crate) fn disconnected(&mut self) {
        self.connected = false;
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Time) {
        let step = now.saturating_sub(self.looked).min(LONGEST_STEP);
        self.looked = now;
        if !self.connected {
            return;
        }
        for entry in self.entries.values_mut() {
            if entry.absent_since.is_some() {
                entry.absent_for += step;
            }
        }
    }

    /// Those who were absent for this long, and may be forgotten: their names, ids and serials.
    pub(crate) fn overdue(&self, forget_after: Duration) -> Vec<(String, Id, u64)> {
        let overdue = self.entries.iter().filter(|(name, entry)| {
            entry.absent_for >= forget_after && entry.leaving.is_none() && !self.is_own(name)
        });
        overdue
            .map(|(name, entry)| (name.clone(), entry.id, entry.serial))
            .collect()
    }

    fn take(&mut self, now: Time, items: &[&Item], earlier: bool) {
        let mut gone: Vec<Leaver> = Vec::new();
        for item in items {
            match (&item.key, &item.value) {
                (Key::Accept, Some(value)) => self.accept(item.revision, value),
                (Key::Alive(name), value) => self.set_alive(name, value.as_deref()),
                (Key::Member(name), Some(value)) => match Record::parse(name, value) {
                    Ok(record) => self.record(item.revision, name, record, &mut gone),
                    Err(why) => {
                        if self.is_own(name) {
                            self.own_record = None;
                        }
                        self.refuse(name, why);
                    }
                },
                (Key::Member(name), None) => {
                    if self.is_own(name) {
                        self.own_record = None;
                    }
                }
                (Key::Accept, None) => self.accepted = None,
            }
        }
        for leaver in &mut gone {
            // What is heard as it happens happens now; of what was before, its record says when.
            leaver.gone.at = match earlier {
                true => leaver.gone.at.min(now.as_secs()),
                false => now.as_secs(),
            };
        }
        self.judge(gone);
        self.mark_absent(now);
    }

    fn is_own(&self, name: &str) -> bool {
        self.own.as_ref().is_some_and(|own| own.name == name)
    }

    fn set_alive(&mut self, name: &str, value: Option<&[u8]>) {
        let id = value.and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
        match id {
            Some(id) if self.alive.len() < MOST || self.alive.contains_key(name) => {
                self.alive.insert(name.to_owned(), id);
            }
            _ => drop(self.alive.remove(name)),
        }
    }

    /// Takes the record of a name.
    fn record(&mut self, revision: i64, name: &str, record: Record, gone: &mut Vec<Leaver>) {
        let Record {
            id, serial, what, ..
        } = record;
        if self.is_own(name) {
            let cause = match &what {
                What::Node(_) => None,
                What::Gone(gone) => Some(gone.cause),
            };
            self.own_record = Some((id, serial, cause));
        }
        let entry = self.entries.get(name);
        match what {
            What::Node(node) => match entry {
                Some(entry) if entry.id == id && serial < entry.serial => self.seen.stale += 1,
                Some(entry) if entry.id == id && serial == entry.serial => {
                    if entry.node != node {
                        self.refuse(name, "two records with the same serial differ".to_owned());
                    }
                }
                // A restored backup, and its record of whoever had the name before.
                _ if self.departed.covers(name, id, serial) => self.seen.stale += 1,
                Some(entry) if entry.id != id && entry.leaving.is_none() => {
                    self.refuse(
                        name,
                        "another host has this name, and has not left".to_owned(),
                    );
                }
                None if self.entries.len() >= MOST => {
                    self.refuse(name, format!("there are {MOST} nodes already"));
                }
                _ => self.insert(name, node, id, serial),
            },
            What::Gone(end) => match entry {
                Some(entry) if entry.id == id && serial >= entry.serial => {
                    let accepted = self.accepted.as_ref();
                    let accepted = accepted.is_some_and(|(at, accepted)| {
                        revision < *at && accepted.names.contains(name)
                    });
                    gone.push(Leaver {
                        name: name.to_owned(),
                        id,
                        serial,
                        gone: end,
                        accepted,
                    });
                }
                Some(_) => self.seen.stale += 1,
                None => self.departed.add(name, id, serial),
            },
        }
    }

    fn insert(&mut self, name: &str, node: Joined, id: Id, serial: u64) {
        self.refused.remove(name);
        let before = self.entries.get(name);
        let order = match before {
            Some(entry) if entry.id == id => entry.order,
            _ => {
                let last = self.entries.values().map(|entry| entry.order).max();
                last.map_or(0, |last| last + 1)
            }
        };
        let entry = Entry {
            node,
            id,
            serial,
            order,
            absent_since: None,
            absent_for: Duration::ZERO,
            leaving: None,
        };
        if let Some(before) = self.entries.insert(name.to_owned(), entry)
            && before.id != id
        {
            self.departed.add(name, before.id, before.serial);
        }
    }

    /// Lets those go who may: a third of all at once, and those that an operator has accepted.
    fn judge(&mut self, mut leavers: Vec<Leaver>) {
        // Somebody may have taken the name over right behind it.
        leavers.retain(|leaver| {
            let entry = self.entries.get(&leaver.name);
            let same = |entry: &Entry| entry.id == leaver.id && entry.serial <= leaver.serial;
            entry.is_some_and(same) && !self.is_own(&leaver.name)
        });
        let (accepted, rest): (Vec<Leaver>, Vec<Leaver>) =
            leavers.into_iter().partition(|leaver| leaver.accepted);
        for leaver in accepted {
            self.remove(&leaver.name);
        }
        let mut due: BTreeMap<String, Gone> = BTreeMap::new();
        for leaver in rest {
            // Of one that waits already the time is the first.
            let waits = self
                .entries
                .get(&leaver.name)
                .and_then(|entry| entry.leaving);
            if waits.is_none() {
                due.insert(leaver.name, leaver.gone);
            }
        }
        // All the times at which nodes went or would have gone.
        let waiting = self.entries.values().filter_map(|entry| entry.leaving);
        let mut times: Vec<u64> = self.recent.iter().copied().collect();
        times.extend(waiting.map(|gone| gone.at));
        times.extend(due.values().map(|gone| gone.at));
        let nodes = self.local + self.entries.len();
        let too_many = |end: u64| {
            let at_once = |at: &&u64| **at <= end && end - **at < AT_ONCE;
            let gone_before = self.recent.iter().filter(at_once).count();
            times.iter().filter(at_once).count() > ((nodes + gone_before) / 3).max(1)
        };
        let crowds: Vec<u64> = times.iter().copied().filter(|end| too_many(*end)).collect();
        let in_crowd = |at: u64| crowds.iter().any(|end| at <= *end && end - at < AT_ONCE);
        for (name, gone) in due {
            if in_crowd(gone.at) {
                if let Some(entry) = self.entries.get_mut(&name) {
                    entry.leaving = Some(gone);
                }
            } else {
                self.remove(&name);
                self.recent.push_back(gone.at);
            }
        }
        while self.recent.len() > MOST {
            self.recent.pop_front();
        }
    }

    fn remove(&mut self, name: &str) {
        if self.is_own(name) {
            return;
        }
        if let Some(entry) = self.entries.remove(name) {
            self.departed.add(name, entry.id, entry.serial);
        }
    }

    /// An operator lets nodes go that wait.
    fn accept(&mut self, revision: i64, value: &[u8]) {
        let Ok(accepted) = serde_json::from_slice::<Accepted>(value) else {
            self.seen.refused += 1;
            return;
        };
        let waits = |name: &&String| {
            let entry = self.entries.get(*name);
            entry.is_some_and(|entry| entry.leaving.is_some())
        };
        let waiting: Vec<String> = accepted.names.iter().filter(waits).cloned().collect();
        for name in waiting {
            self.remove(&name);
        }
        self.accepted = Some((revision, accepted));
    }

    /// Whoever has no alive key is absent from now on.
    fn mark_absent(&mut self, now: Time) {
        for (name, entry) in &mut self.entries {
            if self.alive.get(name) == Some(&entry.id) {
                entry.absent_since = None;
                entry.absent_for = Duration::ZERO;
            } else {
                entry.absent_since.get_or_insert(now.as_secs());
            }
        }
    }

    fn refuse(&mut self, name: &str, why: String) {
        self.seen.refused += 1;
        if self.refused.len() < MOST_REFUSED || self.refused.contains_key(name) {
            self.refused.insert(printable(name), why);
        }
    }

    /// Those who joined, in the order in which they did.
    pub(crate) fn list(&self) -> Vec<&Entry> {
        let mut list: Vec<&Entry> = self.entries.values().collect();
        list.sort_by_key(|entry| entry.order);
        list
    }

    /// What the configuration is made of.
    pub(crate) fn nodes(&self) -> Vec<Joined> {
        self.list()
            .into_iter()
            .map(|entry| entry.node.clone())
            .collect()
    }

    /// What there is to see.
    pub(crate) fn members(&self) -> Members {
        let nodes = self.list().into_iter().map(|entry| {
            let presence = match (entry.leaving, entry.absent_since) {
                (Some(gone), _) => Presence::Leaving(gone.cause),
                (None, Some(since)) => Presence::Absent(since),
                (None, None) => Presence::Present,
            };
            (entry.node.clone(), presence)
        });
        Members {
            nodes: nodes.collect(),
            refused: self.refused.clone(),
        }
    }

    /// Names of those who wait for `l2ha accept`.
    pub(crate) fn waiting(&self) -> BTreeSet<String> {
        let waiting = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.leaving.is_some());
        waiting.map(|(name, _)| name.clone()).collect()
    }

    /// What was counted since the start.
    pub(crate) const fn seen(&self) -> Seen {
        self.seen
    }

    /// What etcd says of this node itself.
    pub(crate) fn registration(&self) -> Registration {
        let Some(own) = &self.own else {
            return Registration::None;
        };
        match self.own_record {
            None => Registration::Missing,
            Some((id, serial, gone)) if id == own.id => match gone {
                _ if serial < own.serial => Registration::Missing,
                Some(cause) => Registration::Gone(cause),
                None if serial > own.serial => Registration::Held,
                None => Registration::Fine,
            },
            // Somebody else's end frees the name.
            Some((_, _, Some(_))) => Registration::Missing,
            Some((_, _, None)) => Registration::Held,
        }
    }

    /// Whether etcd has this node's alive key.
    pub(crate) fn is_own_alive(&self) -> bool {
        let own = self.own.as_ref();
        own.is_some_and(|own| self.alive.get(&own.name) == Some(&own.id))
    }
}

/// A node that is to go.
#[derive(Debug)]
struct Leaver {
    name: String,
    id: Id,
    serial: u64,
    gone: Gone,
    /// Whether an operator has said so.
    accepted: bool,
}
