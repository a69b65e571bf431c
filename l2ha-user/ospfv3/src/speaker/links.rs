//! The links of our Router-LSA, RFC 5340 4.4.3.2.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::Speaker;
use crate::config::Time;
use crate::interface::Interface;
use crate::lsdb::DbId;
use crate::neighbor::{Neighbor, NeighborState};
use crate::spf::RootLink;
use crate::wire::{LinkKind, LsaBody, LsaKey, LsaType, RouterLink};

/// An adjacency that is just being formed, and so not worth a Router-LSA without it: two
/// originations in a row would be MinLSInterval apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Forming {
    interface: u32,
    router_id: Ipv4Addr,
    /// When to wait no more.
    pub(super) until: Time,
}

impl Forming {
    pub(super) fn is(&self, link: &RouterLink) -> bool {
        (self.interface, self.router_id) == (link.interface_id, link.neighbor_router_id)
    }
}

impl Speaker {
    /// Our links in an area, at their real cost.
    pub(super) fn router_links(&self, area: Ipv4Addr) -> Vec<RouterLink> {
        self.root_links(area)
            .into_iter()
            .map(|root| root.link)
            .collect()
    }

    /// The adjacencies that are likely to be Full in a moment.
    pub(super) fn forming(&self, now: Time, area: Ipv4Addr) -> Vec<Forming> {
        self.adjacencies(area)
            .filter_map(|(interface, router_id, neighbor)| {
                let until = neighbor.hopeful_until.filter(|until| *until > now)?;
                let interface = interface.config.id;
                Some(Forming {
                    interface,
                    router_id,
                    until,
                })
            })
            .collect()
    }

    /// Our part of the shortest-path tree: as things are, even if the Router-LSA that says so has
    /// to wait for MinLSInterval. A second failure is thus routed around as fast as a first.
    pub(super) fn root_links(&self, area: Ipv4Addr) -> Vec<RootLink> {
        self.adjacencies(area)
            .filter(|(_, _, neighbor)| neighbor.state == NeighborState::Full)
            .map(|(interface, router_id, neighbor)| RootLink {
                interface: interface.config.id,
                link: link(interface, router_id, neighbor),
                address: Some(self.next_hop_address(interface, router_id, neighbor)),
            })
            .collect()
    }

    fn adjacencies(
        &self,
        area: Ipv4Addr,
    ) -> impl Iterator<Item = (&Interface, Ipv4Addr, &Neighbor)> {
        self.interfaces
            .values()
            .filter(move |interface| interface.config.area == area && interface.speaks())
            .flat_map(|interface| {
                interface
                    .neighbors
                    .iter()
                    .map(move |(id, neighbor)| (interface, *id, neighbor))
            })
    }

    /// RFC 5340 4.8.2: the link-local address in the neighbour's Link-LSA; where it originates none
    /// (4.4.3.8 lets it), the source of its Hellos.
    fn next_hop_address(
        &self,
        interface: &Interface,
        router_id: Ipv4Addr,
        neighbor: &Neighbor,
    ) -> Ipv6Addr {
        self.link_lsa_address(interface.config.id, router_id, neighbor.interface_id)
            .unwrap_or(neighbor.address)
    }

    pub(super) fn link_lsa_address(
        &self,
        interface: u32,
        router_id: Ipv4Addr,
        interface_id: u32,
    ) -> Option<Ipv6Addr> {
        let key = LsaKey {
            ty: LsaType::LINK,
            id: interface_id,
            adv: router_id,
        };
        let entry = self.databases.get(&DbId::Link(interface))?.get(&key)?;
        match entry.lsa.body() {
            LsaBody::Link(body) if !entry.is_max_age(self.clock) => body
                .link_local
                .is_unicast_link_local()
                .then_some(body.link_local),
            _ => None,
        }
    }
}

fn link(interface: &Interface, router_id: Ipv4Addr, neighbor: &Neighbor) -> RouterLink {
    RouterLink {
        kind: LinkKind::PointToPoint,
        metric: interface.config.cost,
        interface_id: interface.config.id,
        neighbor_interface_id: neighbor.interface_id,
        neighbor_router_id: router_id,
    }
}
