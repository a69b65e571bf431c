//! Link-state databases: one for each link, one for each area, one for the AS (RFC 5340 4.3).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clocked::Clock;
use crate::config::{LS_REFRESH_TIME, Limits, Time};
use crate::pace::{Pace, arrival_burst, spread};
use crate::peer::Peer;
use crate::refusal::Refusal;
use crate::wire::{INITIAL_SEQUENCE, Lsa, LsaHeader, LsaKey, LsaType, MAX_AGE, MAX_SEQUENCE};

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DbId {
    /// Link scope, by interface.
    Link(u32),
    /// Area scope.
    Area(Ipv4Addr),
    /// AS scope.
    As,
}

/// How an LSA came into a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// We originated it.
    Own,
    /// A neighbour sent it because it was new. MinLSArrival is about these.
    Flooded,
    /// A neighbour sent it because we asked for it during database exchange. That the next instance
    /// follows at once is normal then: the adjacency that has just formed is in it.
    Requested,
}

/// An LSA in a database.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) lsa: Arc<Lsa>,
    /// When it was installed, with the age its header has.
    installed: Time,
    /// Set to MaxAge prematurely (RFC 2328 14.1).
    flushed: bool,
    pub(crate) origin: Origin,
    /// The neighbour that was the first to bring an instance of it.
    brought_by: Option<Peer>,
    /// How often its instances have come by flooding.
    pub(crate) arrivals: Pace,
    /// When it was last sent in an update.
    pub(crate) last_sent: Option<Time>,
    /// When the instance before it was last on its way: within MinLSArrival of that, neighbours
    /// drop this one.
    pub(crate) previous_at: Option<Time>,
    /// Whether it says something else than the instance before: no refresh.
    pub(crate) changed: bool,
    deadline: Option<Time>,
}

impl Entry {
    /// Age in seconds.
    pub(crate) fn age(&self, now: Time) -> u16 {
        if self.flushed {
            return MAX_AGE;
        }
        let elapsed = now.saturating_sub(self.installed).as_secs();
        let age = u64::from(self.lsa.header().age).saturating_add(elapsed);
        u16::try_from(age).unwrap_or(MAX_AGE).min(MAX_AGE)
    }

    pub(crate) fn is_max_age(&self, now: Time) -> bool {
        self.age(now) >= MAX_AGE
    }

    /// Whether it came with MaxAge, or was flushed, rather than having aged here.
    pub(crate) fn is_withdrawn(&self) -> bool {
        self.flushed || self.lsa.header().is_max_age()
    }

    pub(crate) fn header(&self, now: Time) -> LsaHeader {
        LsaHeader {
            age: self.age(now),
            ..*self.lsa.header()
        }
    }

    /// When it last came or went.
    fn last_moved(&self) -> Time {
        self.last_sent
            .map_or(self.installed, |sent| sent.max(self.installed))
    }

    /// When it was installed.
    pub(crate) fn installed(&self) -> Time {
        self.installed
    }
}

/// How much longer than another's the way of a packet may take. A copy of an LSA at MaxAge that comes
/// so late, when the LSA is gone already, must not install it again: no router would flush it here.
/// A router that has restarted may originate that very instance again; then it is refused, not
/// acknowledged, and comes again.
const LATEST_COPY: Duration = Duration::from_millis(200);
/// Age in seconds up to which a first instance is that of a router that has restarted. It has grown by 1 at each
/// router on its way (RFC 2328 13.3).
const FIRST_INSTANCE_AGE: u16 = 5;
/// How long an LSA stays at MaxAge, even when every neighbour has acknowledged that: longer than
/// RxmtInterval. A neighbour that has an older instance, from a copy that came late, is sent this one.
const LINGER: Duration = Duration::from_secs(6);

/// [`LINGER`], but not for one whose sequence number begins again: its successor would be refused for so
/// long (RFC 2328 13 (8)), and that flushes what came late.
const fn linger(sequence: i32) -> Duration {
    if sequence == MAX_SEQUENCE {
        Duration::ZERO
    } else {
        LINGER
    }
}

