//! Databases written by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use super::super::{AreaInput, Calculation, Input, Nexthop, RootLink, Route, demands_trees};
use crate::config::BACKBONE;
use crate::lsdb::{DbId, Lsdb, News, Origin};
use crate::wire::{
    Family, INITIAL_SEQUENCE, IntraAreaPrefix, LinkKind, Lsa, LsaBody, LsaKey, LsaType, Network,
    Options, Prefix, PrefixEntry, PrefixOptions, Router, RouterBits, RouterLink,
};

pub(super) const NORMAL: Options = Options::V6.union(Options::R).union(Options::E);
pub(super) const NOW: Duration = Duration::from_secs(100);

pub(super) fn id(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(number)
}

pub(super) fn prefix(text: &str) -> Prefix {
    let (addr, len) = text.split_once('/').unwrap();
    Prefix::new(addr.parse::<IpAddr>().unwrap(), len.parse().unwrap()).unwrap()
}

/// The link-local address of a router's interface.
pub(super) fn address(router: u32, interface: u32) -> IpAddr {
    let bits = 0xfe80 << 112 | u128::from(router) << 32 | u128::from(interface);
    IpAddr::V6(Ipv6Addr::from_bits(bits))
}

pub(super) fn p2p(metric: u16, own: u32, neighbor: u32, its: u32) -> RouterLink {
    RouterLink {
        kind: LinkKind::PointToPoint,
        metric,
        interface_id: own,
        neighbor_interface_id: its,
        neighbor_router_id: id(neighbor),
    }
}

pub(super) fn transit(metric: u16, own: u32, dr: u32, its: u32) -> RouterLink {
    RouterLink {
        kind: LinkKind::Transit,
        ..p2p(metric, own, dr, its)
    }
}

/// The area's database.
pub(super) const AREA: DbId = DbId::Area(BACKBONE);

pub(super) struct World {
    pub(super) family: Family,
    pub(super) databases: BTreeMap<DbId, Lsdb>,
    pub(super) one_way: bool,
    pub(super) links: Vec<RootLink>,
    pub(super) own: BTreeSet<Prefix>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            family: Family::default(),
            databases: [AREA, DbId::As]
                .map(|db| (db, Lsdb::default()))
                .into_iter()
                .collect(),
            one_way: false,
            links: Vec::new(),
            own: BTreeSet::new(),
        }
    }
}

impl World {
    pub(super) fn add(&mut self, ty: LsaType, lsid: u32, adv: u32, body: LsaBody) {
        let key = LsaKey {
            ty,
            id: lsid,
            adv: id(adv),
        };
        let lsa = Arc::new(Lsa::build(key, INITIAL_SEQUENCE, &body).unwrap());
        let db = if ty == LsaType::AS_EXTERNAL {
            DbId::As
        } else {
            AREA
        };
        let db = self.databases.get_mut(&db).unwrap();
        db.install(lsa, NOW, Origin::Flooded, None);
    }

    pub(super) fn router(&mut self, adv: u32, links: &[RouterLink]) {
        self.router_as(adv, 0, NORMAL, RouterBits::default(), links);
    }

    pub(super) fn router_as(
        &mut self,
        adv: u32,
        lsid: u32,
        options: Options,
        bits: RouterBits,
        links: &[RouterLink],
    ) {
        let links = links.to_vec();
        self.add(
            LsaType::ROUTER,
            lsid,
            adv,
            LsaBody::Router(Router {
                bits,
                options,
                links,
            }),
        );
    }

    pub(super) fn network(&mut self, dr: u32, interface: u32, attached: &[u32]) {
        let attached = attached.iter().copied().map(id).collect();
        let body = LsaBody::Network(Network {
            options: NORMAL,
            attached,
        });
        self.add(LsaType::NETWORK, interface, dr, body);
    }

