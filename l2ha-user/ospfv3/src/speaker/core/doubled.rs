//! Signs that two routers have one Router ID: one of them with ours, or both next to us.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::Core;
use crate::event::{DoubledSign, Event};
use crate::interface::Interface;
use crate::lsdb::DbId;
use crate::neighbor::NeighborState;
use crate::peer::Peer;
use crate::wire::{Lsa, LsaBody, Prefix};

/// Prefixes and routers of another with our Router ID that are named; there may be any number.
const MOST: usize = 8;

impl Core {
    /// A Hello came: another neighbour with this Router ID calls its interface by the same Interface ID, which
    /// is unique within a router (RFC 5340 4.1.2).
    pub(crate) fn compare_with_namesakes(&mut self, peer: Peer, interface_id: u32) {
        let mut links = self.full_neighbors(peer.router_id, |_| true);
        links.retain(|(_, _, id)| *id == interface_id);
        if links.len() > 1 {
            let links = links
                .into_iter()
                .map(|(interface, address, _)| (interface, address));
            self.event(Event::RouterIdDoubled {
                router_id: peer.router_id,
                links: links.collect(),
                sign: DoubledSign::InterfaceId(peer.interface),
            });
        }
    }

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
        let links = self.full_neighbors(router_id, in_area);
        if links.len() < 2 {
            return;
        }
        let Some(database) = self.databases.get(&db) else {
            return;
        };
        let lsas = database
            .iter()
            .filter_map(|(key, entry)| match entry.lsa.body() {
                LsaBody::Router(router) if key.adv == router_id => Some(router),
                _ => None,
            });
        let listed: Vec<u32> = lsas
            .flat_map(|router| router.links.iter().map(|link| link.interface_id))
            .collect();
        let (listed, unlisted): (Vec<_>, Vec<_>) =
            links.iter().partition(|(_, _, id)| listed.contains(id));
        if let (Some((listed, _, _)), false) = (listed.first(), unlisted.is_empty()) {
            let sign = DoubledSign::Links(*listed);
            let links = links
                .iter()
                .map(|(interface, address, _)| (*interface, *address));
            self.event(Event::RouterIdDoubled {
                router_id,
                links: links.collect(),
                sign,
            });
        }
    }

    /// Where routers with this Router ID are Full with us: our interface, their address and Interface ID.
    fn full_neighbors(
        &self,
        router_id: Ipv4Addr,
        wanted: impl Fn(&Interface) -> bool,
    ) -> Vec<(u32, Ipv6Addr, u32)> {
        let interfaces = self.interfaces.iter();
        let interfaces = interfaces.filter(|(_, interface)| wanted(interface));
        let found = interfaces.filter_map(|(id, interface)| {
            let neighbor = interface.neighbors.get(&router_id)?;
            let full = neighbor.state == NeighborState::Full;
            full.then_some((*id, neighbor.address, neighbor.interface_id))
        });
        found.collect()
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
