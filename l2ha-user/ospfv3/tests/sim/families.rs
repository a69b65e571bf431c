//! IPv4 routed by OSPFv3 (RFC 5838).

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ospfv3::wire::{
    ALL_SPF_ROUTERS, Header, Hello, INITIAL_SEQUENCE, LinkBody, Lsa, LsaBody, LsaKey, LsaType,
    Options, Packet, PacketBody,
};
use ospfv3::{
    Event, ExternalPrefix, Family, InterfaceConfig, InterfaceKind, Mismatch, NeighborState,
    PathFailure, Peer, Prefix, Refusal, StubPrefix,
};

use crate::net::{Frame, Lan, Net, Weather, hop, link_local, local, router_id};

fn own(node: usize) -> Prefix {
    Prefix::host(Ipv4Addr::new(10, 255, 0, node as u8 + 1))
}

/// Nodes that route IPv4 and have an address of their own each.
fn build(seed: u64, count: usize, links: &[(usize, usize, u16)]) -> Net {
    let mut net = Net::drawn(seed, count, links);
    net.family = Family::Ipv4;
    for node in 0..count {
        net.start_with(node, vec![local(own(node))]);
    }
    net
}

/// Changes an interface of a running node.
fn change(net: &mut Net, link: usize, side: usize, edit: impl FnOnce(&mut InterfaceConfig)) {
    let end = net.links[link].ends[side];
    let mut config = net.interface_config(end, net.links[link].cost);
    edit(&mut config);
    let now = net.now;
    net.with(end.node, |speaker| speaker.add_interface(now, config));
}

/// Gives both ends of a link addresses of one IPv4 network, or of two.
fn number(net: &mut Net, link: usize, addresses: [&str; 2]) {
    for (side, text) in addresses.iter().enumerate() {
        let address: Ipv4Addr = text.parse().unwrap();
        change(net, link, side, |config| {
            config.ipv4 = Some(address);
            config.prefixes = vec![StubPrefix {
                prefix: Prefix::new(address, 30).unwrap(),
                metric: 10,
                local: false,
            }];
        });
    }
}

fn next_hops(net: &Net, node: usize, prefix: Prefix) -> Vec<IpAddr> {
    let route = net.node(node).routes().get(&prefix);
    let hops = route.into_iter().flat_map(|route| &route.nexthops);
    hops.filter_map(|hop| hop.address).collect()
}

fn refused(net: &Net, node: usize, reason: Refusal) -> u64 {
    let counters = net.node(node).counters();
    counters.refused.get(&reason).copied().unwrap_or(0)
}

fn all_full(net: &Net, node: usize) -> bool {
    let neighbors = net.node(node).neighbors();
    !neighbors.is_empty() && neighbors.iter().all(|n| n.state == NeighborState::Full)
}

