//! Configurations that do not fit, and two routers that believe to be the same.

use std::time::Duration;

use ospfv3::{DoubledSign, Event, InterfaceConfig, Mismatch, NeighborState, Refusal};

use crate::forge;
use crate::net::{Net, link_local, own_prefix, router_id};

/// Reconfigures node 1's end of the only link before anything was said.
fn two_with(change: impl FnOnce(&mut InterfaceConfig)) -> Net {
    let mut net = Net::build(9, 2, &[(0, 1, 10)]);
    let end = net.links[0].ends[1];
    let mut config = net.interface_config(end, 10);
    change(&mut config);
    let now = net.now;
    net.with(1, |speaker| speaker.add_interface(now, config));
    net.run(Duration::from_secs(10));
    net
}

fn refused(net: &Net, reason: Refusal) -> Option<Mismatch> {
    assert!(
        net.node(0)
            .counters()
            .refused
            .get(&reason)
            .is_some_and(|count| *count > 0)
    );
    net.events.iter().find_map(|(_, node, event)| match event {
        Event::Refused {
            reason: got,
            mismatch,
            ..
        } if *node == 0 && *got == reason => *mismatch,
        _ => None,
    })
}

fn adjacent(net: &Net) -> bool {
    net.node(0)
        .neighbors()
        .iter()
        .any(|n| n.state == NeighborState::Full)
}

#[test]
fn each_mismatch_is_named_and_counted() {
    let net = two_with(|config| config.hello_interval = 2);
    let mismatch = Mismatch { ours: 1, theirs: 2 };
    assert_eq!(
        refused(&net, Refusal::HelloIntervalMismatch),
        Some(mismatch)
    );
    let net = two_with(|config| config.dead_interval = 40);
    let mismatch = Mismatch {
        ours: 4,
        theirs: 40,
    };
    assert_eq!(refused(&net, Refusal::DeadIntervalMismatch), Some(mismatch));
    let net = two_with(|config| config.area = [0, 0, 0, 1].into());
    let mismatch = Mismatch { ours: 0, theirs: 1 };
    assert_eq!(refused(&net, Refusal::AreaMismatch), Some(mismatch));
    let net = two_with(|config| config.instance_id = 3);
    let mismatch = Mismatch { ours: 0, theirs: 3 };
    assert_eq!(refused(&net, Refusal::InstanceMismatch), Some(mismatch));
    let text = serde_json::to_string(net.node(0).counters()).unwrap();
    assert!(text.contains("\"instance_mismatch\":"), "{text}");
    let net = two_with(|config| config.link_local = "2001:db8::1".parse().unwrap());
    refused(&net, Refusal::SourceAddress);
}

#[test]
fn mtu_mismatch_stops_the_exchange_unless_ignored() {
    let net = two_with(|config| config.mtu = 9000);
    let mismatch = Mismatch {
        ours: 1500,
        theirs: 9000,
    };
    assert_eq!(refused(&net, Refusal::MtuMismatch), Some(mismatch));
    assert_eq!(net.node(0).neighbors()[0].state, NeighborState::ExStart);
    // Both ends can tell.
    assert_eq!(net.node(0).neighbors()[0].mtu, Some(9000));
    assert_eq!(net.node(1).neighbors()[0].mtu, Some(1500));
    let mut net = two_with(|config| config.mtu = 9000);
    let end = net.links[0].ends[0];
    let mut config = net.interface_config(end, 10);
    config.mtu_ignore = true;
    let now = net.now;
    net.with(0, |speaker| speaker.add_interface(now, config));
    net.run(Duration::from_secs(10));
    assert!(adjacent(&net), "{}", net.describe());
}

