//! Our own LSAs. What we should say is computed after every change and compared with what the
//! database has; the difference is originated or flushed. RFC 5340 4.4.3, RFC 2328 12.4.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::Originator;
use crate::config::Time;
use crate::lsdb::{DbId, Origin};
use crate::pace::{burst_of, origination_burst};
use crate::peer::Peer;
use crate::speaker::core::Core;
use crate::speaker::originated::Originated;
use crate::speaker::restart::Restart;
use crate::speaker::route_table::RouteTable;
use crate::wire::{INITIAL_SEQUENCE, Lsa, LsaBody, LsaKey, LsaType, MAX_SEQUENCE, RouterLink};

impl Originator {
    /// Compares what we should originate with what we have, and does what is different.
    pub(crate) fn reconcile(&mut self, core: &mut Core, table: &RouteTable, restart: &Restart) {
        let now = core.now();
        self.forget_old(core);
        for ((id, key), sequence) in core.take_outbid() {
            self.outbid(core, restart, (id, key), sequence);
        }
        let desired = self.desired(core, table, restart);
        // Withdrawals first: they are what traffic waits for. Premature aging is no origination, so
        // MinLSInterval does not hold it back (RFC 2328 14.1).
        let unwanted: Vec<(DbId, LsaKey)> = core
            .databases()
            .iter()
            .flat_map(|(id, db)| db.iter().map(|(key, entry)| ((*id, *key), entry)))
            .filter(|((_, key), entry)| core.is_ours(key.adv) && !entry.is_max_age(now))
            .filter(|((_, key), _)| restart.may_originate(key.ty))
            .map(|(which, _)| which)
            .filter(|which| !desired.contains_key(which))
            .collect();
        for (id, key) in unwanted {
            self.flush_own(core, id, key);
        }
        for ((id, key), body) in desired {
            self.originate_if_needed(core, id, key, body);
        }
    }

    fn originate_if_needed(&mut self, core: &mut Core, id: DbId, key: LsaKey, body: LsaBody) {
        let now = core.now();
        let database = core.database_mut(id);
        let entry = database.get(&key);
        let foreign = entry.is_some_and(|entry| entry.origin != Origin::Own);
        let alive = entry.filter(|entry| !entry.is_max_age(now));
        if alive.is_some_and(|entry| entry.origin == Origin::Own && *entry.lsa.body() == body) {
            return;
        }
        let burst = burst_of(alive.map(|entry| entry.lsa.body()), &body);
        if let Some(until) = self.wait_for_adjacency(core, id, key, &body) {
            core.reconcile_by(until);
            return;
        }
        let interval = core.config().min_ls_interval;
        let own = self.own.get(&(id, key));
        // RFC 2328 12.4: distinct instances MinLSInterval apart, but for a few of a single prefix. A foreign
        // instance is superseded at once (13.4), but ever more seldom, or two routers with one Router ID
        // would flood without end.
        let due = own.and_then(|own| {
            if foreign {
                own.superseded.map(|(at, pause)| at + pause)
            } else {
                Some(own.pace.due(interval, burst))
            }
        });
        match due {
            Some(due) if due > now => core.reconcile_by(due),
            _ => self.originate(core, id, key, &body),
        }
    }

    /// Originates the next instance of an LSA and floods it.
    fn originate(&mut self, core: &mut Core, id: DbId, key: LsaKey, body: &LsaBody) {
        let now = core.now();
        let first = first_sequence(core, key.ty);
        let database = core.database_mut(id);
        let entry = database.get(&key);
        let in_database = entry.map(|entry| entry.lsa.header().sequence);
        let foreign = entry.is_some_and(|entry| entry.origin != Origin::Own);
        let remembered = self.own.get(&(id, key)).map(|own| own.sequence);
        let last = in_database.max(remembered);
        if last == Some(MAX_SEQUENCE) {
            // RFC 2328 12.1.6: flush the last instance, and begin again when it is gone.
            if in_database.is_some() {
                self.flush_own(core, id, key);
            } else {
                self.own.remove(&(id, key));
                core.reconcile_soon();
            }
            return;
        }
        let sequence = last.map_or(first, |last| last + 1);
        let Some(lsa) = Lsa::build(key, sequence, body) else {
            return;
        };
        let changed = database.install(Arc::new(lsa), now, Origin::Own, None);
        let own = self.own.get(&(id, key));
        let superseded = match own {
            _ if !foreign => own.and_then(|own| own.superseded),
            Some(own) => Some((now, own.pause(now, core.config()))),
            None => Some((now, core.config().min_ls_interval)),
        };
        let mut pace = own.map(|own| own.pace).unwrap_or_default();
        pace.count(now, core.config().min_ls_interval, origination_burst(body));
        self.own.insert(
            (id, key),
            Originated {
                sequence,
                at: now,
                pace,
                flushed_at: None,
                superseded,
            },
        );
        core.counters_mut().lsas_originated += 1;
        core.flood(id, key, None);
        if changed && !core.is_for_others(key) {
            core.lsa_changed();
        }
    }

