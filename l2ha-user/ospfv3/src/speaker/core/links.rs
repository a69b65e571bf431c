//! The links of our Router-LSA, RFC 5340 4.4.3.2.

use std::net::{IpAddr, Ipv4Addr};

use super::Core;
use crate::config::{InterfaceKind, StubPrefix, Time};
use crate::interface::Interface;
use crate::lsdb::DbId;
use crate::neighbor::{Confirmation, Neighbor};
use crate::peer::Peer;
use crate::spf::RootLink;
use crate::wire::{LinkBody, LinkKind, LsaBody, LsaKey, LsaType, Network, RouterLink};

/// An adjacency that is just being formed, and so not worth a Router-LSA without it: two
/// originations in a row would be MinLSInterval apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forming {
    pub(crate) peer: Peer,
    /// When to wait no more.
    pub(crate) until: Time,
}

impl Core {
    /// Our links in an area, at their real cost.
    pub(crate) fn router_links(&self, area: Ipv4Addr) -> Vec<RouterLink> {
        self.root_links(area)
            .into_iter()
            .map(|root| root.link)
            .collect()
    }

    /// The adjacencies that are likely to be Full in a moment.
    pub(crate) fn forming(&self, area: Ipv4Addr) -> Vec<Forming> {
        let now = self.now;
        self.adjacencies(area)
            .filter_map(|(peer, neighbor)| {
                let until = neighbor.forming_until.filter(|until| *until > now)?;
                Some(Forming { peer, until })
            })
            .collect()
    }

    /// Our part of the shortest-path tree: as things are, even if the Router-LSA that says so has
    /// to wait for MinLSInterval. A second failure is thus routed around as fast as a first.
    pub(crate) fn root_links(&self, area: Ipv4Addr) -> Vec<RootLink> {
        self.root_links_if(area, |_| true)
    }

    /// Those of [`Self::root_links`] whose neighbour can surely send back.
    pub(crate) fn confirmed_links(&self, area: Ipv4Addr) -> Vec<RootLink> {
        self.root_links_if(area, |neighbor| {
            neighbor.confirmation == Confirmation::Given
        })
    }

    fn root_links_if(&self, area: Ipv4Addr, wanted: impl Fn(&Neighbor) -> bool) -> Vec<RootLink> {
        let mut links = Vec::new();
        for interface in self.up_in(area) {
            if interface.config.kind == InterfaceKind::Broadcast {
                links.extend(self.transit_link(interface));
                continue;
            }
            let full = interface.full().filter(|(_, neighbor)| wanted(neighbor));
            links.extend(full.map(|(router_id, neighbor)| RootLink {
                interface: interface.config.id,
                link: link(
                    interface,
                    LinkKind::PointToPoint,
                    router_id,
                    neighbor.interface_id,
                ),
                address: Some(
                    self.next_hop_address(Peer::new(interface.config.id, router_id), neighbor),
                ),
            }));
        }
        links
    }

    fn transit_link(&self, interface: &Interface) -> Option<RootLink> {
        let (dr, its_id) = interface.transit_network(self.config.router_id)?;
        Some(RootLink {
            interface: interface.config.id,
            link: link(interface, LinkKind::Transit, dr, its_id),
            address: None,
        })
    }

    /// The networks of an area that we speak for as Designated Router, by Interface ID, with the
    /// body of the Network-LSA: as they are. RFC 5340 4.4.3.3.
    pub(crate) fn own_networks(&self, area: Ipv4Addr) -> Vec<(u32, Network)> {
        let own = self.config.router_id;
        self.up_in(area)
            .filter(|interface| {
                let network = interface.transit_network(own);
                network == Some((own, interface.config.id))
            })
            .map(|interface| {
                let mut network = Network {
                    options: self.config.options(area),
                    attached: vec![own],
                };
                for (router_id, neighbor) in interface.full() {
                    network.attached.push(router_id);
                    let link_lsa = self.link_lsa(
                        Peer::new(interface.config.id, router_id),
                        neighbor.interface_id,
                    );
                    if let Some(body) = link_lsa {
                        network.options = network.options.union(body.options);
                    }
                }
                (interface.config.id, network)
            })
            .collect()
    }

    /// Prefixes of an area's interfaces that are up.
    pub(crate) fn area_prefixes(&self, area: Ipv4Addr) -> impl Iterator<Item = &StubPrefix> {
        self.interfaces
            .values()
            .filter(move |interface| interface.config.area == area && interface.advertises())
            .flat_map(|interface| &interface.config.prefixes)
            // RFC 5340 4.4.3.9: no link-local prefixes.
            .filter(|stub| !stub.prefix.is_link_local())
    }

    fn up_in(&self, area: Ipv4Addr) -> impl Iterator<Item = &Interface> {
        self.interfaces
            .values()
            .filter(move |interface| interface.config.area == area && interface.is_up())
    }

    fn adjacencies(&self, area: Ipv4Addr) -> impl Iterator<Item = (Peer, &Neighbor)> {
        self.up_in(area).flat_map(|interface| {
            let neighbors = interface.neighbors.iter();
            neighbors.map(|(id, neighbor)| (Peer::new(interface.config.id, *id), neighbor))
        })
    }

    /// RFC 5340 4.8.2: the link-local address in the neighbour's Link-LSA; where it originates none
    /// (4.4.3.8 lets it), the source of its Hellos.
    fn next_hop_address(&self, peer: Peer, neighbor: &Neighbor) -> IpAddr {
        self.link_lsa_address(peer, neighbor.interface_id)
            .unwrap_or(neighbor.address.into())
    }

    /// The same of any router on a link: its address in the Link-LSA that it has under an Interface ID.
    pub(crate) fn link_lsa_address(&self, peer: Peer, interface_id: u32) -> Option<IpAddr> {
        let advertised = self
            .link_lsa(peer, interface_id)
            .map(|body| body.link_local)
            .filter(|address| self.is_on_link(peer.interface, *address));
        let heard = || Some(IpAddr::V6(self.neighbor(peer)?.address));
        advertised.or_else(heard)
    }

    /// Whether what a Link-LSA names can be a next hop here. An IPv4 address can if our own prefixes
    /// on the link hold it (RFC 5838 2.5). A router that has none there is reached by its link-local
    /// address, to which IPv4 packets go as well (in the manner of RFC 8950).
    fn is_on_link(&self, interface: u32, address: IpAddr) -> bool {
        match address {
            IpAddr::V6(address) => address.is_unicast_link_local(),
            IpAddr::V4(_) => self.interfaces.get(&interface).is_some_and(|interface| {
                let mut prefixes = interface.config.prefixes.iter();
                prefixes.any(|stub| !stub.local && stub.prefix.contains(address))
            }),
        }
    }

    /// A router's Link-LSA.
    pub(crate) fn link_lsa(&self, peer: Peer, interface_id: u32) -> Option<&LinkBody> {
        let key = LsaKey {
            ty: LsaType::LINK,
            id: interface_id,
            adv: peer.router_id,
        };
        let entry = self.databases.get(&DbId::Link(peer.interface))?.get(&key)?;
        match entry.lsa.body() {
            LsaBody::Link(body) if !entry.is_max_age(self.now) => Some(body),
            _ => None,
        }
    }
}

fn link(interface: &Interface, kind: LinkKind, router_id: Ipv4Addr, its_id: u32) -> RouterLink {
    RouterLink {
        kind,
        metric: interface.config.cost,
        interface_id: interface.config.id,
        neighbor_interface_id: its_id,
        neighbor_router_id: router_id,
    }
}
