//! The shortest-path tree of one area, RFC 5340 4.8.1 with RFC 2328 16.1 and 16.1.1.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::{AreaInput, LinkLocal, Nexthop};
use crate::peer::Peer;
use crate::wire::{
    Family, IntraAreaPrefix, LinkKind, LsaBody, LsaType, Network, Options, Router, RouterBits,
    RouterLink,
};

/// A vertex. Networks sort before routers, as RFC 2328 16.1 (3) wants them taken first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Vertex {
    /// A transit network, by its Designated Router and that router's Interface ID.
    Network { router: Ipv4Addr, interface_id: u32 },
    /// A router.
    Router(Ipv4Addr),
}

impl Vertex {
    /// Whose prefixes an LSA of this router lists: its own, or those of a network of which it is
    /// Designated Router (RFC 5340 4.4.3.9).
    pub(super) fn described(body: &IntraAreaPrefix, router: Ipv4Addr) -> Option<Self> {
        let own = body.referenced_router == router;
        match (body.referenced_type, body.referenced_id) {
            (LsaType::ROUTER, 0) if own => Some(Self::Router(router)),
            (LsaType::NETWORK, interface_id) if own => Some(Self::Network {
                router,
                interface_id,
            }),
            _ => None,
        }
    }
}

/// How a vertex is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) cost: u32,
    /// Shared by all that is reached the same way.
    pub(super) nexthops: Arc<BTreeSet<Nexthop>>,
}

/// All Router-LSAs of one router taken together (RFC 5340 4.4.3.2).
#[derive(Clone, Debug, Default)]
pub(super) struct RouterNode {
    pub(super) options: Options,
    pub(super) bits: RouterBits,
    /// Whether it is at the edge, and so not crossed either.
    edge: bool,
    links: Vec<RouterLink>,
}

/// An area as its Router- and Network-LSAs draw it, and the tree through it.
pub(super) struct Tree<'a> {
    family: Family,
    pub(super) routers: BTreeMap<Ipv4Addr, RouterNode>,
    networks: BTreeMap<(Ipv4Addr, u32), &'a Network>,
    pub(super) paths: BTreeMap<Vertex, Path>,
    /// Adjacencies of the root that the neighbour's Router-LSA does not tell of.
    pub(super) one_way: Vec<RouterLink>,
}

impl<'a> Tree<'a> {
    pub(super) fn compute(input: &'a AreaInput<'a>, link_local: LinkLocal<'_>) -> Self {
        let mut tree = Self {
            family: input.family,
            routers: BTreeMap::new(),
            networks: BTreeMap::new(),
            paths: BTreeMap::new(),
            one_way: Vec::new(),
        };
        tree.read(input);
        tree.grow(input, link_local);
        tree
    }

    fn read(&mut self, input: &'a AreaInput<'a>) {
        let alive = |ty| {
            let entries = input.database.of_type(ty);
            entries.filter(|entry| !entry.is_max_age(input.now))
        };
        for entry in alive(LsaType::ROUTER) {
            if let LsaBody::Router(Router {
                bits,
                options,
                links,
            }) = entry.lsa.body()
            {
                let first = !self.routers.contains_key(&entry.lsa.key().adv);
                let node = self.routers.entry(entry.lsa.key().adv).or_default();
                if first {
                    // RFC 5340 4.4.3.2: the one with the lowest Link State ID decides.
                    node.options = *options;
                    node.bits = *bits;
                    node.edge = input.edges.contains(&entry.lsa.key().adv);
                }
                node.links.extend(links);
            }
        }
        for entry in alive(LsaType::NETWORK) {
            // Our own come from how things are, below.
            if entry.lsa.key().adv == input.root {
                continue;
            }
            if let LsaBody::Network(network) = entry.lsa.body() {
                self.networks
                    .insert((entry.lsa.key().adv, entry.lsa.key().id), network);
            }
        }
        for (interface_id, network) in &input.networks {
            self.networks.insert((input.root, *interface_id), network);
        }
        // Ourselves as we are, not as we last managed to say.
        let root = self.routers.entry(input.root).or_default();
        root.options = Options::V6.union(Options::R);
        root.links = input.links.iter().map(|root| root.link).collect();
        let links = input.links.iter().map(|root| root.link);
        self.one_way = links
            .filter(|link| link.kind == LinkKind::PointToPoint)
            .filter(|link| self.link_back(input.root, link).is_none())
            .collect();
    }

    /// Dijkstra's algorithm, RFC 2328 16.1.
    fn grow(&mut self, input: &AreaInput<'_>, link_local: LinkLocal<'_>) {
        let root = Vertex::Router(input.root);
        let mut candidates: BTreeMap<Vertex, Path> = BTreeMap::new();
        let mut queue: BTreeSet<(u32, Vertex)> = BTreeSet::new();
        candidates.insert(root, Path::default());
        queue.insert((0, root));
        while let Some((cost, vertex)) = queue.pop_first() {
            let Some(path) = candidates.remove(&vertex) else {
                continue;
            };
            self.paths.insert(vertex, path.clone());
            for (next, metric, link) in self.edges(input.root, vertex, input.one_way) {
                let next_cost = cost.saturating_add(metric);
                let better = candidates.get(&next).is_some_and(|it| it.cost < next_cost);
                if better {
                    continue;
                }
                let nexthops = self.nexthops(input, link_local, vertex, &path, next, link);
                if nexthops.is_empty() {
                    continue;
                }
                let candidate = candidates.entry(next).or_insert_with(|| Path {
                    cost: u32::MAX,
                    nexthops: Arc::default(),
                });
                if next_cost < candidate.cost {
                    queue.remove(&(candidate.cost, next));
                    queue.insert((next_cost, next));
                    *candidate = Path {
                        cost: next_cost,
                        nexthops,
                    };
                } else if candidate.nexthops != nexthops {
                    Arc::make_mut(&mut candidate.nexthops).extend(nexthops.iter());
                }
            }
        }
    }

