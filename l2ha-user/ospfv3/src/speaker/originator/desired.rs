//! What we should originate: the LSAs of RFC 5340 4.4.3 as they follow from interfaces, adjacencies and
//! prefixes at this moment.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use super::Originator;
use crate::config::{InterfaceConfig, StubPrefix};
use crate::interface::Interface;
use crate::lsdb::DbId;
use crate::peer::Peer;
use crate::speaker::core::Core;
use crate::speaker::originated::Desired;
use crate::speaker::restart::Restart;
use crate::speaker::route_table::RouteTable;
use crate::wire::{
    Family, IntraAreaPrefix, LSA_HEADER_LEN, LinkBody, LinkKind, LsaBody, LsaType, Options, Prefix,
    PrefixEntry, PrefixOptions, Router, RouterBits, RouterLink,
};

/// What no path is worth: MaxLinkMetric, RFC 6987 2.
pub(crate) const MAX_LINK_METRIC: u16 = 0xffff;
/// What a link costs more while we ourselves do not use it yet: more than any other path is likely to
/// cost. Where there is none, the link is used all the same.
const TENTATIVE: u16 = 0x4000;
/// Link State IDs of the Intra-Area-Prefix-LSAs: 1 to 0xffff carry one local prefix each, multiples
/// of 0x10000 carry all the others.
const GROUP_STEP: u32 = 0x1_0000;
/// A link has one Link-LSA, which should travel unfragmented.
const MAX_LINK_PREFIXES: usize = 50;

/// Link State IDs of the Intra-Area-Prefix-LSAs of networks: this and our Interface ID.
const NETWORK_IDS: u32 = 0x8000_0000;

impl Originator {
    /// Everything we should originate now.
    pub(crate) fn desired(
        &mut self,
        core: &mut Core,
        table: &RouteTable,
        restart: &Restart,
    ) -> Desired {
        let mut desired = Desired::new();
        if core.is_stopped() {
            return desired;
        }
        let areas = core.active_areas();
        for interface in core
            .interfaces()
            .values()
            .filter(|interface| interface.is_up())
        {
            let key = core.own_key(LsaType::LINK, interface.config.id);
            let options = core.config().options(interface.config.area);
            let body = link_lsa(core.config().family, &interface.config, options);
            desired.insert((DbId::Link(interface.config.id), key), body);
        }
        restart.desired_graces(core, &mut desired);
        if restart.is_resuming() {
            return desired;
        }
        self.desired_summaries(core, table, &areas, &mut desired);
        self.desired_externals(core, &areas, &mut desired);
        for area in areas {
            self.desired_router(core, area, &mut desired);
            self.desired_networks(core, area, &mut desired);
            self.desired_prefixes(core, area, &mut desired);
        }
        desired
    }

    /// RFC 5340 4.4.3.2.
    fn desired_router(&self, core: &Core, area: Ipv4Addr, desired: &mut Desired) {
        let links = self.advertised_links(core, area);
        let id = DbId::Area(area);
        let first = core.own_key(LsaType::ROUTER, 0);
        let unknown = core
            .databases()
            .get(&id)
            .is_none_or(|db| db.get(&first).is_none());
        if links.is_empty() && unknown {
            // Before the first adjacency there is no router to send it to, and an LSA without links now
            // would only hold the one with links back for MinLSInterval.
            return;
        }
        // R clear: no traffic through us (RFC 5340 4.8.1).
        let absent = if self.drained || self.no_transit {
            Options::R
        } else {
            Options::default()
        };
        let bits = RouterBits {
            virtual_link: false,
            external: self.is_as_boundary(core, area),
            border: core.is_area_border(),
        };
        let room = self.lsa_room(core, area) - 4;
        let most = (room / RouterLink::LEN).max(1);
        for (number, links) in (0u32..).zip(self.share_out(core, area, links, most)) {
            let body = Router {
                bits,
                options: core.config().options(area).without(absent),
                links,
            };
            desired.insert(
                (id, core.own_key(LsaType::ROUTER, number)),
                LsaBody::Router(body),
            );
        }
    }

