//! Routes out of the AS, and the ways to the routers that lead there: RFC 5340 4.8.5 with RFC 2328
//! 16.4 and 16.4.1.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::table::{Offer, Preference, Rank, Table};
use super::tree::{Path, Tree, Vertex};
use super::{AreaInput, BoundaryRoute, INFINITY, PathKind};
use crate::lsdb::Lsdb;
use crate::wire::{LsaBody, LsaType, Options, PrefixOptions};

/// The best ways to AS boundary routers.
#[derive(Default)]
pub(super) struct Externals(BTreeMap<Ipv4Addr, BoundaryRoute>);

impl Externals {
    /// The boundary routers of an area.
    pub(super) fn add_routers(&mut self, input: &AreaInput<'_>, tree: &Tree<'_>) {
        if !input.transit_external {
            return;
        }
        for (router, node) in &tree.routers {
            // RFC 5340 A.2: without the R bit nothing is routed through it, to the outside neither.
            let leads_out = node.bits.external && node.options.contains(Options::R);
            if !leads_out || *router == input.root {
                continue;
            }
            let Some(path) = tree.paths.get(&Vertex::Router(*router)) else {
                continue;
            };
            let way = BoundaryRoute {
                kind: PathKind::IntraArea,
                cost: path.cost,
                nexthops: path.nexthops.clone(),
                areas: [input.area].into(),
                options: node.options,
            };
            self.offer(*router, way);
        }
    }

    pub(super) fn offer(&mut self, router: Ipv4Addr, way: BoundaryRoute) {
        let rank = |way: &BoundaryRoute| (Preference::of(way.kind, &way.areas), way.cost);
        match self.0.get_mut(&router) {
            Some(old) if rank(old) == rank(&way) && old.kind == way.kind => {
                old.nexthops.extend(way.nexthops);
                old.areas.extend(way.areas);
            }
            Some(old) if (rank(old), old.kind) < (rank(&way), way.kind) => {}
            _ => {
                self.0.insert(router, way);
            }
        }
    }

    pub(super) fn finish(self) -> BTreeMap<Ipv4Addr, BoundaryRoute> {
        self.0
    }

    /// RFC 2328 16.4.
    pub(super) fn routes(&self, input: &AreaInput<'_>, database: &Lsdb, table: &mut Table) {
        let (family, root, now) = (input.family, input.root, input.now);
        // Forwarding addresses are looked up among internal routes only.
        let mut found = Vec::new();
        for entry in database.of_type(LsaType::AS_EXTERNAL) {
            let adv = entry.lsa.key().adv;
            let LsaBody::AsExternal(body) = entry.lsa.body() else {
                continue;
            };
            let unusable = body.metric >= INFINITY
                || body.options.contains(PrefixOptions::NU)
                || body.prefix.family() != family
                || body.prefix.is_link_local();
            if adv == root || entry.is_max_age(now) || unusable {
                continue;
            }
            // RFC 2328 16.4 (3)
            let Some(way) = self.0.get(&adv) else {
                continue;
            };
            let (preference, path) =
                match body.forwarding.filter(|address| !address.is_unspecified()) {
                    None => {
                        let path = Path {
                            cost: way.cost,
                            nexthops: way.nexthops.clone(),
                        };
                        (Preference::of(way.kind, &way.areas), path)
                    }
                    Some(address) => match table.lookup(address) {
                        Some((rank, preference, path)) if rank.kind < PathKind::External => {
                            (preference, path)
                        }
                        _ => continue,
                    },
                };
            // RFC 2328 16.4 (5), (6)
            let (type2_metric, cost) = if body.type2 {
                (Some(body.metric), path.cost)
            } else {
                (None, path.cost.saturating_add(body.metric))
            };
            let rank = Rank {
                kind: PathKind::External,
                type2_metric,
                preference,
                cost,
            };
            found.push((body.prefix, rank, path, adv));
        }
        for (prefix, rank, path, router) in found {
            let offer = Offer {
                rank,
                path: &path,
                router,
                area: None,
            };
            table.offer(prefix, &offer);
        }
    }
}
