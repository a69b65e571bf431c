//! What the border routers of an area say of other areas: RFC 5340 4.8.4 with RFC 2328 16.2.

use super::external::Externals;
use super::table::{Offer, Rank, Table};
use super::tree::{Path, Tree, Vertex};
use super::{AreaInput, BoundaryRoute, INFINITY, PathKind};
use crate::lsdb::Entry;
use crate::wire::{LsaBody, LsaType, Options, PrefixOptions};

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

/// Prefixes of other areas.
pub(super) fn inter_area(input: &AreaInput<'_>, tree: &Tree<'_>, table: &mut Table) {
    for entry in input.database.of_type(LsaType::INTER_AREA_PREFIX) {
        let LsaBody::InterAreaPrefix(body) = entry.lsa.body() else {
            continue;
        };
        let unusable = body.metric >= INFINITY
            || body.options.contains(PrefixOptions::NU)
            || body.prefix.family() != input.family
            || body.prefix.is_link_local();
        if unusable {
            continue;
        }
        let Some(path) = border(input, tree, entry) else {
            continue;
        };
        let cost = path.cost.saturating_add(body.metric);
        let offer = Offer {
            rank: Rank::internal(PathKind::InterArea, cost),
            path,
            router: entry.lsa.key().adv,
            area: Some(input.area),
        };
        table.offer(body.prefix, &offer);
    }
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
