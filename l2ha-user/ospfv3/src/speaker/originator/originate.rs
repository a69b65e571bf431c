//! Our own LSAs. What we should say is computed anew after every change and compared with what the
//! database has; the difference is originated or flushed. RFC 5340 4.4.3, RFC 2328 12.4.

use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::config::{Config, Time};
use crate::lsdb::{DbId, Origin};
use crate::speaker::Speaker;
use crate::wire::{Lsa, LsaBody, LsaKey, LsaType, MAX_SEQUENCE, RouterLink};

/// What we remember of an LSA we originated, even after it is gone from the database.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Own {
    /// Sequence number of the latest instance.
    sequence: i32,
    /// When that instance was originated.
    at: Time,
    /// When it was withdrawn.
    flushed_at: Option<Time>,
    /// When we last outpaced an instance that was not ours.
    outpaced_at: Option<Time>,
}

impl Own {
    /// Whether a new instance would have to wait: for MinLSInterval here, or for MinLSArrival at
    /// routers that still have the withdrawn one.
    pub(crate) fn rests(&self, now: Time, config: &Config) -> bool {
        now < self.at + config.min_ls_interval
            || self
                .flushed_at
                .is_some_and(|at| now < at + config.min_ls_arrival * 2)
    }
}

impl Speaker {
    pub(crate) fn reconcile_soon(&mut self) {
        let now = self.now;
        self.reconcile_at = Some(self.reconcile_at.map_or(now, |at| at.min(now)));
    }

    pub(crate) fn reconcile_if_due(&mut self) {
        let now = self.now;
        if self.reconcile_at.is_some_and(|at| at <= now) {
            self.reconcile_at = None;
            self.reconcile();
        }
    }

    pub(crate) fn reconcile_later(&mut self, at: Time) {
        self.reconcile_at = Some(self.reconcile_at.map_or(at, |old| old.min(at)));
    }

    fn reconcile(&mut self) {
        let now = self.now;
        self.forget_old();
        let desired = self.desired();
        // Withdrawals first: they are what traffic waits for. Premature aging is no origination, so
        // MinLSInterval does not hold it back (RFC 2328 14.1).
        let unwanted: Vec<(DbId, LsaKey)> = self
            .databases
            .iter()
            .flat_map(|(id, db)| db.iter().map(|(key, entry)| ((*id, *key), entry)))
            .filter(|((_, key), entry)| self.is_ours(key.adv) && !entry.is_max_age(now))
            .filter(|((_, key), _)| self.may_originate(key.ty))
            .map(|(which, _)| which)
            .filter(|which| !desired.contains_key(which))
            .collect();
        for (id, key) in unwanted {
            self.flush_own(id, key);
        }
        for ((id, key), body) in desired {
            self.originate_if_needed(id, key, body);
        }
    }

    fn originate_if_needed(&mut self, id: DbId, key: LsaKey, body: LsaBody) {
        let now = self.now;
        let database = self.databases.entry(id).or_default();
        let entry = database.get(&key);
        let foreign = entry.is_some_and(|entry| entry.origin != Origin::Own);
        let alive = entry.filter(|entry| !entry.is_max_age(now));
        if alive.is_some_and(|entry| entry.origin == Origin::Own && *entry.lsa.body() == body) {
            return;
        }
        if let Some(until) = self.wait_for_adjacency(id, key, &body) {
            self.reconcile_later(until);
            return;
        }
        let interval = self.config.min_ls_interval;
        let own = self.own.get(&(id, key));
        // RFC 2328 12.4: distinct instances MinLSInterval apart. A foreign instance is outpaced at
        // once (13.4), but no oftener than that, or two routers with one Router ID would storm.
        let due = own.and_then(|own| {
            if foreign {
                own.outpaced_at
            } else {
                Some(own.at)
            }
        });
        match due.map(|at| at + interval) {
            Some(due) if due > now => self.reconcile_later(due),
            _ => self.originate(id, key, &body),
        }
    }

