//! Aging: RFC 2328 14, 14.1 and 12.1.6.

use super::Core;
use crate::lsdb::DbId;
use crate::neighbor::NeighborState;
use crate::wire::{LsaKey, LsaType, MAX_SEQUENCE};

impl Core {
    /// The next LSA that is to be refreshed, if it is ours, or has become MaxAge.
    pub(crate) fn pop_due(&mut self) -> Option<(DbId, LsaKey)> {
        let now = self.now;
        for id in self.databases.due(now) {
            let database = self.databases.get_mut(&id)?;
            let due = database.pop_due(now);
            if database.has_expired() {
                self.expiring.insert(id);
            }
            if let Some(key) = due {
                return Some((id, key));
            }
        }
        None
    }

    /// An LSA of another router has become MaxAge.
    pub(crate) fn age_out(&mut self, id: DbId, key: LsaKey) {
        self.counters.lsas_aged_out += 1;
        self.expire(id, key);
    }

    /// Sets an LSA's age to MaxAge and floods it. Whether it was below MaxAge.
    pub(crate) fn expire(&mut self, id: DbId, key: LsaKey) -> bool {
        let now = self.now;
        let Some(database) = self.databases.get_mut(&id) else {
            return false;
        };
        if !database.flush(&key, now) {
            return false;
        }
        self.flood(id, key, None);
        if !self.is_for_others(key) {
            self.lsa_changed();
        }
        true
    }

    /// RFC 2328 14: an LSA at MaxAge goes once no neighbour is in Exchange or Loading and none
    /// has to acknowledge it any more. Those of ours that had used up their sequence numbers, which may
    /// begin again.
    pub(crate) fn remove_expired(&mut self) -> Vec<(DbId, LsaKey)> {
        let now = self.now;
        let mut exhausted = Vec::new();
        if self.expiring.is_empty() || !self.exchanging.is_empty() {
            return exhausted;
        }
        let databases = &self.databases;
        let database = |id: &DbId| databases.get(id).filter(|db| db.has_expired());
        self.expiring.retain(|id| database(id).is_some());
        let expired: Vec<(DbId, LsaKey)> = self
            .expiring
            .iter()
            .filter_map(|id| Some((id, database(id)?)))
            .flat_map(|(id, db)| db.expired().map(|key| (*id, key)))
            .collect();
        for (id, key) in expired {
            let awaited = self.interfaces.iter().any(|(link, interface)| {
                let elsewhere = !self.config.shares(id, *link, interface.config.area);
                !elsewhere
                    && interface
                        .neighbors
                        .values()
                        .any(|n| n.unacknowledged.contains_key(&key))
            });
            if awaited || self.keeps_grace(key) {
                continue;
            }
            let Some(database) = self.databases.get_mut(&id) else {
                continue;
            };
            let removed = database.remove(&key);
            if let Some(entry) = &removed {
                database.remember_removed(entry.lsa.header(), now);
            }
            if self.is_ours(key.adv)
                && removed.is_some_and(|e| e.lsa.header().sequence == MAX_SEQUENCE)
            {
                // RFC 2328 12.1.6: only now may the sequence begin again.
                exhausted.push((id, key));
            }
            if self.is_ours(key.adv) {
                self.reconcile_soon();
            }
        }
        exhausted
    }

    /// Whether a Grace-LSA of ours that is to be removed must stay: a neighbour with which we have not
    /// begun the exchange may have it, and would not describe it to us if it came during the
    /// exchange of its own.
    fn keeps_grace(&self, key: LsaKey) -> bool {
        let interface = self.interfaces.get(&key.id);
        let interface = interface.filter(|_| key.ty == LsaType::GRACE && self.is_ours(key.adv));
        interface.is_some_and(|interface| {
            let mut neighbors = interface.neighbors.values();
            neighbors.any(|n| matches!(n.state, NeighborState::Init | NeighborState::ExStart))
        })
    }

    /// Whether an LSA is for others alone: our own summaries and externals lead us nowhere.
    pub(crate) fn is_for_others(&self, key: LsaKey) -> bool {
        let kinds = [
            LsaType::INTER_AREA_PREFIX,
            LsaType::INTER_AREA_ROUTER,
            LsaType::AS_EXTERNAL,
        ];
        self.is_ours(key.adv) && kinds.contains(&key.ty)
    }
}
