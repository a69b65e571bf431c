//! Our own LSAs. What we should say is computed anew after every change and compared with what the
//! database has; the difference is originated or flushed. RFC 5340 4.4.3, RFC 2328 12.4.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::Speaker;
use super::hello::OPTIONS;
use crate::config::{InterfaceConfig, StubPrefix, Time};
use crate::interface::Interface;
use crate::lsdb::{DbId, Origin};
use crate::wire::{
    INITIAL_SEQUENCE, IntraAreaPrefix, LSA_HEADER_LEN, LinkBody, Lsa, LsaBody, LsaKey, LsaType,
    MAX_SEQUENCE, Options, Prefix, PrefixEntry, PrefixOptions, Router, RouterBits, RouterLink,
};

/// What no path is worth: MaxLinkMetric, RFC 6987 2.
const MAX_LINK_METRIC: u16 = 0xffff;
/// Link State IDs of the Intra-Area-Prefix-LSAs: 1 to 0xffff carry one local prefix each, multiples
/// of 0x10000 carry all the others.
const GROUP_STEP: u32 = 0x1_0000;

/// What we remember of an LSA we originated, even after it is gone from the database.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own {
    /// Sequence number of the latest instance.
    sequence: i32,
    /// When that instance was originated.
    at: Time,
    /// When we last outpaced an instance that was not ours.
    outpaced_at: Option<Time>,
}

type Desired = BTreeMap<(DbId, LsaKey), LsaBody>;

impl Speaker {
    pub(super) fn reconcile_soon(&mut self, now: Time) {
        self.reconcile_at = Some(self.reconcile_at.map_or(now, |at| at.min(now)));
    }

    pub(super) fn reconcile_if_due(&mut self, now: Time) {
        if self.reconcile_at.is_some_and(|at| at <= now) {
            self.reconcile_at = None;
            self.reconcile(now);
        }
    }

    fn reconcile_later(&mut self, at: Time) {
        self.reconcile_at = Some(self.reconcile_at.map_or(at, |old| old.min(at)));
    }

    fn reconcile(&mut self, now: Time) {
        self.forget_old(now);
        let desired = self.desired(now);
        // Withdrawals first: they are what traffic waits for. Premature aging is no origination, so
        // MinLSInterval does not hold it back (RFC 2328 14.1).
        let unwanted: Vec<(DbId, LsaKey)> = self
            .databases
            .iter()
            .flat_map(|(id, db)| db.iter().map(|(key, entry)| ((*id, *key), entry)))
            .filter(|((_, key), entry)| self.is_ours(key.adv) && !entry.is_max_age(now))
            .map(|(which, _)| which)
            .filter(|which| !desired.contains_key(which))
            .collect();
        for (id, key) in unwanted {
            self.flush_own(now, id, key);
        }
        for ((id, key), body) in desired {
            self.originate_if_needed(now, id, key, body);
        }
    }

    fn originate_if_needed(&mut self, now: Time, id: DbId, key: LsaKey, body: LsaBody) {
        let database = self.databases.entry(id).or_default();
        let entry = database.get(&key);
        let foreign = entry.is_some_and(|entry| entry.origin != Origin::Own);
        let alive = entry.filter(|entry| !entry.is_max_age(now));
        if alive.is_some_and(|entry| entry.origin == Origin::Own && *entry.lsa.body() == body) {
            return;
        }
        if let Some(until) = self.wait_for_adjacency(now, id, key, &body) {
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
            _ => self.originate(now, id, key, &body),
        }
    }

