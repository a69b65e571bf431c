//! When a new adjacency takes traffic over: not before the neighbour knows the way back.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::Core;
use crate::lsdb::DbId;
use crate::neighbor::{Confirmation, NeighborState};
use crate::peer::Peer;
use crate::wire::{LsaBody, LsaKey, LsaType};

/// How long a neighbour may take from acknowledging our Router-LSA to having its routes in place:
/// its delay before the calculation, and the installation.
pub(crate) const INSTALL_TIME: Duration = Duration::from_millis(300);

impl Core {
    /// Whether no adjacency is too new to take traffic that has another way.
    pub(crate) fn all_confirmed(&self) -> bool {
        self.interfaces
            .values()
            .flat_map(|interface| interface.full())
            .all(|(_, neighbor)| neighbor.confirmation == Confirmation::Given)
    }

    /// After a restart of ours: the neighbours have never given the adjacencies up, so the way back is
    /// there.
    pub(crate) fn confirm_all(&mut self) {
        for (_, interface) in self.interfaces.iter_mut() {
            for neighbor in interface.neighbors.values_mut() {
                if neighbor.state == NeighborState::Full {
                    neighbor.confirmation = Confirmation::Given;
                }
            }
        }
    }

    /// Our Router-LSA has a new instance, or an acknowledgment of it has come.
    pub(crate) fn confirm_soon(&mut self, key: LsaKey) {
        self.confirming |= key.ty == LsaType::ROUTER && self.is_ours(key.adv);
    }

    /// Looks which new neighbours have acknowledged a Router-LSA of ours that lists them.
    pub(crate) fn confirm_adjacencies(&mut self) {
        if !std::mem::take(&mut self.confirming) {
            return;
        }
        let now = self.now;
        let listing = self.interfaces_in_router_lsas();
        let mut confirmed = Vec::new();
        for (id, interface) in self.interfaces.iter() {
            let Some(key) = listing.get(&(interface.config.area, *id)) else {
                continue;
            };
            for (router_id, neighbor) in interface.full() {
                if neighbor.confirmation == Confirmation::Awaited
                    && neighbor.state == NeighborState::Full
                    && !neighbor.unacknowledged.contains_key(key)
                {
                    confirmed.push(Peer::new(*id, router_id));
                }
            }
        }
        for peer in confirmed {
            if let Some(neighbor) = self.neighbor_mut(peer) {
                neighbor.confirmation = Confirmation::Installing(now + INSTALL_TIME);
            }
        }
    }

    /// The interfaces of which a link stands in a Router-LSA of ours, by area, and the first such LSA.
    fn interfaces_in_router_lsas(&self) -> BTreeMap<(Ipv4Addr, u32), LsaKey> {
        let own = self.config.router_id;
        let mut listing = BTreeMap::new();
        for (id, database) in self.databases.iter() {
            let DbId::Area(area) = id else { continue };
            let lsas = database.of_type(LsaType::ROUTER);
            for entry in lsas.filter(|entry| entry.lsa.key().adv == own) {
                if let LsaBody::Router(router) = entry.lsa.body() {
                    for link in &router.links {
                        listing
                            .entry((*area, link.interface_id))
                            .or_insert(entry.lsa.key());
                    }
                }
            }
        }
        listing
    }
}