/// By how much an LSA may be refreshed before its time, milliseconds.
const REFRESH_SPREAD_MS: u64 = 300_000;

/// When one of ours is refreshed. Where many routers have started together, all of their LSAs would else be
/// refreshed together for ever.
fn refresh_after(lsa: &Lsa) -> Duration {
    let LsaKey { ty, id, adv } = lsa.key();
    let key = u64::from(adv.to_bits()) << 32 | u64::from(id);
    let instance = u64::from(ty.0) << 32 | u64::from(lsa.header().sequence.cast_unsigned());
    let early = spread(spread(key) ^ instance) % REFRESH_SPREAD_MS;
    LS_REFRESH_TIME - Duration::from_millis(early)
}

/// Removed LSAs remembered in one database.
const MAX_REMOVED: usize = 16_384;

/// What has changed in a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Asked for the first time: everything.
    All,
    /// These LSAs have come, gone, or say something else.
    Of(BTreeSet<LsaKey>),
}

/// How much there is of LSAs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Held {
    lsas: usize,
    bytes: usize,
}

impl Held {
    fn add(&mut self, lsa: &Lsa) {
        self.lsas += 1;
        self.bytes += lsa.len();
    }

    /// Whether nothing is left.
    fn remove(&mut self, lsa: &Lsa) -> bool {
        self.lsas -= 1;
        self.bytes -= lsa.len();
        self.lsas == 0
    }

    /// Whether so much more still is within so many LSAs, and their share of the bytes.
    fn has_room(self, more: Self, lsas: usize, limits: &Limits) -> bool {
        let bytes = limits.lsa_bytes.saturating_mul(lsas) / limits.lsas.max(1);
        self.lsas + more.lsas <= lsas && self.bytes + more.bytes <= bytes
    }
}

/// One database.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lsdb {
    entries: BTreeMap<LsaKey, Entry>,
    /// When each entry reaches MaxAge, has to be refreshed, or has been at MaxAge for long enough.
    deadlines: BTreeSet<(Time, LsaKey)>,
    /// Entries that have been at MaxAge for a while, to be removed once everybody knows.
    expired: BTreeSet<LsaKey>,
    /// Sequence number and checksum of those removed lately, and when.
    removed: BTreeMap<LsaKey, (i32, u16, Time)>,
    removals: VecDeque<(Time, LsaKey)>,
    whole: Held,
    /// The same for each router that originates LSAs.
    by_origin: BTreeMap<Ipv4Addr, Held>,
    /// The same for each neighbour that has brought LSAs.
    by_neighbor: BTreeMap<Peer, Held>,
    /// What has changed since the last [`Self::take_news`], once that has been called.
    news: Option<BTreeSet<LsaKey>>,
}

impl Lsdb {
    /// What has changed since this was last asked.
    pub(crate) fn take_news(&mut self) -> News {
        self.news
            .replace(BTreeSet::new())
            .map_or(News::All, News::Of)
    }

    fn note(&mut self, key: LsaKey) {
        if let Some(news) = &mut self.news {
            news.insert(key);
        }
    }

