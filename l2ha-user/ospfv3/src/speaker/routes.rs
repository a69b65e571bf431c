//! Runs the route calculation and takes its result over.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::Speaker;
use crate::config::{BACKBONE, Time};
use crate::event::Event;
use crate::lsdb::{DbId, Lsdb};
use crate::spf::{self, Alternates, AreaInput, Found, Neighborhood, RootLink};
use crate::wire::Prefix;

impl Speaker {
    pub(super) fn run_spf_if_due(&mut self, now: Time) {
        // RFC 3623 2.2 (2): the routes of before the restart stay until it is over.
        if !self.spf.take_due(now) || self.is_resuming() {
            return;
        }
        self.counters.spf_runs += 1;
        let Found {
            routes, boundary, ..
        } = self.compute_routes(now);
        let changed = routes != self.routes;
        if changed {
            self.routes = routes;
            self.event(Event::RoutesChanged);
        }
        let moved = boundary != self.boundary;
        self.boundary = boundary;
        if (changed || moved) && self.is_area_border() {
            // RFC 2328 12.4.3: other areas hear of it.
            self.reconcile_soon(now);
            self.settle(now);
        }
    }

    /// Where traffic for a destination may go at once when the neighbour on an interface is gone: a
    /// way that leads neither back to us nor through that neighbour (RFC 5286). Of destinations
    /// that have no such way there is nothing.
    pub fn alternates(&self, now: Time) -> Alternates {
        let mut found = Alternates::new();
        let areas: BTreeSet<Ipv4Addr> = self
            .interfaces
            .values()
            .map(|interface| interface.config.area)
            .collect();
        for area in areas {
            let Some(database) = self.databases.get(&DbId::Area(area)) else {
                continue;
            };
            let links = self.confirmed_links(area);
            let (family, root) = (self.config.family, self.config.router_id);
            Neighborhood::new(family, root, area, links, database, now)
                .alternates(&self.routes, &mut found);
        }
        found
    }

    fn compute_routes(&self, now: Time) -> Found {
        if self.stopped {
            return Found::default();
        }
        let areas: BTreeSet<Ipv4Addr> = self
            .interfaces
            .values()
            .map(|interface| interface.config.area)
            .collect();
        // RFC 2328 16.2, RFC 3509 2.2
        let backbone_only = self.is_connected_border();
        let empty = Lsdb::default();
        let inputs =
            |one_way: bool, links: &dyn Fn(Ipv4Addr) -> Vec<RootLink>| -> Vec<AreaInput<'_>> {
                areas
                    .iter()
                    .map(|area| AreaInput {
                        family: self.config.family,
                        area: *area,
                        summaries: !backbone_only || *area == BACKBONE,
                        transit_external: !self.config.is_stub(*area),
                        root: self.config.router_id,
                        links: links(*area),
                        one_way,
                        networks: self.own_networks(*area),
                        database: self.databases.get(&DbId::Area(*area)).unwrap_or(&empty),
                        now,
                    })
                    .collect()
            };
        let external = self.databases.get(&DbId::As).unwrap_or(&empty);
        let link_local = |interface, router_id, interface_id| {
            self.link_lsa_address(interface, router_id, interface_id)
        };
        let own: BTreeSet<Prefix> = areas
            .iter()
            .flat_map(|area| self.area_prefixes(*area))
            .map(|stub| stub.prefix)
            .chain(self.externals.keys().copied())
            .collect();
        let compute = |inputs: &[AreaInput<'_>]| {
            spf::routes(inputs, external, &link_local, self.config.max_paths)
        };
        let better = |found: &mut Found, mut than: Found| {
            found.routes.append(&mut than.routes);
            found.boundary.append(&mut than.boundary);
        };
        let mut found = compute(&inputs(false, &|area| self.root_links(area)));
        if found.one_way {
            // The neighbour's Router-LSA may have to wait for MinLSInterval: until then it may lack
            // the way back, and is better than none.
            let proven = found;
            found = compute(&inputs(true, &|area| self.root_links(area)));
            better(&mut found, proven);
        }
        if !self.all_confirmed() {
            // What can be reached without the adjacencies that are too new still is, until the
            // neighbour knows the way back; the rest has nothing to lose.
            let old = compute(&inputs(false, &|area| self.confirmed_links(area)));
            better(&mut found, old);
        }
        // What we have ourselves is nearest here: an anycast address of ours never leads away.
        found.routes.retain(|prefix, _| !own.contains(prefix));
        found
    }
}
