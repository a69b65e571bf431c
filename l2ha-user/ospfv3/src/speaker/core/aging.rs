//! Aging: RFC 2328 14, 14.1 and 12.1.6.

use crate::lsdb::DbId;
use crate::speaker::Speaker;
use crate::wire::{LsaKey, MAX_SEQUENCE};

impl Speaker {
    /// Refreshes our LSAs and flushes those of others that have become MaxAge.
    pub(crate) fn age(&mut self) {
        let now = self.now;
        let ids: Vec<DbId> = self.databases.keys().copied().collect();
        for id in ids {
            while let Some(key) = self.databases.get_mut(&id).and_then(|db| db.pop_due(now)) {
                if self.is_ours(key.adv) {
                    self.refresh(id, key);
                } else {
                    self.counters.lsas_aged_out += 1;
                    self.expire(id, key);
                }
            }
        }
    }

    /// Sets an LSA's age to MaxAge and floods it. Whether it was alive.
    pub(crate) fn expire(&mut self, id: DbId, key: LsaKey) -> bool {
        let now = self.now;
        let Some(database) = self.databases.get_mut(&id) else {
            return false;
        };
        if !database.flush(&key, now) {
            return false;
        }
        self.flood(id, key, None);
        if !self.is_told_only(key) {
            self.spf.trigger_for_lsa(now, &self.config.spf_delay);
        }
        true
    }

    /// RFC 2328 14: an LSA at MaxAge goes once no neighbour is in Exchange or Loading and nobody
    /// has to acknowledge it any more.
    pub(crate) fn remove_dead(&mut self) {
        let now = self.now;
        if !self.databases.values().any(|db| db.has_dead()) {
            return;
        }
        if self
            .interfaces
            .values()
            .any(|interface| interface.exchanging())
        {
            return;
        }
        let dead: Vec<(DbId, LsaKey)> = self
            .databases
            .iter()
            .flat_map(|(id, db)| db.dead().map(|key| (*id, key)))
            .collect();
        for (id, key) in dead {
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
                database.bury(entry.lsa.header(), now);
            }
            if self.is_ours(key.adv)
                && removed.is_some_and(|e| e.lsa.header().sequence == MAX_SEQUENCE)
            {
                // RFC 2328 12.1.6: only now may the sequence begin again.
                self.own.remove(&(id, key));
            }
            if self.is_ours(key.adv) {
                self.reconcile_soon();
            }
        }
    }
}