    /// Our links in as many Router-LSAs as they need. A link stays in the one where it is: were all moved up when
    /// one goes, all of a large router's LSAs would be new.
    fn share_out(
        &self,
        core: &Core,
        area: Ipv4Addr,
        links: Vec<RouterLink>,
        most: usize,
    ) -> Vec<Vec<RouterLink>> {
        let end = |link: &RouterLink| Peer::new(link.interface_id, link.neighbor_router_id);
        let mut places: BTreeMap<Peer, usize> = BTreeMap::new();
        for (number, said) in Self::said(core, area).enumerate() {
            places.extend(said.iter().map(|link| (end(link), number)));
        }
        let mut shared: Vec<Vec<RouterLink>> = vec![Vec::new(); links.len().div_ceil(most).max(1)];
        let mut new = Vec::new();
        for link in links {
            let place = places.get(&end(&link)).copied();
            shared.resize(shared.len().max(place.map_or(0, |at| at + 1)), Vec::new());
            match place.and_then(|at| shared.get_mut(at)) {
                Some(lsa) if lsa.len() < most => lsa.push(link),
                _ => new.push(link),
            }
        }
        for link in new {
            match shared.iter_mut().find(|lsa| lsa.len() < most) {
                Some(lsa) => lsa.push(link),
                None => shared.push(vec![link]),
            }
        }
        for lsa in &mut shared {
            lsa.sort_unstable_by_key(end);
        }
        while shared.len() > 1 && shared.last().is_some_and(Vec::is_empty) {
            shared.pop();
        }
        shared
    }

    /// Our links as others are to see them. One that we do not use yet, because the neighbour may lack the
    /// way back, costs more: others would send us what we still send to them. One that was advertised before and
    /// has only come up again stays as it was.
    fn advertised_links(&self, core: &Core, area: Ipv4Addr) -> Vec<RouterLink> {
        let mut links = core.router_links(area);
        let confirmed = core.confirmed_links(area);
        let confirmed: BTreeSet<RouterLink> = confirmed.iter().map(|root| root.link).collect();
        let said: BTreeSet<RouterLink> = Self::said(core, area).flatten().copied().collect();
        // No transit traffic, or there is no other link to come over.
        let through = !self.no_transit && links.len() > 1;
        for link in &mut links {
            if self.drained {
                // RFC 6987 2
                link.metric = MAX_LINK_METRIC;
                continue;
            }
            // A network has no confirmation.
            let known = !through
                || link.kind != LinkKind::PointToPoint
                || confirmed.contains(link)
                || said.contains(link);
            if !known {
                link.metric = link.metric.saturating_add(TENTATIVE);
            }
        }
        links
    }

    /// The links of each of our Router-LSAs; none of one that is being withdrawn.
    fn said(core: &Core, area: Ipv4Addr) -> impl Iterator<Item = &[RouterLink]> {
        let database = core.databases().get(&DbId::Area(area));
        let key = |number| core.own_key(LsaType::ROUTER, number);
        (0..)
            .map_while(move |number| database?.get(&key(number)))
            .map(|entry| match entry.lsa.body() {
                LsaBody::Router(router) if !entry.is_max_age(core.now()) => router.links.as_slice(),
                _ => &[],
            })
    }

