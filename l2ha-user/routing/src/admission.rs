//! Which of the routes that OSPF has computed may go into the kernel: what neighbours advertise must
//! neither take what is this host's own nor lead its packets to the tunnels' other ends into the tunnels.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use config::Ospf;
use control::NotInstalled;
use linux::{HostRoute, HostRoutes};
use ospfv3::{Family, PathKind, Prefix, PrefixRange, Route};

use crate::types::Desired;

/// IPv4 prefixes shorter than this, that of 10.0.0.0/8, are a default route or a part of one, such as
/// 0.0.0.0/1.
const SHORTEST_IPV4: u8 = 8;
/// The same of IPv6: fc00::/7 is the shortest that is assigned as a whole; 2000::/3 is the Internet.
const SHORTEST_IPV6: u8 = 7;
/// Addresses that no packet leaves a host for (RFC 6890, RFC 1112 4), with what they are.
const IPV4_SPECIAL: [(Ipv4Addr, u8, NotInstalled); 5] = [
    (Ipv4Addr::UNSPECIFIED, 8, NotInstalled::Martian),
    (Ipv4Addr::new(127, 0, 0, 0), 8, NotInstalled::Loopback),
    (Ipv4Addr::new(169, 254, 0, 0), 16, NotInstalled::LinkLocal),
    (Ipv4Addr::new(224, 0, 0, 0), 4, NotInstalled::Multicast),
    (Ipv4Addr::new(240, 0, 0, 0), 4, NotInstalled::Martian),
];
/// The same of IPv6 (RFC 4291 2.4, 2.5.5).
const IPV6_SPECIAL: [(Ipv6Addr, u8, NotInstalled); 5] = [
    (Ipv6Addr::LOCALHOST, 128, NotInstalled::Loopback),
    (Ipv6Addr::UNSPECIFIED, 96, NotInstalled::Martian),
    (
        Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0),
        96,
        NotInstalled::Martian,
    ),
    (
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0),
        10,
        NotInstalled::LinkLocal,
    ),
    (
        Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0),
        8,
        NotInstalled::Multicast,
    ),
];

/// What is asked for, and what the host has, as it was last seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Admission {
    accept_default: bool,
    /// All prefixes if empty.
    accept: Vec<PrefixRange>,
    stub_areas: BTreeSet<Ipv4Addr>,
    /// Addresses of this host, without those of services, which others have too.
    own: BTreeSet<Prefix>,
    connected: BTreeSet<Prefix>,
    /// Addresses at the other ends of the underlay, and the length of the route that leads there.
    underlay: BTreeSet<(IpAddr, u8)>,
}

impl Admission {
    /// What holds on this host.
    pub(crate) fn new(config: &Ospf, desired: &Desired, host: &HostRoutes) -> Self {
        let reserved = desired.reserved.iter();
        let reserved: BTreeSet<Prefix> = reserved.map(|address| Prefix::host(*address)).collect();
        let stubs = desired.areas.iter().filter(|area| area.config.stub);
        let own = host.addresses.iter();
        let connected = host.routes.iter().filter(|route| route.connected);
        Self {
            accept_default: config.accept_default,
            accept: config.accept.clone(),
            stub_areas: stubs.map(|area| area.area).collect(),
            own: own
                .map(|address| Prefix::host(*address))
                .filter(|prefix| !reserved.contains(prefix))
                .collect(),
            connected: connected
                .filter_map(|route| Prefix::new(route.destination, route.prefix_len))
                // Linux has such a route for each IPv6 address, also on the loopback.
                .filter(|prefix| !reserved.contains(prefix))
                .collect(),
            underlay: underlay(&desired.endpoints, host),
        }
    }

