//! What may go into the kernel, prefix by prefix.

use config::{OspfArea, Redistribute};
use linux::HostRoute;
use ospfv3::AreaConfig;

use super::*;

const STUB: Ipv4Addr = Ipv4Addr::new(0, 0, 0, 1);

fn prefix(text: &str) -> Prefix {
    let (address, length) = text.split_once('/').unwrap();
    let address: IpAddr = address.parse().unwrap();
    Prefix::new(address, length.parse().unwrap()).unwrap()
}

fn config() -> Ospf {
    Ospf {
        router_id: Ipv4Addr::new(10, 0, 0, 1),
        area: Ipv4Addr::UNSPECIFIED,
        hello_interval: 1,
        dead_interval: 4,
        cost: 10,
        bfd: None,
        instance_id: 0,
        ipv4: Some(64),
        retransmit_interval: 5,
        table: 254,
        route_metric: 20,
        redistribute: Redistribute {
            connected: false,
            statics: false,
            metric: 20,
            type2: true,
            only: Vec::new(),
        },
        accept_default: false,
        accept: Vec::new(),
        graceful_restart: 0,
        graceful_helper: true,
        graceful_strict: true,
    }
}

/// Tunnels to 10.77.0.9, on the link, and to 198.51.100.9, behind the gateway, over IPv6 to
/// 2001:db8:77::9, on the link; a service that others have too, and an address of our own.
fn desired() -> Desired {
    let address = |text: &str| text.parse().unwrap();
    Desired {
        endpoints: BTreeSet::from([
            address("10.77.0.1"),
            address("10.77.0.9"),
            address("198.51.100.9"),
            address("2001:db8:77::9"),
        ]),
        reserved: vec![address("2001:db8::80")],
        areas: vec![OspfArea {
            area: STUB,
            config: AreaConfig {
                stub: true,
                ..AreaConfig::default()
            },
        }],
        ..Desired::default()
    }
}

fn host() -> HostRoutes {
    let route = |destination: &str, gateway: Option<&str>| {
        let destination = prefix(destination);
        HostRoute {
            destination: destination.addr(),
            prefix_len: destination.len(),
            connected: gateway.is_none(),
            gateways: gateway.iter().map(|it| it.parse().unwrap()).collect(),
        }
    };
    HostRoutes {
        routes: vec![
            route("10.77.0.0/24", None),
            route("0.0.0.0/0", Some("10.77.0.254")),
            route("2001:db8:77::/64", None),
            route("fd00:77::/64", None),
            route("fd00:77::5/128", None),
            route("2001:db8::80/128", None),
            route("2001:db8:5::/48", Some("fd00:77::1")),
        ],
        addresses: ["10.77.0.1", "192.168.5.1", "2001:db8::80", "fd00:77::5"]
            .iter()
            .map(|it| it.parse().unwrap())
            .collect(),
    }
}

fn route(kind: PathKind, areas: &[Ipv4Addr]) -> Route {
    Route {
        metric: 10,
        type2_metric: None,
        kind,
        nexthops: Vec::new(),
        routers: vec![Ipv4Addr::new(10, 0, 0, 2)],
        areas: areas.to_vec(),
    }
}

fn judged(admission: &Admission, text: &str) -> Option<NotInstalled> {
    let external = route(PathKind::External, &[]);
    admission.judge(prefix(text), &external)
}

