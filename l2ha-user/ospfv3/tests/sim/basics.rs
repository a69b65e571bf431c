//! Two routers meet, part, and come back.

use std::time::Duration;

use ospfv3::{Event, NeighborState};

use crate::net::{Net, anycast, hop, local, own_prefix};

fn full(net: &Net, node: usize) -> usize {
    net.node(node)
        .neighbors()
        .iter()
        .filter(|n| n.state == NeighborState::Full)
        .count()
}

#[test]
fn two_routers_become_adjacent_at_once() {
    let mut net = Net::build(1, 2, &[(0, 1, 10)]);
    let took = net.run_while(Duration::from_secs(1), |net| {
        !net.node(0).routes().contains_key(&own_prefix(1))
            || !net.node(1).routes().contains_key(&own_prefix(0))
    });
    assert!(took < Duration::from_millis(100), "took {took:?}");
    let route = &net.node(0).routes()[&own_prefix(1)];
    assert_eq!(route.metric, 10);
    assert_eq!(route.nexthops.len(), 1);
    assert_eq!(route.nexthops[0].interface, net.links[0].ends[0].interface);
    assert_eq!(route.nexthops[0].address, Some(hop(net.links[0].ends[1])));
    assert!(
        net.events
            .iter()
            .any(|(_, _, event)| *event == Event::RoutesChanged)
    );
    net.run(Duration::from_secs(30));
    assert_eq!((full(&net, 0), full(&net, 1)), (1, 1));
    assert!(net.node(0).is_acknowledged());
    let refused = &net.node(0).counters().refused;
    assert!(refused.is_empty(), "{refused:?}");
}

#[test]
fn clean_stop_moves_traffic_at_once() {
    let mut net = Net::build(1, 3, &[(0, 1, 10), (0, 2, 20), (1, 2, 10)]);
    for node in [1, 2] {
        net.set_prefixes(node, vec![local(own_prefix(node)), local(anycast())]);
    }
    net.run(Duration::from_secs(20));
    assert_eq!(net.node(0).routes()[&anycast()].metric, 10);
    net.stop(1);
    let took = net.run_while(Duration::from_secs(1), |net| {
        net.node(0)
            .routes()
            .get(&anycast())
            .is_none_or(|route| route.metric != 20)
    });
    assert!(took <= Duration::from_millis(5), "took {took:?}");
    net.run_ms(200);
    assert!(!net.node(0).routes().contains_key(&own_prefix(1)));
    assert_eq!(full(&net, 0), 1);
}
