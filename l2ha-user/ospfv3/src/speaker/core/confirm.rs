//! When a new adjacency takes traffic over: not before the neighbour knows the way back.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::Core;
use crate::lsdb::DbId;
use crate::neighbor::{Confirmation, NeighborState};
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
        for interface in self.interfaces.values_mut() {
            for neighbor in interface.neighbors.values_mut() {
                if neighbor.state == NeighborState::Full {
                    neighbor.confirmation = Confirmation::Given;
                }
            }
        }
    }

    /// Looks which new neighbours have acknowledged a Router-LSA of ours that lists them.
    pub(crate) fn confirm_adjacencies(&mut self) {
        let now = self.now;
        let new: Vec<(u32, Ipv4Addr, Ipv4Addr)> = self
            .interfaces
            .values()
            .flat_map(|interface| {
                let area = interface.config.area;
                let id = interface.config.id;
                interface
                    .full()
                    .filter(|(_, neighbor)| neighbor.confirmation == Confirmation::Awaited)
                    .map(move |(router_id, _)| (id, router_id, area))
            })
            .collect();
        for (id, router_id, area) in new {
            let Some(key) = self.router_lsa_listing(area, id) else {
                continue;
            };
            let Some(interface) = self.interfaces.get_mut(&id) else {
                continue;
            };
            let Some(neighbor) = interface.neighbors.get_mut(&router_id) else {
                continue;
            };
            if neighbor.state == NeighborState::Full && !neighbor.unacknowledged.contains_key(&key)
            {
                neighbor.confirmation = Confirmation::Installing(now + INSTALL_TIME);
            }
        }
    }

    /// The Router-LSA of ours in which a link of this interface stands.
    fn router_lsa_listing(&self, area: Ipv4Addr, interface: u32) -> Option<LsaKey> {
        let own = self.config.router_id;
        let database = self.databases.get(&DbId::Area(area))?;
        database
            .iter()
            .filter(|(key, _)| key.ty == LsaType::ROUTER && key.adv == own)
            .find(|(_, entry)| match entry.lsa.body() {
                LsaBody::Router(router) => router
                    .links
                    .iter()
                    .any(|link| link.interface_id == interface),
                _ => false,
            })
            .map(|(key, _)| *key)
    }
}
