//! What the border routers of an area say of boundary routers in other areas: RFC 5340 4.8.4 with
//! RFC 2328 16.2.

use super::external::Externals;
use super::tree::{Path, Tree, Vertex};
use super::{AreaInput, BoundaryRoute, INFINITY, PathKind};
use crate::lsdb::Entry;
use crate::wire::{LsaBody, LsaType, Options};

/// The path to the border router that originated a summary, if it is one and can be reached.
fn border<'t>(input: &AreaInput<'_>, tree: &'t Tree<'_>, entry: &Entry) -> Option<&'t Path> {
    let adv = entry.lsa.key().adv;
    // RFC 2328 16.2 (1), (2)
    if adv == input.root || entry.is_max_age(input.now) {
        return None;
    }
    // RFC 2328 16.2 (4). Without the R bit nothing is routed through it (RFC 5340 A.2).
    let node = tree.routers.get(&adv)?;
    if !node.bits.border || !node.options.contains(Options::R) {
        return None;
    }
    tree.paths.get(&Vertex::Router(adv))
}

/// The boundary routers of other areas.
pub(super) fn inter_area_routers(
    input: &AreaInput<'_>,
    tree: &Tree<'_>,
    externals: &mut Externals,
) {
    if !input.transit_external {
        return;
    }
    for entry in input.database.of_type(LsaType::INTER_AREA_ROUTER) {
        let LsaBody::InterAreaRouter(body) = entry.lsa.body() else {
            continue;
        };
        if body.metric >= INFINITY || body.destination == input.root {
            continue;
        }
        let Some(path) = border(input, tree, entry) else {
            continue;
        };
        let way = BoundaryRoute {
            kind: PathKind::InterArea,
            cost: path.cost.saturating_add(body.metric),
            nexthops: path.nexthops.clone(),
            areas: [input.area].into(),
            options: body.options,
        };
        externals.offer(body.destination, way);
    }
}
