//! Runs the route calculation and takes its result over.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::Speaker;
use crate::config::{BACKBONE, Time};
use crate::event::Event;
use crate::lsdb::{DbId, News};
use crate::spf::{self, Alternates, AreaInput, Calculation, Input, Neighborhood, RootLink};
use crate::wire::Prefix;

impl Speaker {
    pub(super) fn run_spf_if_due(&mut self) {
        let now = self.now;
        // RFC 3623 2.2 (2): the routes of before the restart stay until it is over.
        if !self.spf.take_due(now) || self.is_resuming() {
            return;
        }
        self.counters.spf_runs += 1;
        let changes = self.compute_routes();
        let changed = !changes.is_empty();
        self.changes.extend(changes);
        if changed {
            self.event(Event::RoutesChanged);
        }
        let boundary = self.calculation.boundary();
        let moved = boundary != self.boundary;
        self.boundary = boundary;
        if (changed || moved) && self.is_area_border() {
            // RFC 2328 12.4.3: other areas hear of it.
            self.reconcile_soon();
            self.settle();
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

    /// Brings the routes up to date. Gives the prefixes whose route has changed.
    fn compute_routes(&mut self) -> Vec<Prefix> {
        let _now = self.now;
        if self.stopped {
            self.calculation = Calculation::default();
            return std::mem::take(&mut self.routes).into_keys().collect();
        }
        let databases = self.databases.iter_mut();
        let news: Vec<(DbId, News)> = databases.map(|(id, db)| (*id, db.take_news())).collect();
        let again = self.spf.take_links() || spf::demands_trees(&news);
        let mut calculation = std::mem::take(&mut self.calculation);
        let mut routes = std::mem::take(&mut self.routes);
        let (changes, looked_at) = calculation.update(self.input(news, again), &mut routes);
        self.calculation = calculation;
        self.routes = routes;
        self.counters.spf_trees += u64::from(again);
        self.counters.spf_prefixes += looked_at as u64;
        changes
    }

    fn input(&self, news: Vec<(DbId, News)>, trees: bool) -> Input<'_> {
        let now = self.now;
        let areas: BTreeSet<Ipv4Addr> = self
            .interfaces
            .values()
            .map(|interface| interface.config.area)
            .collect();
        // RFC 2328 16.2, RFC 3509 2.2
        let backbone_only = self.is_connected_border();
        let inputs =
            |one_way: bool, links: &dyn Fn(Ipv4Addr) -> Vec<RootLink>| -> Vec<AreaInput<'_>> {
                areas
                    .iter()
                    .filter_map(|area| {
                        Some(AreaInput {
                            family: self.config.family,
                            area: *area,
                            summaries: !backbone_only || *area == BACKBONE,
                            transit_external: !self.config.is_stub(*area),
                            root: self.config.router_id,
                            links: links(*area),
                            one_way,
                            networks: self.own_networks(*area),
                            database: self.databases.get(&DbId::Area(*area))?,
                            now,
                        })
                    })
                    .collect()
            };
        let views = || {
            let mut views = Vec::new();
            if !self.all_confirmed() {
                // What can be reached without the adjacencies that are too new still is, until the
                // neighbour knows the way back; the rest has nothing to lose.
                views.push(inputs(false, &|area| self.confirmed_links(area)));
            }
            views.push(inputs(false, &|area| self.root_links(area)));
            // The neighbour's Router-LSA may have to wait for MinLSInterval: until then it may lack
            // the way back, and is better than none.
            views.push(inputs(true, &|area| self.root_links(area)));
            views
        };
        let own = areas
            .iter()
            .flat_map(|area| self.area_prefixes(*area))
            .map(|stub| stub.prefix)
            .chain(self.externals.keys().copied());
        Input {
            family: self.config.family,
            root: self.config.router_id,
            databases: &self.databases,
            news,
            areas: trees.then(views),
            link_local: Box::new(|interface, router_id, interface_id| {
                self.link_lsa_address(interface, router_id, interface_id)
            }),
            max_paths: self.config.max_paths,
            own: own.collect(),
            now,
        }
    }
}
