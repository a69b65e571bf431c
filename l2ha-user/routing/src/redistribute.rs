//! Routes of the kernel's that OSPF advertises as lying outside of the AS (RFC 2328 12.4.4).

use std::{collections::BTreeMap, net::IpAddr};

use config::Redistribute;
use linux::{ForeignRoute, RouteSource};
use ospfv3::{ExternalPrefix, Family, Prefix};

use crate::types::Desired;

/// The main table, whose routes are redistributed.
pub(crate) const TABLE: u32 = 254;

/// What of these routes is to be advertised in a family.
pub(crate) fn externals(
    family: Family,
    routes: &[ForeignRoute],
    config: &Redistribute,
    desired: &Desired,
) -> Vec<ExternalPrefix> {
    let wanted = routes.iter().filter(|route| match route.source {
        RouteSource::Connected => config.connected,
        RouteSource::Static => config.statics,
    });
    let prefixes = wanted
        .filter_map(|route| Some((route, Prefix::new(route.destination, route.prefix_len)?)))
        .filter(|(_, prefix)| prefix.family() == family)
        .filter(|(_, prefix)| {
            let mut only = config.only.iter();
            config.only.is_empty() || only.any(|only| only.has(*prefix))
        })
        .filter(|(route, prefix)| is_for_others(route, *prefix, desired))
        .map(|(_, prefix)| {
            let external = ExternalPrefix {
                prefix,
                metric: config.metric,
                type2: config.type2,
                tag: None,
            };
            (prefix, external)
        });
    // Of several routes to one prefix, one.
    let prefixes: BTreeMap<Prefix, ExternalPrefix> = prefixes.collect();
    prefixes.into_values().collect()
}

/// Whether a prefix may be advertised. Not of what has no meaning elsewhere; not of a service,
/// which is advertised while it is offered and not at all otherwise; and not of the network that
/// carries the tunnels, which a peer would then look for behind its own tunnel.
fn is_for_others(route: &ForeignRoute, prefix: Prefix, desired: &Desired) -> bool {
    let first = prefix.addr();
    let link_local = match first {
        IpAddr::V6(first) => first.is_unicast_link_local(),
        IpAddr::V4(first) => first.is_link_local(),
    };
    let local = first.is_loopback() || first.is_multicast() || first.is_unspecified() || link_local;
    let service = |address: &IpAddr| prefix == Prefix::host(*address);
    let carries = desired.endpoints.iter().any(|end| prefix.contains(*end))
        || (route.source == RouteSource::Connected
            && route.interface.is_some()
            && route.interface == desired.underlay);
    !local && !desired.reserved.iter().any(service) && !carries
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ospfv3::PrefixRange;

    use super::*;

    fn route(text: &str, source: RouteSource, interface: u32) -> ForeignRoute {
        let (address, length) = text.split_once('/').unwrap();
        ForeignRoute {
            destination: address.parse().unwrap(),
            prefix_len: length.parse().unwrap(),
            source,
            interface: Some(interface),
        }
    }

    fn named(routes: &[ForeignRoute], connected: bool, statics: bool) -> Vec<String> {
        named_of(Family::Ipv6, routes, (connected, statics), &[])
    }

    fn named_of(
        family: Family,
        routes: &[ForeignRoute],
        (connected, statics): (bool, bool),
        only: &[PrefixRange],
    ) -> Vec<String> {
        let config = Redistribute {
            connected,
            statics,
            metric: 7,
            type2: true,
            only: only.to_vec(),
        };
        let desired = Desired {
            reserved: vec![
                "2001:db8::80".parse().unwrap(),
                "192.0.2.80".parse().unwrap(),
            ],
            endpoints: BTreeSet::from([
                "2001:db8:77::9".parse().unwrap(),
                "10.77.0.9".parse().unwrap(),
            ]),
            underlay: Some(2),
            ..Desired::default()
        };
        let externals = externals(family, routes, &config, &desired);
        assert!(externals.iter().all(|e| (e.metric, e.type2) == (7, true)));
        let prefixes = externals.iter().map(|e| e.prefix.to_string());
        prefixes.collect()
    }

    #[test]
    fn only_what_means_something_to_others() {
        use RouteSource::{Connected, Static};
        let routes = [
            route("2001:db8:1::/64", Connected, 3),
            route("fd00:1::/64", Connected, 3),
            route("fe80::/64", Connected, 3),
            route("ff00::/8", Connected, 3),
            route("::1/128", Connected, 1),
            route("2001:db8::80/128", Connected, 1),
            route("2001:db8:78::/64", Connected, 2),
            route("2001:db8:77::/64", Static, 3),
            route("2001:db8:9::/48", Static, 2),
            route("2001:db8:9::/48", Static, 3),
            route("::/0", Static, 2),
            route("2001:db8::/64", Static, 3),
        ];
        let connected = ["2001:db8:1::/64", "fd00:1::/64"];
        assert_eq!(named(&routes, true, false), connected);
        assert_eq!(
            named(&routes, false, true),
            ["2001:db8::/64", "2001:db8:9::/48"]
        );
        assert_eq!(named(&routes, true, true).len(), 4);
        assert!(named(&routes, false, false).is_empty());
    }

    #[test]
    fn of_ipv4() {
        use RouteSource::{Connected, Static};
        let routes = [
            route("2001:db8:1::/64", Connected, 3),
            route("192.168.1.0/24", Connected, 3),
            route("169.254.0.0/16", Connected, 3),
            route("192.0.2.80/32", Connected, 1),
            route("10.78.0.0/24", Connected, 2),
            route("10.77.0.0/24", Static, 3),
            route("198.51.100.0/24", Static, 3),
            route("0.0.0.0/0", Static, 2),
            route("127.0.0.0/8", Static, 1),
        ];
        let found = named_of(Family::Ipv4, &routes, (true, true), &[]);
        assert_eq!(found, ["192.168.1.0/24", "198.51.100.0/24"]);
        let only = PrefixRange {
            prefix: Prefix::new([192, 168, 0, 0], 16).unwrap(),
            lengths: 16..=24,
        };
        let found = named_of(Family::Ipv4, &routes, (true, true), &[only]);
        assert_eq!(found, ["192.168.1.0/24"]);
    }
}
