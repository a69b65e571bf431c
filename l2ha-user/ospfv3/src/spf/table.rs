//! From trees to routes: intra-area prefixes (RFC 5340 4.8.2) and what competes for a prefix.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use super::external::Externals;
use super::inter_area::{inter_area, inter_area_routers};
use super::tree::{Path, Tree, Vertex};
use super::{AreaInput, Found, LinkLocal, Nexthop, PathKind, Route};
use crate::config::BACKBONE;
use crate::lsdb::Lsdb;
use crate::wire::{Family, LsaBody, LsaType, Prefix, PrefixOptions};

/// How good a path is; the lesser wins. RFC 2328 11 and 16.4 (6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) kind: PathKind,
    /// None, which type 1 and internal paths have, is less than any.
    pub(super) type2_metric: Option<u32>,
    /// Of an external path, how it gets to the boundary router.
    pub(super) preference: Preference,
    pub(super) cost: u32,
}

/// RFC 2328 16.4.1: a way within an area other than the backbone is better than the rest, which is
/// equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Preference {
    WithinAnArea,
    #[default]
    Other,
}

impl Preference {
    pub(super) fn of(kind: PathKind, areas: &BTreeSet<Ipv4Addr>) -> Self {
        if kind == PathKind::IntraArea && !areas.contains(&BACKBONE) {
            Self::WithinAnArea
        } else {
            Self::Other
        }
    }
}

impl Rank {
    pub(super) fn internal(kind: PathKind, cost: u32) -> Self {
        Self {
            kind,
            type2_metric: None,
            preference: Preference::default(),
            cost,
        }
    }
}

/// A way as it is offered.
pub(super) struct Offer<'a> {
    pub(super) rank: Rank,
    pub(super) path: &'a Path,
    /// Who advertises the destination.
    pub(super) router: Ipv4Addr,
    /// The area it leads through; none out of the AS.
    pub(super) area: Option<Ipv4Addr>,
}

/// The routes found so far.
#[derive(Default)]
pub(super) struct Table(BTreeMap<Prefix, Best>);

struct Best {
    rank: Rank,
    nexthops: BTreeSet<Nexthop>,
    routers: BTreeSet<Ipv4Addr>,
    areas: BTreeSet<Ipv4Addr>,
}

impl Table {
    /// Offers a path to a prefix: kept if it is the best, joined if it is as good.
    pub(super) fn offer(&mut self, prefix: Prefix, offer: &Offer<'_>) {
        match self.0.get_mut(&prefix) {
            Some(best) if best.rank < offer.rank => {}
            Some(best) if best.rank == offer.rank => {
                best.nexthops.extend(&offer.path.nexthops);
                best.routers.insert(offer.router);
                best.areas.extend(offer.area);
            }
            _ => {
                let best = Best {
                    rank: offer.rank,
                    nexthops: offer.path.nexthops.clone(),
                    routers: BTreeSet::from([offer.router]),
                    areas: offer.area.into_iter().collect(),
                };
                self.0.insert(prefix, best);
            }
        }
    }

    /// The longest match for an address, for forwarding addresses.
    pub(super) fn lookup(&self, addr: IpAddr) -> Option<(Rank, Preference, Path)> {
        (0..=Family::of(addr).bits()).rev().find_map(|len| {
            let best = self.0.get(&Prefix::new(addr, len)?)?;
            let path = Path {
                cost: best.rank.cost,
                nexthops: best.nexthops.clone(),
            };
            let preference = Preference::of(best.rank.kind, &best.areas);
            Some((best.rank, preference, path))
        })
    }

    fn finish(self, max_paths: usize) -> BTreeMap<Prefix, Route> {
        self.0
            .into_iter()
            .filter(|(_, best)| !best.nexthops.is_empty())
            .map(|(prefix, best)| {
                let route = Route {
                    metric: best.rank.cost,
                    type2_metric: best.rank.type2_metric,
                    kind: best.rank.kind,
                    nexthops: best.nexthops.into_iter().take(max_paths.max(1)).collect(),
                    routers: best.routers.into_iter().collect(),
                    areas: best.areas.into_iter().collect(),
                };
                (prefix, route)
            })
            .collect()
    }
}

/// The whole calculation.
pub(crate) fn routes(
    areas: &[AreaInput<'_>],
    external: &Lsdb,
    link_local: LinkLocal<'_>,
    max_paths: usize,
) -> Found {
    let mut table = Table::default();
    let mut externals = Externals::default();
    let trees: Vec<Tree<'_>> = areas
        .iter()
        .map(|area| Tree::compute(area, link_local))
        .collect();
    for (area, tree) in areas.iter().zip(&trees) {
        intra_area(area, tree, &mut table);
        externals.add_routers(area, tree);
    }
    for (area, tree) in areas.iter().zip(&trees) {
        if !area.summaries {
            continue;
        }
        inter_area(area, tree, &mut table);
        inter_area_routers(area, tree, &mut externals);
    }
    if let Some(area) = areas.first() {
        externals.routes(area, external, &mut table);
    }
    Found {
        routes: table.finish(max_paths),
        boundary: externals.finish(),
        one_way: trees.iter().any(|tree| !tree.one_way.is_empty()),
    }
}

/// RFC 5340 4.8.2: the prefixes that hang off the vertices of the tree.
fn intra_area(input: &AreaInput<'_>, tree: &Tree<'_>, table: &mut Table) {
    for entry in input.database.of_type(LsaType::INTRA_AREA_PREFIX) {
        let adv = entry.lsa.key().adv;
        let LsaBody::IntraAreaPrefix(body) = entry.lsa.body() else {
            continue;
        };
        // RFC 5340 4.4.3.9: whoever describes a router or a network describes its own.
        if entry.is_max_age(input.now) || body.referenced_router != adv || adv == input.root {
            continue;
        }
        let vertex = match (body.referenced_type, body.referenced_id) {
            (LsaType::ROUTER, 0) => Vertex::Router(adv),
            (LsaType::NETWORK, interface_id) => Vertex::Network {
                router: adv,
                interface_id,
            },
            _ => continue,
        };
        let Some(path) = tree.paths.get(&vertex) else {
            continue;
        };
        for prefix in &body.prefixes {
            // RFC 5838 2.3: what does not conform to the family is not used.
            let unusable = prefix.options.contains(PrefixOptions::NU)
                || prefix.prefix.family() != input.family
                || prefix.prefix.is_link_local();
            if unusable {
                continue;
            }
            let cost = path.cost.saturating_add(u32::from(prefix.metric));
            let offer = Offer {
                rank: Rank::internal(PathKind::IntraArea, cost),
                path,
                router: adv,
                area: Some(input.area),
            };
            table.offer(prefix.prefix, &offer);
        }
    }
}
