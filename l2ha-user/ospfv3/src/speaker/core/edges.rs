//! What neighbours at the edge may bring ([`Edge`](crate::edge::Edge)): nothing of other routers, and of themselves what
//! is theirs. What more they say is acknowledged, so that it is not said for ever, counted, and not used.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::Core;
use crate::config::Time;
use crate::edge::{Edge, MOST_LSAS};
use crate::graceful::Phase;
use crate::lsdb::{DbId, Origin};
use crate::peer::Peer;
use crate::refusal::Refusal;
use crate::wire::{INITIAL_SEQUENCE, Lsa, LsaHeader, LsaKey, MAX_SEQUENCE};

/// How far beyond ours a sequence number of an LSA of our own may be that such a neighbour brings: more than a router
/// that originates as often as it may uses up in two years. It cannot drive it to its end, where an LSA has to be
/// flushed before it can be originated again (RFC 2328 12.1.6).
const MOST_AHEAD: i64 = 1 << 24;
/// LSAs in our name, which we know nothing of, that are flushed at a time for such a neighbour.
const MOST_FLUSHED: usize = 64;

impl Core {
    fn edge(&self, interface: u32) -> Option<&Edge> {
        self.interfaces.get(&interface)?.config.edge.as_ref()
    }

    /// The routers at the edge that interfaces lead to.
    pub(crate) fn edges(&self) -> &Arc<BTreeSet<Ipv4Addr>> {
        &self.edges
    }

    /// Whether an LSA is one that its bringer has no business with: as any router it floods what others have
    /// originated, but those tell us themselves.
    pub(crate) fn is_strangers(&self, from: Peer, key: &LsaKey) -> bool {
        let edge = self.edge(from.interface);
        edge.is_some_and(|edge| key.adv != edge.router_id)
    }

    /// Whether an LSA that a neighbour describes would be used if it were requested.
    pub(crate) fn may_request(&self, from: Peer, key: &LsaKey) -> bool {
        let Some(edge) = self.edge(from.interface) else {
            return true;
        };
        self.is_ours(key.adv) || key.adv == edge.router_id && Edge::may_originate(key.ty)
    }

    /// Whether a router at the edge may say this, whoever brings it.
    pub(crate) fn check_edge(&self, db: DbId, lsa: &Lsa) -> Result<(), Refusal> {
        let key = lsa.key();
        if !self.edges.contains(&key.adv) {
            return Ok(());
        }
        let interfaces = self.interfaces.values();
        let mut edges = interfaces.filter_map(|interface| interface.config.edge.as_ref());
        let Some(edge) = edges.find(|edge| edge.router_id == key.adv) else {
            return Ok(());
        };
        if !edge.grants(lsa) {
            return Err(Refusal::EdgeNotGranted);
        }
        let database = self.databases.get(&db);
        let full = database.is_some_and(|database| {
            database.get(&key).is_none() && database.of_router(key.adv) >= MOST_LSAS
        });
        match full {
            true => Err(Refusal::EdgeNotGranted),
            false => Ok(()),
        }
    }

    /// An LSA of our own that a neighbour at the edge has in a newer instance than we, as after a restart: what we say
    /// is said again with a greater sequence number, and what we do not say is flushed (RFC 2328 13.4). What it has is not
    /// used and not told to others.
    pub(crate) fn outbid_edge(&mut self, db: DbId, lsa: Lsa) -> Result<(), Refusal> {
        let now = self.now;
        let (key, sequence) = (lsa.key(), lsa.header().sequence);
        let Some(database) = self.databases.get_mut(&db) else {
            return Err(Refusal::EdgeStranger);
        };
        let ours = database.get(&key).filter(|entry| !entry.is_max_age(now));
        if ours.is_none() && lsa.header().is_max_age() {
            return Ok(());
        }
        let from = ours.map_or(INITIAL_SEQUENCE, |ours| ours.lsa.header().sequence);
        let ahead = i64::from(sequence) - i64::from(from);
        let near_the_end = i64::from(MAX_SEQUENCE) - i64::from(sequence) <= MOST_AHEAD;
        if ahead > MOST_AHEAD || near_the_end {
            return Err(Refusal::EdgeStranger);
        }
        if ours.is_some() {
            self.outbid.insert((db, key), sequence);
        } else if database.dead_of_router(key.adv, now) < MOST_FLUSHED {
            database.install(lsa.into(), now, Origin::Flooded, None);
            self.expire(db, key);
        } else {
            return Err(Refusal::EdgeStranger);
        }
        self.reconcile_soon();
        Ok(())
    }

    /// While we learn from the neighbours what was before a restart: neighbours at the edge are asked only where there are
    /// no others.
    pub(crate) fn may_resume_from_edges(&self, restart: Option<Phase>) -> bool {
        let mut speaking = self.interfaces.values().filter(|it| it.is_up());
        restart == Some(Phase::Resuming) && speaking.all(|it| it.config.edge.is_some())
    }

    /// An LSA is not used: it is acknowledged, and neither asked for nor offered any more.
    pub(crate) fn set_aside(&mut self, from: Peer, header: &LsaHeader) {
        if let Some(neighbor) = self.neighbor_mut(from) {
            neighbor.satisfied(&header.key);
            neighbor.acknowledged(&header.key);
        }
        self.acknowledge_later(from, *header);
    }

    /// It cannot be originated yet.
    pub(crate) fn outbid_by(&mut self, db: DbId, key: LsaKey, sequence: i32, at: Option<Time>) {
        self.outbid.insert((db, key), sequence);
        if let Some(at) = at {
            self.reconcile_by(at);
        }
    }

    /// LSAs of ours that have to be originated with a sequence number greater than this.
    pub(crate) fn take_outbid(&mut self) -> Vec<((DbId, LsaKey), i32)> {
        std::mem::take(&mut self.outbid).into_iter().collect()
    }

    /// What routers at the edge may say has changed: what they may not say any more is forgotten.
    pub(crate) fn review_edges(&mut self) {
        let interfaces = self.interfaces.values();
        let edges = interfaces.filter_map(|interface| interface.config.edge.as_ref());
        let edges: BTreeMap<Ipv4Addr, &Edge> = edges.map(|edge| (edge.router_id, edge)).collect();
        let routers = edges.keys().copied().collect();
        let mut refused = Vec::new();
        for (db, database) in self.databases.iter() {
            let entries = database.iter();
            let entries = entries.filter(|(key, entry)| {
                let edge = edges.get(&key.adv);
                edge.is_some_and(|edge| !edge.grants(&entry.lsa))
            });
            refused.extend(entries.map(|(key, _)| (*db, *key)));
        }
        self.edges = Arc::new(routers);
        for (db, key) in refused {
            self.database_mut(db).remove(&key);
            self.count(Refusal::EdgeNotGranted);
            self.lsa_changed();
        }
    }
}