    /// Originates the next instance of an LSA and floods it.
    fn originate(&mut self, id: DbId, key: LsaKey, body: &LsaBody) {
        let now = self.now;
        let first = self.first_sequence(key.ty);
        let Some(database) = self.databases.get_mut(&id) else {
            return;
        };
        let entry = database.get(&key);
        let in_database = entry.map(|entry| entry.lsa.header().sequence);
        let foreign = entry.is_some_and(|entry| entry.origin != Origin::Own);
        let remembered = self.own.get(&(id, key)).map(|own| own.sequence);
        let last = in_database.max(remembered);
        if last == Some(MAX_SEQUENCE) {
            // RFC 2328 12.1.6: flush the last instance, and begin again when it is gone.
            if in_database.is_some() {
                self.flush_own(id, key);
            } else {
                self.own.remove(&(id, key));
                self.reconcile_soon();
            }
            return;
        }
        let sequence = last.map_or(first, |last| last + 1);
        let Some(lsa) = Lsa::build(key, sequence, body) else {
            return;
        };
        let changed = entry.is_none_or(|entry| {
            entry.is_max_age(now) || entry.lsa.body_bytes() != lsa.body_bytes()
        });
        database.install(Arc::new(lsa), now, Origin::Own);
        let outpaced_at = self.own.get(&(id, key)).and_then(|own| own.outpaced_at);
        let outpaced_at = if foreign { Some(now) } else { outpaced_at };
        self.own.insert(
            (id, key),
            Own {
                sequence,
                at: now,
                flushed_at: None,
                outpaced_at,
            },
        );
        self.counters.lsas_originated += 1;
        self.flood(id, key, None);
        if changed && !self.is_told_only(key) {
            self.spf.trigger_for_lsa(now, &self.config.spf_delay);
        }
    }

    /// A new instance of the same content, RFC 2328 12.4 (1).
    pub(crate) fn refresh(&mut self, id: DbId, key: LsaKey) {
        let now = self.now;
        let entry = self.databases.get(&id).and_then(|db| db.get(&key));
        let Some(entry) = entry.filter(|entry| !entry.is_max_age(now)) else {
            // A foreign instance that has aged out before we outpaced it.
            self.expire(id, key);
            self.reconcile_soon();
            return;
        };
        let body = entry.lsa.body().clone();
        self.originate(id, key, &body);
        self.reconcile_soon();
    }

    fn flush_own(&mut self, id: DbId, key: LsaKey) {
        let now = self.now;
        if self.expire(id, key) {
            self.counters.lsas_flushed += 1;
            if let Some(own) = self.own.get_mut(&(id, key)) {
                own.flushed_at = Some(now);
            }
        }
    }

    /// A Router-LSA or Network-LSA whose only news is an adjacency that comes or goes for a moment
    /// waits for it.
    fn wait_for_adjacency(&self, id: DbId, key: LsaKey, body: &LsaBody) -> Option<Time> {
        let now = self.now;
        let DbId::Area(area) = id else { return None };
        let mut forming = self.forming(area);
        match key.ty {
            LsaType::ROUTER => {}
            LsaType::NETWORK => forming.retain(|forming| forming.interface == key.id),
            _ => return None,
        }
        let until = forming.iter().map(|forming| forming.until).min()?;
        let entry = self.databases.get(&id)?.get(&key);
        let own = entry.filter(|entry| entry.origin == Origin::Own && !entry.is_max_age(now));
        let Some(own) = own else { return Some(until) };
        let same = match (body, own.lsa.body()) {
            (LsaBody::Router(body), LsaBody::Router(said)) => {
                let lasting = |link: &&RouterLink| !forming.iter().any(|f| f.is(link));
                body.options == said.options && said.links.iter().filter(lasting).eq(&body.links)
            }
            (LsaBody::Network(body), LsaBody::Network(said)) => {
                let lasting = |id: &&Ipv4Addr| !forming.iter().any(|f| f.router_id == **id);
                said.attached.iter().filter(lasting).eq(&body.attached)
            }
            _ => false,
        };
        same.then_some(until)
    }

    /// Forgets LSAs that have been gone for longer than any copy can live.
    fn forget_old(&mut self) {
        let now = self.now;
        let life = Time::from_secs(u64::from(crate::wire::MAX_AGE));
        let databases = &self.databases;
        self.own.retain(|(id, key), own| {
            now < own.at + life || databases.get(id).is_some_and(|db| db.get(key).is_some())
        });
    }
}