    pub(crate) fn get(&self, key: &LsaKey) -> Option<&Entry> {
        self.entries.get(key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&LsaKey, &Entry)> {
        self.entries.iter()
    }

    /// All LSAs of one type.
    pub(crate) fn of_type(&self, ty: LsaType) -> impl Iterator<Item = &Entry> {
        let first = LsaKey {
            ty,
            id: 0,
            adv: Ipv4Addr::UNSPECIFIED,
        };
        let last = LsaKey {
            ty,
            id: u32::MAX,
            adv: Ipv4Addr::BROADCAST,
        };
        self.entries.range(first..=last).map(|(_, entry)| entry)
    }

    /// How many LSAs of a router there are.
    pub(crate) fn of_router(&self, router: Ipv4Addr) -> usize {
        self.by_origin.get(&router).map_or(0, |held| held.lsas)
    }

    /// How many of them are at MaxAge.
    pub(crate) fn dead_of_router(&self, router: Ipv4Addr, now: Time) -> usize {
        let entries = self.entries.iter();
        entries
            .filter(|(key, entry)| key.adv == router && entry.is_max_age(now))
            .count()
    }

    /// Whether an LSA of another router that a neighbour has brought still fits; if not, whose limit is
    /// reached.
    pub(crate) fn room(&self, lsa: &Lsa, from: Peer, limits: &Limits) -> Result<(), Refusal> {
        let old = self.entries.get(&lsa.key());
        let more = Held {
            lsas: usize::from(old.is_none()),
            bytes: lsa.len().saturating_sub(old.map_or(0, |old| old.lsa.len())),
        };
        let from = old.and_then(|old| old.brought_by).unwrap_or(from);
        let origin = self.by_origin.get(&lsa.key().adv).copied();
        let neighbor = self.by_neighbor.get(&from).copied();
        let held = [
            (origin, limits.origin_lsas, Refusal::OriginFull),
            (neighbor, limits.neighbor_lsas, Refusal::NeighborFull),
            (Some(self.whole), limits.lsas, Refusal::DatabaseFull),
        ];
        for (held, lsas, refusal) in held {
            if !held.unwrap_or_default().has_room(more, lsas, limits) {
                return Err(refusal);
            }
        }
        Ok(())
    }

    /// Puts an LSA in, with the age its header has, in place of the old instance. Whether it says
    /// something else than that one, so that routes have to be calculated again (RFC 2328 13.2).
    pub(crate) fn install(
        &mut self,
        lsa: Arc<Lsa>,
        now: Time,
        origin: Origin,
        from: Option<Peer>,
    ) -> bool {
        let key = lsa.key();
        let old = self.take(&key);
        let changed = old.as_ref().is_none_or(|old| {
            old.is_max_age(now)
                || lsa.header().is_max_age()
                || old.lsa.body_bytes() != lsa.body_bytes()
        });
        if changed {
            self.note(key);
        }
        let brought_by = old.as_ref().and_then(|old| old.brought_by).or(from);
        let arrivals = old.as_ref().map(|old| old.arrivals).unwrap_or_default();
        let previous_at = old.map(|old| old.last_moved());
        self.whole.add(&lsa);
        self.by_origin.entry(key.adv).or_default().add(&lsa);
        if let Some(peer) = brought_by {
            self.by_neighbor.entry(peer).or_default().add(&lsa);
        }
        let age = Duration::from_secs(u64::from(lsa.header().age));
        let lifetime = if origin == Origin::Own {
            refresh_after(&lsa)
        } else {
            Duration::from_secs(u64::from(MAX_AGE)).saturating_sub(age)
        };
        let linger = linger(lsa.header().sequence);
        let deadline = now + if lifetime.is_zero() { linger } else { lifetime };
        self.deadlines.insert((deadline, key));
        let entry = Entry {
            lsa,
            installed: now,
            flushed: false,
            origin,
            brought_by,
            arrivals,
            last_sent: None,
            previous_at,
            changed,
            deadline: Some(deadline),
        };
        self.entries.insert(key, entry);
        changed
    }

    /// Ages an LSA to MaxAge now (RFC 2328 14.1). Whether there was one that was not at MaxAge yet.
    pub(crate) fn flush(&mut self, key: &LsaKey, now: Time) -> bool {
        let Some(entry) = self.entries.get_mut(key) else {
            return false;
        };
        if entry.flushed || entry.is_withdrawn() {
            return false;
        }
        entry.flushed = true;
        entry.changed = true;
        // The flush is an instance of its own, and comes from us.
        entry.origin = Origin::Own;
        entry.previous_at = Some(entry.last_moved());
        entry.last_sent = None;
        entry.installed = now;
        let until = now + linger(entry.lsa.header().sequence);
        if let Some(deadline) = entry.deadline.replace(until) {
            self.deadlines.remove(&(deadline, *key));
        }
        self.deadlines.insert((until, *key));
        self.note(*key);
        true
    }

    pub(crate) fn remove(&mut self, key: &LsaKey) -> Option<Entry> {
        self.note(*key);
        self.take(key)
    }

    fn take(&mut self, key: &LsaKey) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        self.whole.remove(&entry.lsa);
        if let Some(held) = self.by_origin.get_mut(&key.adv)
            && held.remove(&entry.lsa)
        {
            self.by_origin.remove(&key.adv);
        }
        if let Some(peer) = entry.brought_by
            && let Some(held) = self.by_neighbor.get_mut(&peer)
            && held.remove(&entry.lsa)
        {
            self.by_neighbor.remove(&peer);
        }
        if let Some(deadline) = entry.deadline {
            self.deadlines.remove(&(deadline, *key));
        }
        self.expired.remove(key);
        Some(entry)
    }