#[test]
fn links_without_ipv4_lead_to_link_local_addresses() {
    let mut net = build(1, 3, &[(0, 1, 10), (1, 2, 10)]);
    net.run(Duration::from_secs(10));
    assert!(all_full(&net, 1), "{}", net.describe());
    let to_1 = hop(net.links[0].ends[1]);
    for node in [1, 2] {
        assert_eq!(next_hops(&net, 0, own(node)), [to_1]);
    }
    assert_eq!(net.node(0).routes().len(), 2);
    let told = net
        .node(0)
        .database()
        .lsas
        .into_iter()
        .find_map(|lsa| match lsa.body {
            LsaBody::Link(body) if lsa.own => Some(body),
            _ => None,
        });
    let told = told.expect("a Link-LSA of our own");
    assert_eq!(told.link_local, IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    // RFC 5838 2.2
    assert!(told.options.contains(Options::AF) && !told.options.contains(Options::V6));
    let neighbor = &net.node(0).neighbors()[0];
    assert_eq!(
        neighbor.options,
        Options::AF.union(Options::E).union(Options::R)
    );
}

/// RFC 5838 2.5: the IPv4 address of the neighbour's Link-LSA, if it is on the link as we know it.
#[test]
fn numbered_links_lead_to_ipv4_addresses() {
    let mut net = build(2, 3, &[(0, 1, 10), (1, 2, 10)]);
    number(&mut net, 0, ["10.0.0.1", "10.0.0.2"]);
    // The two ends of this one are in different networks.
    number(&mut net, 1, ["10.0.1.1", "10.0.2.1"]);
    net.run(Duration::from_secs(10));
    let on_link = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
    assert_eq!(next_hops(&net, 0, own(1)), [on_link]);
    assert_eq!(next_hops(&net, 0, own(2)), [on_link]);
    assert_eq!(next_hops(&net, 1, own(2)), [hop(net.links[1].ends[1])]);
    let network = Prefix::new(Ipv4Addr::new(10, 0, 2, 0), 30).unwrap();
    assert_eq!(next_hops(&net, 0, network), [on_link], "{}", net.describe());
    // The address goes, the adjacency stays.
    change(&mut net, 0, 1, |_| {});
    net.run(Duration::from_secs(10));
    assert_eq!(next_hops(&net, 0, own(1)), [hop(net.links[0].ends[1])]);
    assert_eq!(net.node(0).counters().adjacencies_lost, 0);
}

#[test]
fn an_anycast_address_moves() {
    let mut net = build(3, 3, &[(0, 1, 10), (0, 2, 100)]);
    for node in [1, 2] {
        net.set_prefixes(node, vec![local(own(node)), local(net.anycast())]);
    }
    net.run(Duration::from_secs(10));
    let ends = [hop(net.links[0].ends[1]), hop(net.links[1].ends[1])];
    assert_eq!(next_hops(&net, 0, net.anycast()), [ends[0]]);
    let out = net.links[0].ends[0].interface;
    let now = net.now;
    let alternates = net.node(0).alternates();
    let alternate = alternates.get(&(net.anycast(), out)).expect("an alternate");
    assert_eq!(alternate.address, Some(ends[1]));
    net.with(0, |speaker| {
        speaker.path_failed(now, Peer::new(out, router_id(1)), PathFailure::Unconfirmed)
    });
    net.run(Duration::from_millis(10));
    assert_eq!(next_hops(&net, 0, net.anycast()), [ends[1]]);
    net.run(Duration::from_secs(10));
    assert_eq!(next_hops(&net, 0, net.anycast()), [ends[0]], "it is back");
    net.stop(1);
    net.run(Duration::from_millis(100));
    assert_eq!(
        next_hops(&net, 0, net.anycast()),
        [ends[1]],
        "{}",
        net.describe()
    );
}

#[test]
fn a_network_in_foul_weather_converges() {
    let links: Vec<(usize, usize, u16)> = (0..8)
        .flat_map(|n| [(n, (n + 1) % 8, 10), (n, (n + 3) % 8, 25)])
        .collect();
    for seed in 0..5 {
        let mut net = build(seed, 8, &links);
        net.weather = Weather::STORM;
        net.run(Duration::from_secs(60));
        net.crash(3);
        net.run(Duration::from_secs(60));
        net.weather = Weather::FAIR;
        net.run(Duration::from_secs(60));
        for node in (0..8).filter(|node| *node != 3) {
            let others = (0..8).filter(|to| *to != node && *to != 3);
            let wanted: Vec<Prefix> = others.map(own).collect();
            let found: Vec<Prefix> = net.node(node).routes().keys().copied().collect();
            assert_eq!(found, wanted, "seed {seed} node {node}\n{}", net.describe());
        }
    }
}

/// RFC 5838 2.4, and its exception for IPv6.
#[test]
fn who_knows_no_families_is_refused_outside_of_ipv6() {
    for (family, taken) in [(Family::Ipv4, false), (Family::Ipv6, true)] {
        let mut net = Net::drawn(5, 2, &[(0, 1, 10)]);
        net.family = family;
        net.start_with(0, Vec::new());
        let [to, from] = net.links[0].ends;
        let header = Header {
            router_id: router_id(1),
            area: Ipv4Addr::UNSPECIFIED,
            instance_id: family.instance(),
        };
        let hello = Hello {
            interface_id: from.interface,
            priority: 1,
            options: Options::V6.union(Options::E).union(Options::R),
            hello_interval: 1,
            dead_interval: 4,
            designated_router: Ipv4Addr::UNSPECIFIED,
            backup_router: Ipv4Addr::UNSPECIFIED,
            neighbors: Vec::new(),
        };
        let source = link_local(from);
        let body = PacketBody::Hello(hello);
        let bytes = Packet { header, body }.encode(source, ALL_SPF_ROUTERS);
        net.deliver(&Frame {
            to,
            source,
            destination: ALL_SPF_ROUTERS,
            bytes,
        });
        net.collect(0);
        assert_eq!(!net.node(0).neighbors().is_empty(), taken, "{family}");
        assert_eq!(refused(&net, 0, Refusal::AfBitMissing), u64::from(!taken));
        let heard = net.events.iter().any(|(_, _, event)| {
            matches!(
                event,
                Event::Refused {
                    reason: Refusal::AfBitMissing,
                    ..
                }
            )
        });
        assert_eq!(heard, !taken, "an operator is told");
    }
}

/// Two families on one link do not disturb each other.
#[test]
fn the_other_family_is_another_instance() {
    let mut net = Net::drawn(6, 2, &[(0, 1, 10)]);
    net.start_with(0, Vec::new());
    net.family = Family::Ipv4;
    net.start_with(1, Vec::new());
    net.run(Duration::from_secs(10));
    for node in [0, 1] {
        assert!(net.node(node).neighbors().is_empty());
        assert!(refused(&net, node, Refusal::InstanceMismatch) >= 9);
    }
    for (_, _, event) in &net.events {
        if let Event::Refused { reason, .. } = event {
            assert_eq!(*reason, Refusal::InstanceMismatch);
        }
    }
}

/// RFC 5838 2.7.
#[test]
fn both_mtus_have_to_fit() {
    let started = |edit: fn(&mut InterfaceConfig)| {
        let mut net = build(7, 2, &[(0, 1, 10)]);
        change(&mut net, 0, 1, edit);
        net.run(Duration::from_secs(10));
        net
    };
    let told = |net: &Net, wanted: Refusal| {
        net.events.iter().find_map(|(_, node, event)| match event {
            Event::Refused {
                reason, mismatch, ..
            } if *node == 0 && *reason == wanted => *mismatch,
            _ => None,
        })
    };
    // The far end can carry more IPv4: the field says so, and M6 that IPv6 is another matter.
    let net = started(|config| config.ipv4_mtu = Some(9000));
    let mismatch = Mismatch {
        ours: 1500,
        theirs: 9000,
    };
    assert_eq!(told(&net, Refusal::MtuMismatch), Some(mismatch));
    assert!(!all_full(&net, 0));
    // Ours can carry more IPv4 too, but no such IPv6, and the far end does not say that it knows.
    let mut net = started(|config| config.mtu = 9000);
    change(&mut net, 0, 0, |config| config.ipv4_mtu = Some(9000));
    net.events.clear();
    net.run(Duration::from_secs(10));
    assert_eq!(told(&net, Refusal::Ipv6MtuMismatch), Some(mismatch));
    assert!(!all_full(&net, 0));
    // Both have more for IPv4 than for IPv6.
    let mut net = started(|config| config.ipv4_mtu = Some(9000));
    change(&mut net, 0, 0, |config| config.ipv4_mtu = Some(9000));
    net.run(Duration::from_secs(20));
    assert!(all_full(&net, 0), "{}", net.describe());
}

/// RFC 5838 2.3: a prefix that is none of the family stays in the database and out of the routes.
#[test]
fn foreign_prefixes_are_kept_and_not_used() {
    let mut net = build(8, 3, &[(0, 1, 10), (1, 2, 10)]);
    let six = Prefix::new("2001:db8::".parse::<IpAddr>().unwrap(), 48).unwrap();
    net.set_prefixes(1, vec![local(own(1)), local(six)]);
    net.run(Duration::from_secs(10));
    let has = |net: &Net, node: usize| {
        net.node(node)
            .database()
            .lsas
            .iter()
            .any(|lsa| match &lsa.body {
                LsaBody::IntraAreaPrefix(body) => body.prefixes.iter().any(|p| p.prefix == six),
                _ => false,
            })
    };
    for node in [0, 2] {
        assert!(has(&net, node), "{}", net.describe());
        assert_eq!(net.node(node).routes().len(), 2);
        assert!(all_full(&net, node));
    }
}

#[test]
fn out_of_the_as() {
    let mut net = build(9, 3, &[(0, 1, 10), (1, 2, 10)]);
    let outside = Prefix::default_of(Family::Ipv4);
    let now = net.now;
    net.with(2, |speaker| {
        speaker.set_externals(
            now,
            vec![ExternalPrefix {
                prefix: outside,
                metric: 7,
                type2: true,
                tag: Some(3),
            }],
        );
    });
    net.run(Duration::from_secs(10));
    assert_eq!(next_hops(&net, 0, outside), [hop(net.links[0].ends[1])]);
}

/// A Designated Router tells the IPv4 prefixes of its link, and DROthers reach each other.
#[test]
fn an_ethernet() {
    let mut net = Net::drawn(10, 4, &[]);
    net.family = Family::Ipv4;
    let ends: Vec<_> = (0..4)
        .map(|node| crate::net::End {
            node,
            interface: 10 + node as u32,
        })
        .collect();
    net.lans.push(Lan {
        ends: ends.clone(),
        cut: Vec::new(),
    });
    for end in &ends {
        net.start_with(end.node, vec![local(own(end.node))]);
        let mut config = net.interface_config(*end, 10);
        let address = Ipv4Addr::new(10, 0, 9, end.node as u8 + 1);
        config.kind = InterfaceKind::Broadcast;
        // One has no address there.
        config.ipv4 = (end.node != 0).then_some(address);
        let prefix = StubPrefix {
            prefix: Prefix::new(address, 24).unwrap(),
            metric: 10,
            local: false,
        };
        config.prefixes = config.ipv4.map(|_| prefix).into_iter().collect();
        let now = net.now;
        net.with(end.node, |speaker| speaker.add_interface(now, config));
    }
    net.run(Duration::from_secs(60));
    for from in 0..4usize {
        for to in (0..4usize).filter(|to| *to != from) {
            let v4 = IpAddr::V4(Ipv4Addr::new(10, 0, 9, to as u8 + 1));
            let wanted = if from == 0 || to == 0 {
                hop(ends[to])
            } else {
                v4
            };
            assert_eq!(
                next_hops(&net, from, own(to)),
                [wanted],
                "{from} to {to}\n{}",
                net.describe()
            );
        }
    }
    let network = Prefix::new(Ipv4Addr::new(10, 0, 9, 0), 24).unwrap();
    assert!(
        net.node(0).routes().contains_key(&network),
        "{}",
        net.describe()
    );
}

/// The octets of an IPv4 Link-LSA: the address in the first 32 bits of its field (RFC 5838 2.5).
#[test]
fn octets_of_a_link_lsa() {
    let body = LsaBody::Link(LinkBody {
        priority: 1,
        options: Options::AF,
        link_local: "10.0.0.1".parse().unwrap(),
        prefixes: Vec::new(),
    });
    let key = LsaKey {
        ty: LsaType::LINK,
        id: 3,
        adv: router_id(0),
    };
    let lsa = Lsa::build(key, INITIAL_SEQUENCE, &body).unwrap();
    let mut wanted = vec![1, 0, 1, 0, 10, 0, 0, 1];
    wanted.extend([0; 16]);
    assert_eq!(lsa.body_bytes(), wanted);
}
