//! What we advertise into one area of the others as an area border router: RFC 5340 4.4.3.4 and 4.4.3.5 with
//! RFC 2328 12.4.3 and 12.4.3.1.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::Originator;
use super::desired::MAX_LINK_METRIC;
use crate::config::BACKBONE;
use crate::lsdb::DbId;
use crate::speaker::core::Core;
use crate::speaker::originated::Desired;
use crate::speaker::route_table::RouteTable;
use crate::spf::{INFINITY, PathKind};
use crate::wire::{
    InterAreaPrefix, InterAreaRouter, LsaBody, LsaKey, LsaType, Prefix, PrefixOptions,
};

/// A destination that may be advertised into other areas.
#[derive(Clone, Debug)]
struct Destination {
    kind: PathKind,
    cost: u32,
    /// The areas the path leads through: it is not advertised into these.
    areas: BTreeSet<Ipv4Addr>,
}

impl Destination {
    /// RFC 2328 12.4.3: whether it is advertised into an area. Into the backbone goes what is within our areas;
    /// what lies beyond them comes from the backbone and goes to the others. Without a neighbour in
    /// the backbone it would come from elsewhere, and stays where it is (RFC 3509 2.2).
    fn is_for(&self, area: Ipv4Addr, connected: bool) -> bool {
        let passed_on = match self.kind {
            PathKind::IntraArea => true,
            PathKind::InterArea => {
                connected && area != BACKBONE && self.areas == BTreeSet::from([BACKBONE])
            }
            PathKind::External => false,
        };
        passed_on && self.cost < INFINITY && !self.areas.contains(&area)
    }
}

impl Originator {
    pub(crate) fn desired_summaries(
        &mut self,
        core: &Core,
        table: &RouteTable,
        areas: &BTreeSet<Ipv4Addr>,
        desired: &mut Desired,
    ) {
        if !core.is_area_border() {
            return;
        }
        let prefixes = self.summary_prefixes(core, table, areas);
        let connected = core.is_connected_border();
        for area in areas {
            let config = core.config().area(*area);
            let stub = core.config().is_stub(*area);
            let mut told: BTreeMap<Prefix, u32> = BTreeMap::new();
            if !(stub && config.no_summary) {
                let wanted = prefixes.iter().filter(|(_, d)| d.is_for(*area, connected));
                told.extend(wanted.map(|(prefix, d)| (*prefix, d.cost)));
            }
            if stub {
                // RFC 2328 12.4.3.1
                told.insert(
                    Prefix::default_of(core.config().family),
                    config.default_cost.min(INFINITY - 1),
                );
            }
            self.desire_prefixes(core, *area, &told, desired);
            if !stub {
                self.desire_routers(core, table, *area, connected, desired);
            }
        }
    }

    /// Our own prefixes, and those we have routes to.
    fn summary_prefixes(
        &self,
        core: &Core,
        table: &RouteTable,
        areas: &BTreeSet<Ipv4Addr>,
    ) -> BTreeMap<Prefix, Destination> {
        let mut known: BTreeMap<Prefix, Destination> = BTreeMap::new();
        for area in areas {
            for stub in core.area_prefixes(*area) {
                let metric = if self.drained && stub.local {
                    MAX_LINK_METRIC
                } else {
                    stub.metric
                };
                let own = known.entry(stub.prefix).or_insert_with(|| Destination {
                    kind: PathKind::IntraArea,
                    cost: u32::from(metric),
                    areas: BTreeSet::new(),
                });
                own.cost = own.cost.min(u32::from(metric));
                own.areas.insert(*area);
            }
        }
        for (prefix, route) in table.routes() {
            if !self.no_transit && !known.contains_key(prefix) {
                let destination = Destination {
                    kind: route.kind,
                    cost: self.cost_through(route.metric),
                    areas: route.areas.iter().copied().collect(),
                };
                known.insert(*prefix, destination);
            }
        }
        known
    }

    /// While drained we are the last resort for other areas too.
    fn cost_through(&self, cost: u32) -> u32 {
        if self.drained && cost < INFINITY {
            INFINITY - 1
        } else {
            cost
        }
    }

    /// RFC 5340 4.4.3.4. The NU bit is clear: what is not for unicast has no route.
    fn desire_prefixes(
        &mut self,
        core: &Core,
        area: Ipv4Addr,
        told: &BTreeMap<Prefix, u32>,
        desired: &mut Desired,
    ) {
        let db = DbId::Area(area);
        let adv = core.config().router_id;
        let wanted: BTreeSet<Prefix> = told.keys().copied().collect();
        let ty = LsaType::INTER_AREA_PREFIX;
        for (prefix, id) in self.assign_ids(core, db, ty, &wanted) {
            let Some(metric) = told.get(prefix) else {
                continue;
            };
            let body = InterAreaPrefix {
                metric: *metric,
                prefix: *prefix,
                options: PrefixOptions::default(),
            };
            let key = LsaKey { ty, id: *id, adv };
            desired.insert((db, key), LsaBody::InterAreaPrefix(body));
        }
    }

    /// RFC 5340 4.4.3.5. The Link State ID means nothing there; the Router ID serves.
    fn desire_routers(
        &self,
        core: &Core,
        table: &RouteTable,
        area: Ipv4Addr,
        connected: bool,
        desired: &mut Desired,
    ) {
        if self.no_transit {
            return;
        }
        for (router, way) in table.boundary() {
            let destination = Destination {
                kind: way.kind,
                cost: self.cost_through(way.cost),
                areas: way.areas.clone(),
            };
            if !destination.is_for(area, connected) {
                continue;
            }
            let body = InterAreaRouter {
                options: way.options,
                metric: destination.cost,
                destination: *router,
            };
            let key = LsaKey {
                ty: LsaType::INTER_AREA_ROUTER,
                id: router.to_bits(),
                adv: core.config().router_id,
            };
            desired.insert((DbId::Area(area), key), LsaBody::InterAreaRouter(body));
        }
    }
}