    /// Originates the next instance of an LSA and floods it.
    fn originate(&mut self, now: Time, id: DbId, key: LsaKey, body: &LsaBody) {
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
                self.flush_own(now, id, key);
            } else {
                self.own.remove(&(id, key));
                self.reconcile_soon(now);
            }
            return;
        }
        let sequence = last.map_or(INITIAL_SEQUENCE, |last| last + 1);
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
                outpaced_at,
            },
        );
        self.counters.lsas_originated += 1;
        self.flood(now, id, key, None);
        if changed {
            self.spf.trigger(now, &self.config.spf_delay);
        }
    }

    /// A new instance of the same content, RFC 2328 12.4 (1).
    pub(super) fn refresh(&mut self, now: Time, id: DbId, key: LsaKey) {
        let entry = self.databases.get(&id).and_then(|db| db.get(&key));
        let Some(entry) = entry.filter(|entry| !entry.is_max_age(now)) else {
            // A foreign instance that has aged out before we outpaced it.
            self.expire(now, id, key);
            self.reconcile_soon(now);
            return;
        };
        let body = entry.lsa.body().clone();
        self.originate(now, id, key, &body);
        self.reconcile_soon(now);
    }

    fn flush_own(&mut self, now: Time, id: DbId, key: LsaKey) {
        if self.expire(now, id, key) {
            self.counters.lsas_flushed += 1;
        }
    }

    /// A Router-LSA whose only news is an adjacency that comes or goes for a moment waits for it.
    fn wait_for_adjacency(&self, now: Time, id: DbId, key: LsaKey, body: &LsaBody) -> Option<Time> {
        let (DbId::Area(area), LsaType::ROUTER) = (id, key.ty) else {
            return None;
        };
        let forming = self.forming(now, area);
        let until = forming.iter().map(|forming| forming.until).min()?;
        let entry = self.databases.get(&id)?.get(&key);
        let own = entry.filter(|entry| entry.origin == Origin::Own && !entry.is_max_age(now));
        let Some(own) = own else { return Some(until) };
        let (LsaBody::Router(body), LsaBody::Router(said)) = (body, own.lsa.body()) else {
            return None;
        };
        let lasting = said
            .links
            .iter()
            .filter(|link| !forming.iter().any(|f| f.is(link)));
        let same = body.options == said.options && lasting.eq(&body.links);
        same.then_some(until)
    }

    /// Forgets LSAs that have been gone for longer than any copy can live.
    fn forget_old(&mut self, now: Time) {
        let life = Time::from_secs(u64::from(crate::wire::MAX_AGE));
        let databases = &self.databases;
        self.own.retain(|(id, key), own| {
            now < own.at + life || databases.get(id).is_some_and(|db| db.get(key).is_some())
        });
    }

    /// Everything we should originate now.
    fn desired(&mut self, now: Time) -> Desired {
        let mut desired = Desired::new();
        if self.stopped {
            return desired;
        }
        let areas: BTreeSet<Ipv4Addr> = self
            .interfaces
            .values()
            .filter(|interface| interface.advertises())
            .map(|interface| interface.config.area)
            .collect();
        for interface in self
            .interfaces
            .values()
            .filter(|interface| interface.speaks())
        {
            let key = self.own_key(LsaType::LINK, interface.config.id);
            let body = link_lsa(&interface.config);
            desired.insert((DbId::Link(interface.config.id), key), body);
        }
        for area in areas {
            self.desired_router(area, &mut desired);
            self.desired_prefixes(now, area, &mut desired);
        }
        desired
    }

    fn own_key(&self, ty: LsaType, id: u32) -> LsaKey {
        LsaKey {
            ty,
            id,
            adv: self.config.router_id,
        }
    }

    /// RFC 5340 4.4.3.2.
    fn desired_router(&self, area: Ipv4Addr, desired: &mut Desired) {
        let links = self.advertised_links(area);
        let id = DbId::Area(area);
        let first = self.own_key(LsaType::ROUTER, 0);
        let unknown = self
            .databases
            .get(&id)
            .is_none_or(|db| db.get(&first).is_none());
        if links.is_empty() && unknown {
            // Before the first adjacency there is nobody to tell, and an LSA without links now
            // would only hold the one with links back for MinLSInterval.
            return;
        }
        // R clear: no traffic through us (RFC 5340 4.8.1).
        let drained = if self.drained {
            Options::R
        } else {
            Options::default()
        };
        let room = self.lsa_room(area) - 4;
        let most = (room / RouterLink::LEN).max(1);
        let mut chunks: Vec<&[RouterLink]> = links.chunks(most).collect();
        if chunks.is_empty() {
            chunks.push(&[]);
        }
        for (number, links) in (0u32..).zip(chunks) {
            let body = Router {
                bits: RouterBits::default(),
                options: OPTIONS.without(drained),
                links: links.to_vec(),
            };
            desired.insert(
                (id, self.own_key(LsaType::ROUTER, number)),
                LsaBody::Router(body),
            );
        }
    }

    fn advertised_links(&self, area: Ipv4Addr) -> Vec<RouterLink> {
        let mut links = self.router_links(area);
        if self.drained {
            // RFC 6987 2
            for link in &mut links {
                link.metric = MAX_LINK_METRIC;
            }
        }
        links
    }

    /// RFC 5340 4.4.3.9.
    fn desired_prefixes(&mut self, now: Time, area: Ipv4Addr, desired: &mut Desired) {
        let mut local: BTreeMap<Prefix, u16> = BTreeMap::new();
        let mut others: BTreeMap<Prefix, u16> = BTreeMap::new();
        for (interface, stub) in self.area_prefixes(area) {
            let set = if stub.local { &mut local } else { &mut others };
            let _ = interface;
            let metric = set.entry(stub.prefix).or_insert(stub.metric);
            *metric = stub.metric.min(*metric);
        }
        others.retain(|prefix, _| !local.contains_key(prefix));
        self.assign_prefix_ids(now, area, &local);
        let router = self.config.router_id;
        let body = |prefixes: Vec<PrefixEntry>| {
            LsaBody::IntraAreaPrefix(IntraAreaPrefix {
                referenced_type: LsaType::ROUTER,
                referenced_id: 0,
                referenced_router: router,
                prefixes,
            })
        };
        let id = DbId::Area(area);
        for (prefix, metric) in local {
            let Some(number) = self.prefix_ids.get(&(area, prefix)) else {
                continue;
            };
            let metric = if self.drained {
                MAX_LINK_METRIC
            } else {
                metric
            };
            let options = if prefix.len() == 128 {
                PrefixOptions::LA
            } else {
                PrefixOptions::default()
            };
            let key = self.own_key(LsaType::INTRA_AREA_PREFIX, *number);
            desired.insert(
                (id, key),
                body(vec![PrefixEntry {
                    prefix,
                    options,
                    metric,
                }]),
            );
        }
        let room = self.lsa_room(area) - IntraAreaPrefix::FIXED_LEN;
        let mut number = 0u32;
        let mut chunk: Vec<PrefixEntry> = Vec::new();
        let mut bytes = 0;
        for (prefix, metric) in others {
            let entry = PrefixEntry {
                prefix,
                options: PrefixOptions::default(),
                metric,
            };
            if bytes + entry.encoded_len() > room {
                let key = self.own_key(LsaType::INTRA_AREA_PREFIX, number);
                desired.insert((id, key), body(std::mem::take(&mut chunk)));
                number = number.wrapping_add(GROUP_STEP);
                bytes = 0;
            }
            bytes += entry.encoded_len();
            chunk.push(entry);
        }
        if !chunk.is_empty() {
            let key = self.own_key(LsaType::INTRA_AREA_PREFIX, number);
            desired.insert((id, key), body(chunk));
        }
    }

    /// Prefixes of an area's interfaces that are up.
    pub(super) fn area_prefixes(
        &self,
        area: Ipv4Addr,
    ) -> impl Iterator<Item = (&Interface, &StubPrefix)> {
        self.interfaces
            .values()
            .filter(move |interface| interface.config.area == area && interface.advertises())
            .flat_map(|interface| {
                interface
                    .config
                    .prefixes
                    .iter()
                    .map(move |p| (interface, p))
            })
            // RFC 5340 4.4.3.9: no link-local prefixes.
            .filter(|(_, stub)| !stub.prefix.is_link_local())
    }

    /// Gives every local prefix an LSA of its own. A prefix that comes back soon after it was
    /// withdrawn gets a fresh one: another LSA, so MinLSInterval does not hold it back.
    fn assign_prefix_ids(&mut self, now: Time, area: Ipv4Addr, local: &BTreeMap<Prefix, u16>) {
        self.prefix_ids
            .retain(|(of, prefix), _| *of != area || local.contains_key(prefix));
        let mut taken: BTreeSet<u32> = self
            .prefix_ids
            .iter()
            .filter(|((of, _), _)| *of == area)
            .map(|(_, number)| *number)
            .collect();
        let id = DbId::Area(area);
        let resting: BTreeSet<u32> = self
            .own
            .iter()
            .filter(|((db, key), own)| {
                *db == id
                    && key.ty == LsaType::INTRA_AREA_PREFIX
                    && now < own.at + self.config.min_ls_interval
            })
            .map(|((_, key), _)| key.id)
            .collect();
        for prefix in local.keys() {
            if self.prefix_ids.contains_key(&(area, *prefix)) {
                continue;
            }
            let free = (1..GROUP_STEP).find(|n| !taken.contains(n) && !resting.contains(n));
            let Some(number) = free else { return };
            taken.insert(number);
            self.prefix_ids.insert((area, *prefix), number);
        }
    }

    /// Bytes of body an LSA may have to travel unfragmented through the area.
    fn lsa_room(&self, area: Ipv4Addr) -> usize {
        let rooms = self
            .interfaces
            .values()
            .filter(|interface| interface.config.area == area && interface.speaks())
            .map(Interface::body_room);
        rooms.min().unwrap_or(1200) - 4 - LSA_HEADER_LEN
    }
}

/// RFC 5340 4.4.3.8.
fn link_lsa(config: &InterfaceConfig) -> LsaBody {
    let prefixes = config
        .prefixes
        .iter()
        .filter(|stub| !stub.local && !stub.prefix.is_link_local())
        .map(|stub| PrefixEntry {
            prefix: stub.prefix,
            options: PrefixOptions::default(),
            metric: 0,
        })
        .collect();
    LsaBody::Link(LinkBody {
        priority: config.priority,
        options: OPTIONS,
        link_local: config.link_local,
        prefixes,
    })
}