    /// An instance has come by flooding.
    pub(crate) fn arrived(&mut self, key: &LsaKey, now: Time, min_ls_arrival: Duration) {
        if let Some(entry) = self.entries.get_mut(key) {
            let burst = arrival_burst(key.ty);
            entry.arrivals.count(now, min_ls_arrival, burst);
        }
    }

    pub(crate) fn sent(&mut self, key: &LsaKey, now: Time) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.last_sent = Some(now);
        }
    }

    /// The next LSA that is to be refreshed or has aged to MaxAge.
    pub(crate) fn pop_due(&mut self, now: Time) -> Option<LsaKey> {
        loop {
            let (at, key) = *self.deadlines.first()?;
            if at > now {
                return None;
            }
            self.deadlines.remove(&(at, key));
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.deadline = None;
                if !entry.is_withdrawn() {
                    return Some(key);
                }
                self.expired.insert(key);
            }
        }
    }

    /// LSAs that have been at MaxAge for long enough.
    pub(crate) fn expired(&self) -> impl Iterator<Item = LsaKey> {
        self.expired.iter().copied()
    }

    /// Remembers an LSA at MaxAge that is not in here, or not any more.
    pub(crate) fn remember_removed(&mut self, header: &LsaHeader, now: Time) {
        while let Some((at, key)) = self.removals.front().copied() {
            if now < at + LATEST_COPY && self.removals.len() < MAX_REMOVED {
                break;
            }
            self.removals.pop_front();
            if self.removed.get(&key).is_some_and(|(_, _, of)| *of == at) {
                self.removed.remove(&key);
            }
        }
        let instance = (header.sequence, header.checksum, now);
        self.removed.insert(header.key, instance);
        self.removals.push_back((now, header.key));
    }

    /// Whether this is a late copy of an LSA that has just been removed, or of an instance before it,
    /// which its flush has overtaken. A router that has restarted begins with the first sequence number,
    /// and that instance is young.
    pub(crate) fn is_late_copy(&self, header: &LsaHeader, now: Time) -> bool {
        self.removed
            .get(&header.key)
            .is_some_and(|(sequence, checksum, at)| {
                let same = (*sequence, *checksum) == (header.sequence, header.checksum);
                let before = (INITIAL_SEQUENCE..*sequence).contains(&header.sequence);
                let restarted =
                    header.sequence == INITIAL_SEQUENCE && header.age <= FIRST_INSTANCE_AGE;
                (same || before && !restarted) && now < *at + LATEST_COPY
            })
    }

    pub(crate) fn has_expired(&self) -> bool {
        !self.expired.is_empty()
    }
}

impl Clock for Lsdb {
    /// When the next LSA is to be refreshed, reaches MaxAge or may be removed.
    fn next_timeout(&self) -> Option<Time> {
        self.deadlines.first().map(|(at, _)| *at)
    }
}
