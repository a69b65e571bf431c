//! Loop-free alternates, RFC 5286: where traffic can go at once when a neighbour is gone, before
//! anybody has computed anything.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::tree::{Tree, Vertex};
use super::{AreaInput, Nexthop, PathKind, RootLink, Route};
use crate::config::Time;
use crate::lsdb::Lsdb;
use crate::wire::{Family, LsaBody, LsaType, Network, Options, Prefix, PrefixOptions, Router};

/// The next hop to take instead, by destination and by the interface whose neighbour is gone.
pub type Alternates = BTreeMap<(Prefix, u32), Nexthop>;

/// An area as its neighbours see it.
pub(crate) struct Neighborhood {
    root: Ipv4Addr,
    /// Our links to neighbours on point-to-point links.
    links: Vec<RootLink>,
    views: BTreeMap<Ipv4Addr, View>,
}

/// What a neighbour's own calculation gives.
struct View {
    routers: BTreeMap<Ipv4Addr, u32>,
    prefixes: BTreeMap<Prefix, u32>,
}

impl Neighborhood {
    /// Computes the trees of all neighbours in an area.
    pub(crate) fn new(
        family: Family,
        root: Ipv4Addr,
        area: Ipv4Addr,
        links: Vec<RootLink>,
        (database, edges): (&Lsdb, &Arc<BTreeSet<Ipv4Addr>>),
        now: Time,
    ) -> Self {
        let links: Vec<RootLink> = links
            .into_iter()
            .filter(|link| link.address.is_some())
            .collect();
        let neighbors = links.iter().map(|link| link.link.neighbor_router_id);
        let views = neighbors
            .map(|neighbor| {
                let view = View::of(family, neighbor, area, (database, edges), now);
                (neighbor, view)
            })
            .collect();
        Self { root, links, views }
    }

    /// The alternates for the routes through this area.
    pub(crate) fn alternates(&self, routes: &BTreeMap<Prefix, Route>, found: &mut Alternates) {
        for (prefix, route) in routes {
            for hop in &route.nexthops {
                let nexthop = if route.kind == PathKind::IntraArea {
                    self.instead_of(*prefix, route.metric, hop)
                } else {
                    // Of next hops of equal cost none leads back.
                    let mut others = route.nexthops.iter();
                    others
                        .find(|other| other.interface != hop.interface)
                        .copied()
                };
                if let Some(nexthop) = nexthop {
                    found.insert((*prefix, hop.interface), nexthop);
                }
            }
        }
    }

    fn instead_of(&self, prefix: Prefix, metric: u32, hop: &Nexthop) -> Option<Nexthop> {
        let primary = self
            .links
            .iter()
            .find(|link| link.interface == hop.interface && (link.address == hop.address))?;
        let primary = primary.link.neighbor_router_id;
        let primary_cost = *self.views.get(&primary)?.prefixes.get(&prefix)?;
        let candidates = self.links.iter().filter_map(|link| {
            let neighbor = link.link.neighbor_router_id;
            let view = self.views.get(&neighbor)?;
            let cost = *view.prefixes.get(&prefix)?;
            // RFC 5286 3.1, inequality 1: not back through us.
            let back = *view.routers.get(&self.root)?;
            // Inequality 3: not through the neighbour that is gone. Of one that is not reached
            // at all, nothing goes through it.
            let through = view.routers.get(&primary);
            let clear = through.is_none_or(|through| cost < through.saturating_add(primary_cost));
            let loop_free = cost < back.saturating_add(metric);
            let other = link.interface != hop.interface && neighbor != primary;
            let total = cost.saturating_add(u32::from(link.link.metric));
            (other && loop_free && clear).then_some((total, link))
        });
        let (_, link) = candidates.min_by_key(|(total, link)| (*total, link.interface))?;
        Some(Nexthop {
            interface: link.interface,
            address: link.address,
        })
    }
}

impl View {
    fn of(
        family: Family,
        neighbor: Ipv4Addr,
        area: Ipv4Addr,
        (database, edges): (&Lsdb, &Arc<BTreeSet<Ipv4Addr>>),
        now: Time,
    ) -> Self {
        let (forwards, links) = router(neighbor, database, now);
        let forwards = forwards && !edges.contains(&neighbor);
        let input = AreaInput {
            family,
            area,
            summaries: false,
            transit_external: false,
            root: neighbor,
            links,
            one_way: false,
            networks: networks(neighbor, database, now),
            edges: Arc::clone(edges),
            database,
            now,
        };
        // Only distances matter, not next hops.
        let tree = Tree::compute(&input, &|_, _| Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)));
        let mut prefixes: BTreeMap<Prefix, u32> = BTreeMap::new();
        for entry in database.of_type(LsaType::INTRA_AREA_PREFIX) {
            let adv = entry.lsa.key().adv;
            let LsaBody::IntraAreaPrefix(body) = entry.lsa.body() else {
                continue;
            };
            let delivers = forwards || adv == neighbor;
            if entry.is_max_age(now) || !delivers {
                continue;
            }
            let vertex = Vertex::described(body, adv);
            let Some(path) = vertex.and_then(|vertex| tree.paths.get(&vertex)) else {
                continue;
            };
            for entry in &body.prefixes {
                if entry.options.contains(PrefixOptions::NU) {
                    continue;
                }
                let cost = path.cost.saturating_add(u32::from(entry.metric));
                let best = prefixes.entry(entry.prefix).or_insert(cost);
                *best = cost.min(*best);
            }
        }
        let routers = tree
            .paths
            .iter()
            .filter_map(|(vertex, path)| match vertex {
                Vertex::Router(id) => Some((*id, path.cost)),
                Vertex::Network { .. } => None,
            })
            .collect();
        Self { routers, prefixes }
    }
}

/// Whether a router forwards what is not for itself (RFC 5340 4.8.1), and its links as it tells them.
fn router(id: Ipv4Addr, database: &Lsdb, now: Time) -> (bool, Vec<RootLink>) {
    let mut forwards = false;
    let mut found = Vec::new();
    for entry in database.of_type(LsaType::ROUTER) {
        if entry.lsa.key().adv != id || entry.is_max_age(now) {
            continue;
        }
        if let LsaBody::Router(Router { options, links, .. }) = entry.lsa.body() {
            forwards |= options.contains(Options::R);
            found.extend(links.iter().map(|link| RootLink {
                interface: link.interface_id,
                link: *link,
                address: None,
            }));
        }
    }
    (forwards, found)
}

fn networks(router: Ipv4Addr, database: &Lsdb, now: Time) -> Vec<(u32, Network)> {
    database
        .of_type(LsaType::NETWORK)
        .filter(|entry| entry.lsa.key().adv == router && !entry.is_max_age(now))
        .filter_map(|entry| match entry.lsa.body() {
            LsaBody::Network(network) => Some((entry.lsa.key().id, network.clone())),
            _ => None,
        })
        .collect()
}