    /// RFC 5340 4.4.3.9.
    fn desired_prefixes(&mut self, core: &mut Core, area: Ipv4Addr, desired: &mut Desired) {
        let now = core.now();
        let mut local: BTreeMap<Prefix, u16> = BTreeMap::new();
        let mut others: BTreeMap<Prefix, u16> = BTreeMap::new();
        let undecided = core.interfaces().values();
        let undecided = undecided
            .filter_map(|interface| interface.undecided_until(now))
            .min();
        if let Some(at) = undecided {
            core.reconcile_by(at);
        }
        for stub in Self::router_prefixes(core, area) {
            let set = if stub.local { &mut local } else { &mut others };
            let metric = set.entry(stub.prefix).or_insert(stub.metric);
            *metric = stub.metric.min(*metric);
        }
        others.retain(|prefix, _| !local.contains_key(prefix));
        self.assign_prefix_ids(core, area, &local);
        let router = core.config().router_id;
        let body = |prefixes: Vec<PrefixEntry>| {
            LsaBody::IntraAreaPrefix(IntraAreaPrefix {
                referenced_type: LsaType::ROUTER,
                referenced_id: 0,
                referenced_router: router,
                prefixes,
            })
        };
        let id = DbId::Area(area);
        for (prefix, metric) in local {
            let Some(number) = self.prefix_ids.get(&(area, prefix)) else {
                continue;
            };
            let metric = if self.drained {
                MAX_LINK_METRIC
            } else {
                metric
            };
            let key = core.own_key(LsaType::INTRA_AREA_PREFIX, *number);
            desired.insert(
                (id, key),
                body(vec![PrefixEntry {
                    prefix,
                    // Without the LA bit: an anycast address is no address to find this router by, and RFC 5340
                    // A.4.1.1 leaves a host prefix's to us. FRR's border routers (8.4) copy the bit into
                    // Inter-Area-Prefix-LSAs, and its routers ignore those that have it.
                    options: PrefixOptions::default(),
                    metric,
                }]),
            );
        }
        let room = self.lsa_room(core, area) - IntraAreaPrefix::FIXED_LEN;
        let mut number = 0u32;
        let mut chunk: Vec<PrefixEntry> = Vec::new();
        let mut bytes = 0;
        for (prefix, metric) in others {
            let entry = PrefixEntry {
                prefix,
                options: PrefixOptions::default(),
                metric,
            };
            if bytes + entry.encoded_len() > room {
                let key = core.own_key(LsaType::INTRA_AREA_PREFIX, number);
                desired.insert((id, key), body(std::mem::take(&mut chunk)));
                number = number.wrapping_add(GROUP_STEP);
                bytes = 0;
            }
            bytes += entry.encoded_len();
            chunk.push(entry);
        }
        if !chunk.is_empty() {
            let key = core.own_key(LsaType::INTRA_AREA_PREFIX, number);
            desired.insert((id, key), body(chunk));
        }
    }

    /// Those that hang off our Router-LSA: not the ones of a transit network, which its Designated
    /// Router advertises (RFC 5340 4.4.3.9). Nor those of a network that is about to become one: to withdraw
    /// them a moment after they were advertised is what routers get wrong that are just exchanging them.
    fn router_prefixes(core: &Core, area: Ipv4Addr) -> impl Iterator<Item = &StubPrefix> {
        let now = core.now();
        let own = core.config().router_id;
        core.interfaces()
            .values()
            .filter(move |interface| interface.config.area == area && interface.advertises())
            .flat_map(move |interface| {
                let transit = interface.transit_network(own).is_some()
                    || interface.undecided_until(now).is_some();
                let prefixes = interface.config.prefixes.iter();
                prefixes.filter(move |stub| stub.local || !transit)
            })
            .filter(|stub| !stub.prefix.is_link_local())
    }

    /// RFC 5340 4.4.3.3 and 4.4.3.9: what we originate as Designated Router.
    fn desired_networks(&self, core: &Core, area: Ipv4Addr, desired: &mut Desired) {
        let id = DbId::Area(area);
        for (interface, network) in core.own_networks(area) {
            let key = core.own_key(LsaType::NETWORK, interface);
            desired.insert((id, key), LsaBody::Network(network));
            let prefixes = self.network_prefixes(core, interface);
            if prefixes.is_empty() {
                continue;
            }
            let body = IntraAreaPrefix {
                referenced_type: LsaType::NETWORK,
                referenced_id: interface,
                referenced_router: core.config().router_id,
                prefixes,
            };
            let key = core.own_key(LsaType::INTRA_AREA_PREFIX, NETWORK_IDS | interface);
            desired.insert((id, key), LsaBody::IntraAreaPrefix(body));
        }
    }

