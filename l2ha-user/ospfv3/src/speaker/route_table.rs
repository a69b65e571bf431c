//! Runs the route calculation and takes its result over.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::core::Core;
use crate::config::BACKBONE;
use crate::event::Event;
use crate::lsdb::{DbId, News};
use crate::spf::{
    self, Alternates, AreaInput, BoundaryRoute, Calculation, Input, Neighborhood, RootLink, Route,
};
use crate::wire::Prefix;

/// Destinations and the ways to them.
pub type Routes = BTreeMap<Prefix, Route>;

/// The routes, and what the next calculation goes on from.
#[derive(Clone, Debug, Default)]
pub(crate) struct RouteTable {
    calculation: Calculation,
    routes: Routes,
    /// The ways to AS boundary routers.
    boundary: BTreeMap<Ipv4Addr, BoundaryRoute>,
    /// Number of the last calculation.
    generation: u64,
}

impl RouteTable {
    pub(crate) const fn routes(&self) -> &Routes {
        &self.routes
    }

    pub(crate) const fn boundary(&self) -> &BTreeMap<Ipv4Addr, BoundaryRoute> {
        &self.boundary
    }

    pub(crate) const fn generation(&self) -> u64 {
        self.generation
    }

    /// Calculates. Whether there is news for other areas.
    pub(crate) fn calculate(
        &mut self,
        core: &mut Core,
        externals: impl Iterator<Item = Prefix>,
    ) -> bool {
        self.generation += 1;
        core.counters_mut().spf_runs += 1;
        let changed = self.compute(core, externals);
        if changed {
            core.event(Event::RoutesChanged);
        }
        let boundary = self.calculation.boundary();
        let moved = boundary != self.boundary;
        self.boundary = boundary;
        changed || moved
    }

    /// Brings the routes up to date. Whether any has changed.
    fn compute(&mut self, core: &mut Core, externals: impl Iterator<Item = Prefix>) -> bool {
        if core.is_stopped() {
            self.calculation = Calculation::default();
            return !std::mem::take(&mut self.routes).is_empty();
        }
        let databases = core.databases_mut();
        let news: Vec<(DbId, News)> = databases.map(|(id, db)| (id, db.take_news())).collect();
        let again = core.take_links() || spf::demands_trees(&news);
        let input = input(core, news, again, externals);
        let (changes, looked_at) = self.calculation.update(input, &mut self.routes);
        core.counters_mut().spf_trees += u64::from(again);
        core.counters_mut().spf_prefixes += looked_at as u64;
        !changes.is_empty()
    }

    /// See [`Speaker::alternates`](crate::Speaker::alternates).
    pub(crate) fn alternates(&self, core: &Core) -> Alternates {
        let mut found = Alternates::new();
        for area in core.configured_areas() {
            let Some(database) = core.databases().get(&DbId::Area(area)) else {
                continue;
            };
            let links = core.confirmed_links(area);
            let (family, root) = (core.config().family, core.config().router_id);
            Neighborhood::new(
                family,
                root,
                area,
                links,
                (database, core.edges()),
                core.now(),
            )
            .alternates(&self.routes, &mut found);
        }
        found
    }
}

fn input<'a>(
    core: &'a Core,
    news: Vec<(DbId, News)>,
    trees: bool,
    externals: impl Iterator<Item = Prefix>,
) -> Input<'a> {
    let now = core.now();
    let areas = core.configured_areas();
    // RFC 2328 16.2, RFC 3509 2.2
    let backbone_only = core.is_connected_border();
    let edges = core.edges();
    let inputs = |one_way: bool, links: &dyn Fn(Ipv4Addr) -> Vec<RootLink>| -> Vec<AreaInput<'_>> {
        areas
            .iter()
            .filter_map(|area| {
                Some(AreaInput {
                    family: core.config().family,
                    area: *area,
                    summaries: !backbone_only || *area == BACKBONE,
                    transit_external: !core.config().is_stub(*area),
                    root: core.config().router_id,
                    links: links(*area),
                    one_way,
                    networks: core.own_networks(*area),
                    edges: Arc::clone(edges),
                    database: core.databases().get(&DbId::Area(*area))?,
                    now,
                })
            })
            .collect()
    };
    let views = || {
        let mut views = Vec::new();
        if !core.all_confirmed() {
            // What can be reached without the adjacencies that are too new still is, until the
            // neighbour knows the way back; the rest has nothing to lose.
            views.push(inputs(false, &|area| core.confirmed_links(area)));
        }
        views.push(inputs(false, &|area| core.root_links(area)));
        // The neighbour's Router-LSA may have to wait for MinLSInterval: until then it may lack
        // the way back, and is better than none.
        views.push(inputs(true, &|area| core.root_links(area)));
        views
    };
    let own = areas
        .iter()
        .flat_map(|area| core.area_prefixes(*area))
        .map(|stub| stub.prefix)
        .chain(externals);
    Input {
        family: core.config().family,
        root: core.config().router_id,
        databases: core.databases(),
        news,
        areas: trees.then(views),
        link_local: Box::new(|peer, interface_id| core.link_lsa_address(peer, interface_id)),
        max_paths: core.config().max_paths,
        own: own.collect(),
        now,
    }
}