#[test]
fn twins_are_noticed_and_do_not_storm() {
    // 0 and 2 have one Router ID, both next to 1.
    let mut net = Net::build(9, 2, &[(0, 1, 10)]);
    net.run(Duration::from_secs(10));
    net.nodes.push(None);
    let ends = [
        crate::net::End {
            node: 2,
            interface: 70,
        },
        crate::net::End {
            node: 1,
            interface: 71,
        },
    ];
    net.links.push(crate::net::Link {
        ends,
        cost: 10,
        cut: false,
    });
    let now = net.now;
    let config = net.interface_config(ends[1], 10);
    net.with(1, |speaker| speaker.add_interface(now, config));
    let mut twin = ospfv3::Speaker::new(ospfv3::Config::new(router_id(0)), net.now);
    let mut lo = InterfaceConfig::new(
        "lo",
        1,
        ospfv3::InterfaceKind::Loopback,
        link_local(ends[0]),
    );
    lo.prefixes = vec![crate::net::local(own_prefix(2))];
    twin.add_interface(net.now, lo);
    twin.add_interface(net.now, net.interface_config(ends[0], 10));
    net.nodes[2] = Some(twin);
    net.collect(2);
    let before = net.node(0).counters().clone();
    net.run(Duration::from_secs(100));
    let after = net.node(0).counters();
    assert!(after.self_originated_received > 0);
    let originated =
        after.lsas_originated + after.lsas_flushed - before.lsas_originated - before.lsas_flushed;
    assert!(originated < 400, "{originated} in 100 s");
    // The router between them sees that they take turns.
    let mut signs = signs(&net, 1);
    signs.dedup();
    assert!(signs.len() > 2, "{signs:?}");
    // And each sees what is not its own.
    let prefixes: Vec<_> = net
        .events
        .iter()
        .filter_map(|(_, node, event)| match event {
            Event::SelfOriginatedReceived { prefixes, .. } if *node == 0 => Some(prefixes),
            _ => None,
        })
        .flatten()
        .collect();
    assert!(prefixes.contains(&&own_prefix(2)), "{prefixes:?}");
    assert!(!prefixes.contains(&&own_prefix(0)), "{prefixes:?}");
}

/// What a node takes for signs of two neighbours with one Router ID.
fn signs(net: &Net, node: usize) -> Vec<DoubledSign> {
    let events = net.events.iter().filter(|(_, at, _)| *at == node);
    events
        .filter_map(|(_, _, event)| match event {
            Event::RouterIdDoubled { sign, .. } => Some(*sign),
            _ => None,
        })
        .collect()
}

/// Two tunnels between the same routers, one of which comes and goes.
#[test]
fn two_links_to_one_router_are_not_taken_for_two_routers() {
    let mut net = Net::build(9, 3, &[(0, 1, 10), (0, 1, 10), (1, 2, 10)]);
    net.run(Duration::from_secs(30));
    for cut in [true, false, true, false] {
        net.links[0].cut = cut;
        net.run(Duration::from_secs(30));
    }
    for node in 0..3 {
        let mut signs = signs(&net, node);
        signs.dedup();
        assert!(signs.len() < 2, "{signs:?}");
    }
}

/// On a network, the two hear each other, and a third hears both.
#[test]
fn two_routers_with_one_router_id_on_a_network_take_turns() {
    let mut net = forge::net();
    let own = link_local(net.links[0].ends[1]);
    let other = "fe80::abcd".parse().unwrap();
    for source in [other, own, other, own] {
        forge::forge_from(&mut net, source, forge::hello());
    }
    let taken = [other, own, other, own].map(DoubledSign::Address);
    assert_eq!(signs(&net, 0), taken);
}

#[test]
fn a_router_id_like_ours_on_the_link() {
    let mut net = Net::build(9, 2, &[(0, 1, 10)]);
    let mut twin = ospfv3::Speaker::new(ospfv3::Config::new(router_id(0)), net.now);
    twin.add_interface(net.now, net.interface_config(net.links[0].ends[1], 10));
    net.nodes[1] = Some(twin);
    net.collect(1);
    net.run(Duration::from_secs(10));
    assert!(
        net.node(0)
            .neighbors()
            .iter()
            .all(|n| n.router_id != router_id(0))
    );
    assert!(net.node(0).counters().refused[&Refusal::DuplicateRouterId] >= 9);
}