    /// The prefixes that the Link-LSAs of a link's routers name.
    fn network_prefixes(&self, core: &Core, id: u32) -> Vec<PrefixEntry> {
        let Some(interface) = core.interfaces().get(&id) else {
            return Vec::new();
        };
        let attached = interface
            .full()
            .map(|(router_id, neighbor)| (router_id, neighbor.interface_id))
            .chain([(core.config().router_id, id)]);
        let skip = PrefixOptions::NU.bits() | PrefixOptions::LA.bits();
        let mut prefixes: BTreeMap<Prefix, u8> = BTreeMap::new();
        for (router_id, interface_id) in attached {
            let Some(body) = core.link_lsa(Peer::new(id, router_id), interface_id) else {
                continue;
            };
            for entry in &body.prefixes {
                if entry.options.bits() & skip == 0 && !entry.prefix.is_link_local() {
                    *prefixes.entry(entry.prefix).or_default() |= entry.options.bits();
                }
            }
        }
        prefixes
            .into_iter()
            .take(MAX_LINK_PREFIXES)
            .map(|(prefix, options)| PrefixEntry {
                prefix,
                options: PrefixOptions::from_bits(options),
                metric: 0,
            })
            .collect()
    }

    /// Gives every local prefix an LSA of its own. A prefix that comes back soon after it was
    /// withdrawn gets a fresh one: another LSA, so MinLSInterval does not hold it back.
    fn assign_prefix_ids(&mut self, core: &Core, area: Ipv4Addr, local: &BTreeMap<Prefix, u16>) {
        self.prefix_ids
            .retain(|(of, prefix), _| *of != area || local.contains_key(prefix));
        let mut taken: BTreeSet<u32> = self
            .prefix_ids
            .iter()
            .filter(|((of, _), _)| *of == area)
            .map(|(_, number)| *number)
            .collect();
        let held = self.held_ids(core, DbId::Area(area), LsaType::INTRA_AREA_PREFIX);
        for (prefix, number) in self.prefix_ids_of_before(core, area) {
            let wanted = local.contains_key(&prefix) && (1..GROUP_STEP).contains(&number);
            if wanted && !self.prefix_ids.contains_key(&(area, prefix)) && taken.insert(number) {
                self.prefix_ids.insert((area, prefix), number);
            }
        }
        for prefix in local.keys() {
            if self.prefix_ids.contains_key(&(area, *prefix)) {
                continue;
            }
            let free = (1..GROUP_STEP).find(|n| !taken.contains(n) && !held.contains(n));
            let Some(number) = free else { return };
            taken.insert(number);
            self.prefix_ids.insert((area, *prefix), number);
        }
    }

    /// Bytes of body an LSA may have to travel unfragmented through the area.
    fn lsa_room(&self, core: &Core, area: Ipv4Addr) -> usize {
        let rooms = core
            .interfaces()
            .values()
            .filter(|interface| interface.config.area == area && interface.is_up())
            .map(Interface::body_room);
        rooms.min().unwrap_or(1200) - 4 - LSA_HEADER_LEN
    }
}

/// RFC 5340 4.4.3.8, RFC 5838 2.5.
fn link_lsa(family: Family, config: &InterfaceConfig, options: Options) -> LsaBody {
    let prefixes = config
        .prefixes
        .iter()
        .filter(|stub| !stub.local && !stub.prefix.is_link_local())
        .map(|stub| PrefixEntry {
            prefix: stub.prefix,
            options: PrefixOptions::default(),
            metric: 0,
        })
        .take(MAX_LINK_PREFIXES)
        .collect();
    LsaBody::Link(LinkBody {
        priority: config.priority,
        options,
        link_local: match family {
            Family::Ipv6 => IpAddr::V6(config.link_local),
            // RFC 5838 2.5
            Family::Ipv4 => IpAddr::V4(config.ipv4.unwrap_or(Ipv4Addr::UNSPECIFIED)),
        },
        prefixes,
    })
}