#[test]
fn what_neighbours_advertise_of_what_is_not_theirs_is_never_installed() {
    use NotInstalled::{
        Connected, Default, LinkLocal, Loopback, Martian, Multicast, Own, Underlay,
    };
    let admission = Admission::new(&config(), &desired(), &host());
    for (text, expected) in [
        // The smallest that have done harm.
        ("127.0.0.53/32", Some(Loopback)),
        ("224.0.0.5/32", Some(Multicast)),
        ("255.255.255.255/32", Some(Martian)),
        ("169.254.169.254/32", Some(LinkLocal)),
        ("::1/128", Some(Loopback)),
        ("ff02::5/128", Some(Multicast)),
        ("192.168.5.1/32", Some(Own)),
        ("fd00:77::5/128", Some(Own)),
        ("10.77.0.254/32", Some(Underlay)),
        ("0.0.0.0/0", Some(Default)),
        ("::/0", Some(Default)),
        // A default route in two halves, and the Internet.
        ("0.0.0.0/1", Some(Default)),
        ("128.0.0.0/1", Some(Default)),
        ("::/1", Some(Default)),
        ("8000::/1", Some(Default)),
        ("2000::/3", Some(Default)),
        // Parts of what is special, and what has it as a part.
        ("0.1.0.0/16", Some(Martian)),
        ("240.0.0.0/8", Some(Martian)),
        ("239.1.2.0/24", Some(Multicast)),
        ("169.254.0.0/15", Some(LinkLocal)),
        ("::/64", Some(Loopback)),
        ("::a00:1/128", Some(Martian)),
        ("::ffff:10.0.0.1/128", Some(Martian)),
        ("fe80::/64", Some(LinkLocal)),
        ("fe00::/8", Some(LinkLocal)),
        ("fe00::/7", Some(LinkLocal)),
        // What carries the tunnels: the way to a peer on the link, and to one behind the gateway, whose
        // route is the default route.
        ("10.77.0.9/32", Some(Underlay)),
        ("10.77.0.0/25", Some(Underlay)),
        ("198.51.100.9/32", Some(Underlay)),
        ("198.51.100.0/24", Some(Underlay)),
        ("2001:db8:77::9/128", Some(Underlay)),
        // What the host is connected to, and that alone.
        ("10.77.0.0/24", Some(Connected)),
        ("fd00:77::/64", Some(Connected)),
        // All else: services, also of addresses for documentation, that of one we have too; beside and
        // around what is ours.
        ("2001:db8::80/128", None),
        ("192.0.2.80/32", None),
        ("10.0.0.0/8", None),
        ("10.77.0.80/32", None),
        ("192.168.5.0/24", None),
        ("fd00:77::6/128", None),
        ("fd00::/8", None),
        ("fc00::/7", None),
        ("2001:db8:5::/48", None),
        ("64:ff9b::/96", None),
        ("2001:db8:e1::/48", None),
    ] {
        assert_eq!(judged(&admission, text), expected, "{text}");
    }
}

#[test]
fn a_default_route_where_it_is_asked_for() {
    let asked = Ospf {
        accept_default: true,
        ..config()
    };
    let admission = Admission::new(&asked, &desired(), &host());
    assert_eq!(judged(&admission, "::/0"), None);
    assert_eq!(judged(&admission, "2000::/3"), None);
    // Although a tunnel's peer is reached by the host's own default route, which this one displaces.
    assert_eq!(judged(&admission, "0.0.0.0/0"), None);

    let admission = Admission::new(&config(), &desired(), &host());
    let of = |kind, areas: &[Ipv4Addr]| admission.judge(prefix("::/0"), &route(kind, areas));
    let refused = Some(NotInstalled::Default);
    assert_eq!(of(PathKind::InterArea, &[STUB]), None);
    assert_eq!(of(PathKind::InterArea, &[Ipv4Addr::UNSPECIFIED]), refused);
    assert_eq!(of(PathKind::IntraArea, &[STUB]), refused);
    assert_eq!(of(PathKind::External, &[]), refused);
}

#[test]
fn only_what_is_accepted() {
    let accept = |text: &str, lengths| PrefixRange {
        prefix: prefix(text),
        lengths,
    };
    let some = Ospf {
        accept: vec![
            accept("2001:db8::/32", 128..=128),
            accept("192.0.2.0/24", 24..=32),
        ],
        ..config()
    };
    let admission = Admission::new(&some, &desired(), &host());
    let refused = Some(NotInstalled::NotAccepted);
    for (text, expected) in [
        ("2001:db8::81/128", None),
        ("2001:db8::/64", refused),
        ("2001:db9::81/128", refused),
        ("192.0.2.0/24", None),
        ("192.0.2.80/32", None),
        ("192.0.0.0/16", refused),
        // What is accepted is still not what carries the tunnels.
        ("2001:db8:77::9/128", Some(NotInstalled::Underlay)),
    ] {
        assert_eq!(judged(&admission, text), expected, "{text}");
    }
}

/// Without any route of the host's own, the ways to the peers are kept free all the same.
#[test]
fn a_host_of_which_nothing_is_known() {
    let admission = Admission::new(&config(), &desired(), &HostRoutes::default());
    let underlay = Some(NotInstalled::Underlay);
    assert_eq!(judged(&admission, "10.77.0.0/24"), underlay);
    assert_eq!(judged(&admission, "10.0.0.0/8"), underlay);
    assert_eq!(judged(&admission, "2001:db8::80/128"), None);
}
