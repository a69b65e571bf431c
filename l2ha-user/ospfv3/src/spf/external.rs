//! Routes through other areas and out of the AS: RFC 5340 4.8.4 and 4.8.5 with RFC 2328 16.2 and
//! 16.4. We are an area border router in no case: the summaries of every area we are in count.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::table::{Rank, Table};
use super::tree::{Path, Tree, Vertex};
use super::{AreaInput, PathKind};
use crate::config::Time;
use crate::lsdb::{Entry, Lsdb};
use crate::wire::{LsaBody, LsaType, PrefixOptions};

/// LSInfinity, RFC 2328 B: not reachable.
const INFINITY: u32 = 0x00ff_ffff;

/// Ways to AS boundary routers: intra-area ones win.
#[derive(Default)]
pub(super) struct Externals(BTreeMap<Ipv4Addr, (PathKind, Path)>);

impl Externals {
    /// The boundary routers of an area.
    pub(super) fn add_routers(&mut self, tree: &Tree<'_>) {
        for (router, node) in &tree.routers {
            if node.bits.external
                && let Some(path) = tree.paths.get(&Vertex::Router(*router))
            {
                self.offer(*router, PathKind::IntraArea, path.clone());
            }
        }
    }

    fn offer(&mut self, router: Ipv4Addr, kind: PathKind, path: Path) {
        match self.0.get_mut(&router) {
            Some((old_kind, old)) if (*old_kind, old.cost) == (kind, path.cost) => {
                old.nexthops.extend(path.nexthops);
            }
            Some((old_kind, old)) if (*old_kind, old.cost) < (kind, path.cost) => {}
            _ => {
                self.0.insert(router, (kind, path));
            }
        }
    }

    /// RFC 2328 16.4.
    pub(super) fn routes(&self, root: Ipv4Addr, now: Time, database: &Lsdb, table: &mut Table) {
        // Forwarding addresses are looked up among internal routes only.
        let mut found = Vec::new();
        for entry in database.of_type(LsaType::AS_EXTERNAL) {
            let adv = entry.lsa.key().adv;
            let LsaBody::AsExternal(body) = entry.lsa.body() else {
                continue;
            };
            let unusable = body.metric >= INFINITY
                || body.options.contains(PrefixOptions::NU)
                || body.prefix.is_link_local();
            if adv == root || entry.is_max_age(now) || unusable {
                continue;
            }
            let Some((_, router_path)) = self.0.get(&adv) else {
                continue;
            };
            let path = match body.forwarding.filter(|address| !address.is_unspecified()) {
                None => router_path.clone(),
                Some(address) => match table.lookup(address) {
                    Some((rank, path)) if rank.kind < PathKind::External => path,
                    _ => continue,
                },
            };
            let rank = if body.type2 {
                let type2_metric = Some(body.metric);
                Rank {
                    kind: PathKind::External,
                    type2_metric,
                    cost: path.cost,
                }
            } else {
                let cost = path.cost.saturating_add(body.metric);
                Rank {
                    kind: PathKind::External,
                    type2_metric: None,
                    cost,
                }
            };
            found.push((body.prefix, rank, path, adv));
        }
        for (prefix, rank, path, adv) in found {
            table.offer(prefix, rank, &path, adv);
        }
    }
}

/// The path to the border router that originated a summary, if it is one and can be reached.
fn border<'t>(input: &AreaInput<'_>, tree: &'t Tree<'_>, entry: &Entry) -> Option<&'t Path> {
    let adv = entry.lsa.key().adv;
    // RFC 2328 16.2 (1), (2)
    if adv == input.root || entry.is_max_age(input.now) {
        return None;
    }
    // RFC 2328 16.2 (4)
    if !tree.routers.get(&adv)?.bits.border {
        return None;
    }
    tree.paths.get(&Vertex::Router(adv))
}

/// RFC 5340 4.8.4, RFC 2328 16.2.
pub(super) fn inter_area(input: &AreaInput<'_>, tree: &Tree<'_>, table: &mut Table) {
    for entry in input.database.of_type(LsaType::INTER_AREA_PREFIX) {
        let LsaBody::InterAreaPrefix(body) = entry.lsa.body() else {
            continue;
        };
        let unusable = body.metric >= INFINITY
            || body.options.contains(PrefixOptions::NU)
            || body.prefix.is_link_local();
        if unusable {
            continue;
        }
        let Some(path) = border(input, tree, entry) else {
            continue;
        };
        let cost = path.cost.saturating_add(body.metric);
        let rank = Rank {
            kind: PathKind::InterArea,
            type2_metric: None,
            cost,
        };
        table.offer(body.prefix, rank, path, entry.lsa.key().adv);
    }
}

/// The boundary routers of other areas.
pub(super) fn inter_area_routers(
    input: &AreaInput<'_>,
    tree: &Tree<'_>,
    externals: &mut Externals,
) {
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
        let cost = path.cost.saturating_add(body.metric);
        let path = Path {
            cost,
            nexthops: path.nexthops.clone(),
        };
        externals.offer(body.destination, PathKind::InterArea, path);
    }
}