    pub(super) fn prefixes(
        &mut self,
        adv: u32,
        of: (LsaType, u32),
        prefixes: &[(&str, u16, PrefixOptions)],
    ) {
        let entry = |(text, metric, options): &(&str, u16, PrefixOptions)| PrefixEntry {
            prefix: prefix(text),
            options: *options,
            metric: *metric,
        };
        let body = IntraAreaPrefix {
            referenced_type: of.0,
            referenced_id: of.1,
            referenced_router: id(adv),
            prefixes: prefixes.iter().map(entry).collect(),
        };
        self.add(
            LsaType::INTRA_AREA_PREFIX,
            of.1,
            adv,
            LsaBody::IntraAreaPrefix(body),
        );
    }

    pub(super) fn host(&mut self, adv: u32) {
        let text = format!("2001:db8::{adv}/128");
        self.prefixes(adv, (LsaType::ROUTER, 0), &[(&text, 0, PrefixOptions::LA)]);
    }

    /// A link of the root: over its interface to router `neighbor`'s interface.
    pub(super) fn root(&mut self, metric: u16, own: u32, neighbor: u32, its: u32) {
        let link = p2p(metric, own, neighbor, its);
        let address = Some(address(neighbor, its));
        self.links.push(RootLink {
            interface: own,
            link,
            address,
        });
    }

    fn inputs(&self, one_way: bool) -> Vec<AreaInput<'_>> {
        let input = AreaInput {
            family: self.family,
            area: BACKBONE,
            summaries: true,
            transit_external: true,
            root: id(1),
            links: self.links.clone(),
            one_way,
            networks: Vec::new(),
            edges: Arc::default(),
            database: &self.databases[&AREA],
            now: NOW,
        };
        vec![input]
    }

    pub(super) fn input(&self, news: Vec<(DbId, News)>, trees: bool) -> Input<'_> {
        Input {
            family: self.family,
            root: id(1),
            databases: &self.databases,
            areas: trees.then(|| {
                let both = [false, true]
                    .into_iter()
                    .take(1 + usize::from(self.one_way));
                both.map(|one_way| self.inputs(one_way)).collect()
            }),
            news,
            link_local: Box::new(|peer, interface| {
                Some(address(peer.router_id.to_bits(), interface))
            }),
            max_paths: 8,
            own: self.own.clone(),
            now: NOW,
        }
    }

    /// From nothing.
    pub(super) fn routes(&self) -> BTreeMap<Prefix, Route> {
        let mut routes = BTreeMap::new();
        let news = self.databases.keys().map(|db| (*db, News::All)).collect();
        Calculation::default().update(self.input(news, true), &mut routes);
        routes
    }

    /// Goes on from the last time.
    pub(super) fn follow(
        &mut self,
        links: bool,
        calculation: &mut Calculation,
        routes: &mut BTreeMap<Prefix, Route>,
    ) -> Vec<Prefix> {
        let databases = self.databases.iter_mut();
        let news: Vec<_> = databases.map(|(db, of)| (*db, of.take_news())).collect();
        let trees = links || demands_trees(&news);
        calculation.update(self.input(news, trees), routes).0
    }

    /// Metric and next hops.
    pub(super) fn route(&self, text: &str) -> Option<(u32, Vec<Nexthop>)> {
        self.routes()
            .remove(&prefix(text))
            .map(|route| (route.metric, route.nexthops))
    }

    /// 1 - 2 - 3 in a line, cost 10 each.
    pub(super) fn line() -> Self {
        let mut world = Self::default();
        world.root(10, 10, 2, 20);
        world.router(2, &[p2p(10, 20, 1, 10), p2p(10, 21, 3, 30)]);
        world.router(3, &[p2p(10, 30, 2, 21)]);
        world.host(2);
        world.host(3);
        world
    }
}

pub(super) fn via(interface: u32, router: u32, its: u32) -> Nexthop {
    Nexthop {
        interface,
        address: Some(address(router, its)),
    }
}
