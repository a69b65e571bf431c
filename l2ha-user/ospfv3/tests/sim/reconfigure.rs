//! What is changed on a live interface takes no adjacency down that it does not name.

use std::time::Duration;

use ospfv3::{Event, InterfaceConfig, NeighborState, Refusal};

use crate::broadcast::{lan, offices};
use crate::net::{Net, own_prefix};

/// Changes a node's end of a link.
fn change(net: &mut Net, link: usize, end: usize, change: impl FnOnce(&mut InterfaceConfig)) {
    let end = net.links[link].ends[end];
    let mut config = net.interface_config(end, 10);
    change(&mut config);
    let now = net.now;
    net.with(end.node, |speaker| speaker.add_interface(now, config));
}

/// How often a neighbour has changed its state since that was asked last.
fn neighbor_changes(net: &mut Net) -> usize {
    let events = std::mem::take(&mut net.events);
    let changes = events.iter();
    changes
        .filter(|(_, _, event)| matches!(event, Event::NeighborChanged { .. }))
        .count()
}

/// Three in a row, at rest.
fn row() -> Net {
    let mut net = Net::build(4, 3, &[(0, 1, 10), (1, 2, 10)]);
    net.run(Duration::from_secs(20));
    neighbor_changes(&mut net);
    net
}

#[test]
fn cost_priority_and_retransmissions() {
    let mut net = row();
    change(&mut net, 0, 1, |config| {
        config.cost = 70;
        config.priority = 9;
        config.retransmit_interval = 2;
    });
    net.run(Duration::from_secs(10));
    assert_eq!(neighbor_changes(&mut net), 0, "{}", net.describe());
    assert_eq!(net.node(1).routes()[&own_prefix(0)].metric, 70);
    assert_eq!(net.node(0).routes()[&own_prefix(1)].metric, 10);
}

#[test]
fn intervals_may_differ_for_as_long_as_the_dead_interval() {
    for (hello, dead) in [(2, 9), (1, 3)] {
        let mut net = row();
        let both = |config: &mut InterfaceConfig| {
            (config.hello_interval, config.dead_interval) = (hello, dead);
        };
        change(&mut net, 0, 0, both);
        net.run(Duration::from_secs(2));
        let refused = &net.node(1).counters().refused;
        assert!(
            refused.contains_key(&Refusal::HelloIntervalMismatch)
                || refused.contains_key(&Refusal::DeadIntervalMismatch)
        );
        change(&mut net, 0, 1, both);
        net.run(Duration::from_secs(60));
        assert_eq!(neighbor_changes(&mut net), 0, "{}", net.describe());
        // What is dead is still noticed, after the new interval.
        net.links[0].cut = true;
        net.run(Duration::from_secs(u64::from(dead) + 1));
        assert!(net.node(0).neighbors().is_empty(), "{}", net.describe());
    }
}

#[test]
fn an_interval_of_one_end_alone_takes_the_adjacency_down() {
    let mut net = row();
    change(&mut net, 0, 0, |config| config.dead_interval = 9);
    net.run(Duration::from_secs(12));
    assert!(neighbor_changes(&mut net) > 0);
    let others = net.node(1).neighbors();
    let full = others.iter().filter(|it| it.state == NeighborState::Full);
    assert_eq!(full.count(), 1, "that with the third stays");
}

#[test]
fn the_area_and_the_mtu_take_it_down_at_once() {
    for change_it in [
        |config: &mut InterfaceConfig| config.area = [0, 0, 0, 7].into(),
        |config: &mut InterfaceConfig| config.mtu = 1400,
    ] {
        let mut net = row();
        change(&mut net, 0, 0, change_it);
        net.run(Duration::from_millis(10));
        assert!(neighbor_changes(&mut net) > 0, "{}", net.describe());
    }
}

#[test]
fn the_designated_router_keeps_its_office_whatever_the_priorities() {
    let mut net = lan(4);
    net.run(Duration::from_secs(15));
    let before = offices(&net).unwrap();
    neighbor_changes(&mut net);
    for (node, priority) in [(0, 200), (3, 7), (2, 3)] {
        let end = net.lans[0].ends[node];
        let mut config = net.lan_interface_config(end);
        config.priority = priority;
        let now = net.now;
        net.with(node, |speaker| speaker.add_interface(now, config));
        net.run(Duration::from_secs(5));
        assert_eq!(offices(&net), Some(before), "{}", net.describe());
    }
    assert_eq!(neighbor_changes(&mut net), 0);
    // RFC 2328 9.4: only who may not hold it any more loses it.
    let end = net.lans[0].ends[3];
    let mut config = net.lan_interface_config(end);
    config.priority = 0;
    let now = net.now;
    net.with(3, |speaker| speaker.add_interface(now, config));
    net.run(Duration::from_secs(5));
    let (designated, _) = offices(&net).unwrap();
    assert_eq!(Some(designated), before.1, "the Backup takes over");
}