    /// Where a vertex leads: only to vertices that lead back (RFC 2328 16.1 (2b)), and not to those that are in
    /// the tree already.
    fn edges(
        &self,
        root: Ipv4Addr,
        vertex: Vertex,
        one_way: bool,
    ) -> Vec<(Vertex, u32, Option<RouterLink>)> {
        match vertex {
            Vertex::Router(id) => {
                let Some(node) = self.routers.get(&id) else {
                    return Vec::new();
                };
                // RFC 5340 4.8.1: a router without the R bit is reached but not crossed.
                if id != root && (!node.options.contains(Options::R) || node.edge) {
                    return Vec::new();
                }
                let follow = |link: &RouterLink| self.follow(id, link, one_way && id == root);
                node.links
                    .iter()
                    .filter_map(|link| Some((follow(link)?, u32::from(link.metric), Some(*link))))
                    .collect()
            }
            Vertex::Network {
                router,
                interface_id,
            } => {
                let Some(network) = self.networks.get(&(router, interface_id)) else {
                    return Vec::new();
                };
                network
                    .attached
                    .iter()
                    .filter(|id| !self.paths.contains_key(&Vertex::Router(**id)))
                    .filter(|id| self.link_to_network(**id, router, interface_id).is_some())
                    .filter(|id| self.takes_part(**id))
                    .map(|id| (Vertex::Router(*id), 0, None))
                    .collect()
            }
        }
    }

    fn follow(&self, from: Ipv4Addr, link: &RouterLink, one_way: bool) -> Option<Vertex> {
        let to = link.neighbor_router_id;
        let next = match link.kind {
            LinkKind::PointToPoint => Vertex::Router(to),
            LinkKind::Transit => Vertex::Network {
                router: to,
                interface_id: link.neighbor_interface_id,
            },
            LinkKind::Virtual | LinkKind::Other(_) => return None,
        };
        // Asked first: it is true of half of all links.
        if self.paths.contains_key(&next) {
            return None;
        }
        let leads = match link.kind {
            LinkKind::PointToPoint => {
                (one_way || self.link_back(from, link).is_some()) && self.takes_part(to)
            }
            _ => {
                let network = self.networks.get(&(to, link.neighbor_interface_id));
                network.is_some_and(|network| network.attached.contains(&from))
            }
        };
        leads.then_some(next)
    }

    /// The other end of a point-to-point link: told from its parallels by both Interface IDs.
    fn link_back(&self, from: Ipv4Addr, link: &RouterLink) -> Option<&RouterLink> {
        let node = self.routers.get(&link.neighbor_router_id)?;
        node.links.iter().find(|back| {
            back.kind == LinkKind::PointToPoint
                && back.neighbor_router_id == from
                && back.interface_id == link.neighbor_interface_id
                && back.neighbor_interface_id == link.interface_id
        })
    }

    /// RFC 5340 4.8.1 and A.2: a router without the V6 bit takes no part in IPv6 routing. In other
    /// families that bit is ignored (RFC 5838 2.2).
    fn takes_part(&self, router: Ipv4Addr) -> bool {
        let node = self.routers.get(&router);
        node.is_some_and(|node| self.family != Family::Ipv6 || node.options.contains(Options::V6))
    }

    fn link_to_network(
        &self,
        from: Ipv4Addr,
        router: Ipv4Addr,
        interface_id: u32,
    ) -> Option<&RouterLink> {
        self.routers.get(&from)?.links.iter().find(|link| {
            link.kind == LinkKind::Transit
                && link.neighbor_router_id == router
                && link.neighbor_interface_id == interface_id
        })
    }

    /// RFC 2328 16.1.1 with RFC 5340 4.8.2.
    fn nexthops(
        &self,
        input: &AreaInput<'_>,
        link_local: LinkLocal<'_>,
        parent: Vertex,
        path: &Path,
        next: Vertex,
        link: Option<RouterLink>,
    ) -> Arc<BTreeSet<Nexthop>> {
        if parent == Vertex::Router(input.root) {
            // Our own link, which knows the neighbour; or the network itself.
            let links = input.links.iter();
            let hops = links
                .filter(|root| Some(root.link) == link)
                .map(|root| Nexthop {
                    interface: root.interface,
                    address: root.address,
                });
            return Arc::new(hops.collect());
        }
        let (
            Vertex::Network {
                router,
                interface_id,
            },
            Vertex::Router(to),
        ) = (parent, next)
        else {
            return Arc::clone(&path.nexthops);
        };
        let hops = path.nexthops.iter().filter_map(|hop| {
            if hop.address.is_some() {
                return Some(*hop);
            }
            // A network we are attached to: the router's own address on it.
            let its_link = self.link_to_network(to, router, interface_id)?;
            let address = link_local(Peer::new(hop.interface, to), its_link.interface_id)?;
            Some(Nexthop {
                interface: hop.interface,
                address: Some(address),
            })
        });
        Arc::new(hops.collect())
    }
}
