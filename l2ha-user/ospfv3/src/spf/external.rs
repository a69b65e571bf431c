//! The ways to the routers that lead out of the AS: RFC 5340 4.8.5 with RFC 2328 16.4 and 16.4.1.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::table::Preference;
use super::tree::{Tree, Vertex};
use super::{AreaInput, BoundaryRoute, PathKind};
use crate::wire::Options;

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
                Arc::make_mut(&mut old.nexthops).extend(way.nexthops.iter());
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
}
