//! Ethernets with a Designated Router.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ospfv3::wire::LsaType;
use ospfv3::{
    Event, InterfaceState, Limits, MAX_NEIGHBORS, Mismatch, NeighborState, Prefix, Refusal,
};

use crate::net::{End, Lan, Net, Weather, hop, own_prefix, router_id};

/// `count` nodes on one Ethernet.
pub(crate) fn lan(count: usize) -> Net {
    let mut net = Net::build(11, count, &[]);
    let ends = (0..count)
        .map(|node| End {
            node,
            interface: 50 + node as u32,
        })
        .collect();
    net.lans.push(Lan {
        ends,
        cut: Vec::new(),
    });
    for node in 0..count {
        net.crash(node);
        net.start(node);
    }
    net
}

/// Designated Router and Backup, if everybody agrees.
pub(crate) fn offices(net: &Net) -> Option<(Ipv4Addr, Option<Ipv4Addr>)> {
    let mut seen = None;
    for speaker in net.nodes.iter().flatten() {
        for interface in speaker.interfaces().into_iter().filter(|i| i.id >= 50) {
            let pair = (interface.designated_router?, interface.backup_router);
            if seen.is_some_and(|seen| seen != pair) {
                return None;
            }
            seen = Some(pair);
        }
    }
    seen
}

fn reaches_all(net: &Net) -> bool {
    let running: Vec<usize> = (0..net.nodes.len())
        .filter(|n| net.nodes[*n].is_some())
        .collect();
    running.iter().all(|from| {
        running.iter().filter(|to| *to != from).all(|to| {
            let route = net.node(*from).routes().get(&own_prefix(*to));
            let end = net.lans[0].ends[*to];
            route.is_some_and(|r| r.metric == 10 && r.nexthops[0].address == Some(hop(end)))
        })
    })
}

fn ethernet() -> Prefix {
    Prefix::new("2001:db8:ff::".parse::<Ipv6Addr>().unwrap(), 64).unwrap()
}

#[test]
fn four_on_an_ethernet() {
    let mut net = lan(4);
    net.run(Duration::from_secs(15));
    assert_eq!(
        offices(&net),
        Some((router_id(3), Some(router_id(2)))),
        "{}",
        net.describe()
    );
    assert!(reaches_all(&net), "{}", net.describe());
    let state = |net: &Net, node: usize| {
        let interfaces = net.node(node).interfaces();
        interfaces.into_iter().find(|i| i.id >= 50).map(|i| i.state)
    };
    assert_eq!(state(&net, 3), Some(InterfaceState::Dr));
    assert_eq!(state(&net, 2), Some(InterfaceState::Backup));
    assert_eq!(state(&net, 0), Some(InterfaceState::DrOther));
    // The two that are neither are not adjacent.
    let between = net
        .node(0)
        .neighbors()
        .into_iter()
        .find(|n| n.router_id == router_id(1));
    assert_eq!(between.map(|n| n.state), Some(NeighborState::TwoWay));
    // One Network-LSA, and one LSA for its prefix.
    let lsas = net.node(0).database().lsas;
    assert_eq!(lsas.iter().filter(|l| l.ty == LsaType::NETWORK).count(), 1);
    assert_eq!(
        lsas.iter()
            .filter(|l| l.ty == LsaType::INTRA_AREA_PREFIX)
            .count(),
        4 + 1
    );
    assert!(!net.node(0).routes().contains_key(&ethernet()), "connected");
    assert!(
        (0..4).all(|node| net.node(node).is_acknowledged()),
        "{}",
        net.describe()
    );
    assert!((0..4).all(|node| net.node(node).counters().lsas_retransmitted < 5));
}

/// The 18th router on a broadcast network was alone.
#[test]
fn more_than_sixteen_neighbours_on_an_ethernet() {
    let mut net = lan(40);
    net.run(Duration::from_secs(20));
    assert_eq!(offices(&net), Some((router_id(39), Some(router_id(38)))));
    for node in 0..40 {
        assert_eq!(net.node(node).neighbors().len(), 39);
    }
    assert!(reaches_all(&net));
    const { assert!(MAX_NEIGHBORS >= 200) };
}

