//! Signs that two routers have one Router ID: one of them with ours, or both next to us.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::Core;
use crate::event::{DoubledSign, Event};
use crate::interface::Interface;
use crate::lsdb::DbId;
use crate::neighbor::{Neighbor, NeighborState};
use crate::peer::Peer;
use crate::wire::{LinkKind, Lsa, LsaBody, LsaType, Prefix, RouterLink};

/// Prefixes and routers of another with our Router ID that are named; there may be any number.
const MOST: usize = 8;

impl Core {
    /// A neighbour sends from another address than before. It may have a new one; two routers with one Router ID
    /// on a network take turns.
    pub(crate) fn neighbor_moved(&mut self, peer: Peer, before: Ipv6Addr, now: Ipv6Addr) {
        self.event(Event::RouterIdDoubled {
            router_id: peer.router_id,
            links: vec![(peer.interface, before), (peer.interface, now)],
            sign: DoubledSign::Address(now),
        });
    }

    /// A Router-LSA was installed. Where a router is Full with us over several links, its Router-LSAs list all of
    /// them, but for a moment. Those of two routers with one Router ID list one router's links in turn.
    pub(crate) fn compare_links(&mut self, db: DbId, router_id: Ipv4Addr) {
        let in_area = |interface: &Interface| DbId::Area(interface.config.area) == db;
        let interfaces = self.interfaces.iter();
        let full = interfaces.filter_map(|(id, interface)| {
            let neighbor = interface.neighbors.get(&router_id)?;
            let full = neighbor.state == NeighborState::Full && in_area(interface);
            full.then_some((*id, neighbor))
        });
        let full: Vec<(u32, &Neighbor)> = full.collect();
        let Some(database) = self.databases.get(&db).filter(|_| full.len() > 1) else {
            return;
        };
        let lsas = database
            .of_type(LsaType::ROUTER)
            .filter(|entry| entry.lsa.key().adv == router_id && !entry.is_max_age(self.now));
        let listed: Vec<RouterLink> = lsas
            .filter_map(|entry| match entry.lsa.body() {
                LsaBody::Router(router) => Some(&router.links),
                _ => None,
            })
            .flatten()
            .copied()
            .collect();
        let is_listed = |(id, neighbor): &&(u32, &Neighbor)| {
            listed.iter().any(|link| {
                link.interface_id == neighbor.interface_id
                    && (link.kind != LinkKind::PointToPoint || link.neighbor_interface_id == *id)
            })
        };
        let first = full.iter().find(is_listed).map(|(id, _)| *id);
        if let (Some(first), false) = (first, full.iter().all(|it| is_listed(&it))) {
            let links = full.iter().map(|(id, neighbor)| (*id, neighbor.address));
            let links = links.collect();
            self.event(Event::RouterIdDoubled {
                router_id,
                links,
                sign: DoubledSign::Links(first),
            });
        }
    }

    /// What an instance of an LSA of ours says that the one before did not, and so another router has said: the
    /// prefixes, and the routers that it is adjacent to.
    pub(crate) fn news_of_another(&self, db: DbId, lsa: &Lsa) -> (Vec<Prefix>, Vec<Ipv4Addr>) {
        let old = self.databases.get(&db).and_then(|db| db.get(&lsa.key()));
        let old = old.map(|entry| entry.lsa.body());
        let known: Vec<Prefix> = old.map(prefixes).unwrap_or_default();
        let mut news = prefixes(lsa.body());
        news.retain(|prefix| !known.contains(prefix));
        news.truncate(MOST);
        let mut routers: Vec<Ipv4Addr> = match lsa.body() {
            LsaBody::Router(router) => {
                let links = router.links.iter();
                links.map(|link| link.neighbor_router_id).collect()
            }
            _ => Vec::new(),
        };
        routers.retain(|router| !self.is_ours(*router));
        routers.sort_unstable();
        routers.dedup();
        routers.truncate(MOST);
        (news, routers)
    }
}

/// The prefixes that an LSA advertises for its originator.
fn prefixes(body: &LsaBody) -> Vec<Prefix> {
    match body {
        LsaBody::IntraAreaPrefix(body) => body.prefixes.iter().map(|it| it.prefix).collect(),
        LsaBody::InterAreaPrefix(body) => vec![body.prefix],
        LsaBody::AsExternal(body) => vec![body.prefix],
        _ => Vec::new(),
    }
}