    /// A new instance of the same content, beyond a sequence number that a neighbour has seen of it; as for a foreign
    /// instance, ever more seldom.
    fn outbid(
        &mut self,
        core: &mut Core,
        restart: &Restart,
        (id, key): (DbId, LsaKey),
        sequence: i32,
    ) {
        let now = core.now();
        let entry = core.databases().get(&id).and_then(|db| db.get(&key));
        let entry = entry.filter(|entry| !entry.is_max_age(now) && entry.origin == Origin::Own);
        let Some(entry) = entry.filter(|entry| entry.lsa.header().sequence <= sequence) else {
            return;
        };
        let body = entry.lsa.body().clone();
        if !restart.may_originate(key.ty) {
            return core.outbid_by(id, key, sequence, None);
        }
        let Some(own) = self.own.get_mut(&(id, key)) else {
            return;
        };
        let due = own.superseded.map(|(at, pause)| at + pause);
        if let Some(due) = due.filter(|due| *due > now) {
            return core.outbid_by(id, key, sequence, Some(due));
        }
        own.sequence = own.sequence.max(sequence);
        own.superseded = Some((now, own.pause(now, core.config())));
        self.originate(core, id, key, &body);
    }

    /// A new instance of the same content, RFC 2328 12.4 (1).
    pub(crate) fn refresh(&mut self, core: &mut Core, id: DbId, key: LsaKey) {
        let now = core.now();
        let entry = core.databases().get(&id).and_then(|db| db.get(&key));
        let Some(entry) = entry.filter(|entry| !entry.is_max_age(now)) else {
            // A foreign instance that has aged out before we superseded it.
            core.expire(id, key);
            core.reconcile_soon();
            return;
        };
        let body = entry.lsa.body().clone();
        self.originate(core, id, key, &body);
        core.reconcile_soon();
    }

    fn flush_own(&mut self, core: &mut Core, id: DbId, key: LsaKey) {
        let now = core.now();
        if core.expire(id, key) {
            core.counters_mut().lsas_flushed += 1;
            if let Some(own) = self.own.get_mut(&(id, key)) {
                own.flushed_at = Some(now);
            }
        }
    }

    /// A Router-LSA or Network-LSA whose only news is an adjacency that comes or goes for a moment
    /// waits for it.
    fn wait_for_adjacency(
        &self,
        core: &Core,
        id: DbId,
        key: LsaKey,
        body: &LsaBody,
    ) -> Option<Time> {
        let now = core.now();
        let DbId::Area(area) = id else { return None };
        let mut forming = core.forming(area);
        match key.ty {
            LsaType::ROUTER => {}
            LsaType::NETWORK => forming.retain(|forming| forming.peer.interface == key.id),
            _ => return None,
        }
        let until = forming.iter().map(|forming| forming.until).min()?;
        let entry = core.databases().get(&id)?.get(&key);
        let own = entry.filter(|entry| entry.origin == Origin::Own && !entry.is_max_age(now));
        let Some(own) = own else { return Some(until) };
        let same = match (body, own.lsa.body()) {
            (LsaBody::Router(body), LsaBody::Router(said)) => {
                let forming: BTreeSet<Peer> = forming.iter().map(|forming| forming.peer).collect();
                let end = |link: &RouterLink| Peer::new(link.interface_id, link.neighbor_router_id);
                let lasting = |link: &&RouterLink| !forming.contains(&end(link));
                body.options == said.options && said.links.iter().filter(lasting).eq(&body.links)
            }
            (LsaBody::Network(body), LsaBody::Network(said)) => {
                let lasting = |id: &&Ipv4Addr| !forming.iter().any(|f| f.peer.router_id == **id);
                said.attached.iter().filter(lasting).eq(&body.attached)
            }
            _ => false,
        };
        same.then_some(until)
    }

    /// Forgets LSAs that have been gone for longer than any copy can live.
    fn forget_old(&mut self, core: &Core) {
        let now = core.now();
        let lifetime = Time::from_secs(u64::from(crate::wire::MAX_AGE));
        let databases = &core.databases();
        self.own.retain(|(id, key), own| {
            now < own.at + lifetime || databases.get(id).is_some_and(|db| db.get(key).is_some())
        });
    }
}

/// Neighbours may still have a Grace-LSA from before an earlier restart. A new one has to be more
/// recent, and the number of this start is greater than any before.
fn first_sequence(core: &Core, ty: LsaType) -> i32 {
    if ty == LsaType::GRACE {
        INITIAL_SEQUENCE.saturating_add_unsigned(core.config().authentication_epoch)
    } else {
        INITIAL_SEQUENCE
    }
}