/// The limit is named, and shown with who is beyond it.
#[test]
fn the_limit_is_shown_when_it_is_reached() {
    let mut net = Net::build(11, 4, &[]);
    net.limits = Limits {
        neighbors: 2,
        ..Limits::default()
    };
    net.lans.push(Lan {
        ends: (0..4)
            .map(|node| End {
                node,
                interface: 50 + node as u32,
            })
            .collect(),
        cut: Vec::new(),
    });
    for node in 0..4 {
        net.crash(node);
        net.start(node);
    }
    net.run(Duration::from_secs(15));
    assert_eq!(net.node(0).neighbors().len(), 2);
    let refused = net.node(0).counters().refused[&Refusal::TooManyNeighbors];
    assert!(refused > 10, "{refused}");
    let beyond = Mismatch { ours: 2, theirs: 3 };
    assert!(net.events.iter().any(|(_, node, event)| matches!(event,
        Event::Refused { reason: Refusal::TooManyNeighbors, mismatch: Some(shown), .. }
            if *node == 0 && *shown == beyond)));
}

#[test]
fn who_comes_later_changes_nothing() {
    let mut net = lan(4);
    net.crash(3);
    net.run(Duration::from_secs(20));
    assert_eq!(offices(&net), Some((router_id(2), Some(router_id(1)))));
    net.start(3);
    net.run(Duration::from_secs(20));
    assert_eq!(offices(&net), Some((router_id(2), Some(router_id(1)))));
    assert!(reaches_all(&net), "{}", net.describe());
}

#[test]
fn the_backup_takes_over() {
    for clean in [true, false] {
        let mut net = lan(4);
        net.run(Duration::from_secs(20));
        if clean {
            net.stop(3)
        } else {
            net.crash(3)
        }
        net.run(Duration::from_secs(15));
        assert_eq!(
            offices(&net),
            Some((router_id(2), Some(router_id(1)))),
            "{}",
            net.describe()
        );
        assert!(reaches_all(&net), "{}", net.describe());
        assert!(!net.node(0).routes().contains_key(&own_prefix(3)));
        let lsas = net.node(0).database().lsas;
        let networks = lsas.iter().filter(|l| l.ty == LsaType::NETWORK);
        let spoken: Vec<_> = networks.map(|l| l.advertising_router).collect();
        assert!(spoken.contains(&router_id(2)), "{spoken:?}");
        net.start(3);
        net.run(Duration::from_secs(20));
        assert!(reaches_all(&net), "{}", net.describe());
        assert_eq!(offices(&net), Some((router_id(2), Some(router_id(1)))));
    }
}

#[test]
fn in_a_storm_and_split() {
    let mut net = lan(5);
    net.weather = Weather::STORM;
    net.run(Duration::from_secs(40));
    net.lans[0].cut = vec![4];
    net.run(Duration::from_secs(40));
    net.lans[0].cut.clear();
    net.run(Duration::from_secs(20));
    net.weather = Weather::FAIR;
    net.run(Duration::from_secs(40));
    assert!(offices(&net).is_some(), "{}", net.describe());
    assert!(reaches_all(&net), "{}", net.describe());
    let lsas = |node: usize| {
        let lsas = net.node(node).database().lsas.into_iter();
        lsas.map(|l| (l.ty, l.link_state_id, l.advertising_router, l.sequence))
            .collect::<Vec<_>>()
    };
    assert!(
        (1..5).all(|node| lsas(node) == lsas(0)),
        "{}",
        net.describe()
    );
}

#[test]
fn beside_point_to_point() {
    // 2 hangs off 0 by a link of its own, and reaches 1 through the Ethernet.
    let mut net = Net::build(11, 3, &[(0, 2, 5)]);
    let ends = [0, 1].map(|node| End {
        node,
        interface: 50 + node as u32,
    });
    net.lans.push(Lan {
        ends: ends.to_vec(),
        cut: Vec::new(),
    });
    for node in 0..3 {
        net.crash(node);
        net.start(node);
    }
    net.run(Duration::from_secs(20));
    assert_eq!(net.node(2).routes()[&own_prefix(1)].metric, 15);
    assert_eq!(net.node(2).routes()[&ethernet()].metric, 15);
    assert_eq!(net.node(1).routes()[&own_prefix(2)].metric, 15);
}