    /// Why a route may not go into the kernel, if it may not.
    pub(crate) fn judge(&self, prefix: Prefix, route: &Route) -> Option<NotInstalled> {
        let shortest = match prefix.family() {
            Family::Ipv4 => SHORTEST_IPV4,
            Family::Ipv6 => SHORTEST_IPV6,
        };
        let is_default = prefix.len() < shortest;
        if is_default && !self.accept_default && !self.is_of_stub_area(prefix, route) {
            return Some(NotInstalled::Default);
        }
        if !is_default && let Some(what) = special(prefix) {
            return Some(what);
        }
        if self.own.contains(&prefix) {
            return Some(NotInstalled::Own);
        }
        if self.connected.contains(&prefix) {
            return Some(NotInstalled::Connected);
        }
        let within = self.underlay.range((prefix.addr(), 0)..);
        let mut within = within.take_while(|(address, _)| prefix.contains(*address));
        if !is_default && within.any(|(_, length)| prefix.len() >= *length) {
            return Some(NotInstalled::Underlay);
        }
        if !is_default && !self.accept.is_empty() && !self.accept.iter().any(|it| it.has(prefix)) {
            return Some(NotInstalled::NotAccepted);
        }
        None
    }

    /// Whether it is the default route of a border router into a stub area (RFC 2328 12.4.3.1): who
    /// configures one has asked for it.
    fn is_of_stub_area(&self, prefix: Prefix, route: &Route) -> bool {
        let mut areas = route.areas.iter();
        prefix.len() == 0
            && route.kind == PathKind::InterArea
            && !route.areas.is_empty()
            && areas.all(|area| self.stub_areas.contains(area))
    }
}

/// What a prefix is, if no packet may leave for a part of it.
fn special(prefix: Prefix) -> Option<NotInstalled> {
    let overlaps = |first: IpAddr, length| {
        let special = Prefix::new(first, length);
        prefix.contains(first) || special.is_some_and(|it| it.contains(prefix.addr()))
    };
    match prefix.family() {
        Family::Ipv4 => {
            let mut all = IPV4_SPECIAL.into_iter();
            all.find(|(first, length, _)| overlaps((*first).into(), *length))
                .map(|(_, _, what)| what)
        }
        Family::Ipv6 => {
            let mut all = IPV6_SPECIAL.into_iter();
            all.find(|(first, length, _)| overlaps((*first).into(), *length))
                .map(|(_, _, what)| what)
        }
    }
}

/// The ends of the tunnels and the gateways on the way to them, each with the length of the route that
/// leads there now. A route of OSPF that is as long or longer would take its place.
fn underlay(endpoints: &BTreeSet<IpAddr>, host: &HostRoutes) -> BTreeSet<(IpAddr, u8)> {
    let routes = ByPrefix::new(&host.routes);
    let ways = endpoints.iter().filter_map(|end| routes.longest(*end));
    let gateways: BTreeSet<IpAddr> = ways.flat_map(|it| it.gateways.iter().copied()).collect();
    let length = |address: &IpAddr| routes.longest(*address).map_or(0, |it| it.prefix_len);
    endpoints
        .union(&gateways)
        .map(|address| (*address, length(address)))
        .collect()
}

/// Routes by prefix: a tunnel's interface has routes too, so to look for each tunnel's end among all takes too long.
struct ByPrefix<'a> {
    routes: BTreeMap<Prefix, &'a HostRoute>,
    lengths: BTreeSet<u8>,
}

impl<'a> ByPrefix<'a> {
    fn new(routes: &'a [HostRoute]) -> Self {
        let by_prefix = routes.iter().filter_map(|route| {
            let prefix = Prefix::new(route.destination, route.prefix_len)?;
            Some((prefix, route))
        });
        Self {
            routes: by_prefix.collect(),
            lengths: routes.iter().map(|route| route.prefix_len).collect(),
        }
    }

    /// The route with the longest prefix that an address is within.
    fn longest(&self, address: IpAddr) -> Option<&'a HostRoute> {
        let mut lengths = self.lengths.iter().rev();
        lengths.find_map(|length| {
            let prefix = Prefix::new(address, *length)?;
            self.routes.get(&prefix).copied()
        })
    }
}

#[cfg(test)]
mod tests;
