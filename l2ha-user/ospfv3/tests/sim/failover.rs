//! What the product is for: traffic moves when something falls silent, leaves, or comes back.

use std::time::Duration;

use ospfv3::{Event, NeighborState, PathFailure, Peer, Reason, Refusal, StubPrefix};

use crate::areas;
use crate::net::{Net, anycast, local, own_prefix, router_id};

const SOON: Duration = Duration::from_millis(60);

fn metric(net: &Net, node: usize) -> Option<u32> {
    net.node(node)
        .routes()
        .get(&anycast())
        .map(|route| route.metric)
}

/// A client (0) with two servers (1 near, 2 far), each with a link of its own.
fn client_and_servers(cost: u16) -> Net {
    let mut net = Net::build(5, 3, &[(0, 1, 10), (0, 2, cost)]);
    for node in [1, 2] {
        net.set_prefixes(node, vec![local(own_prefix(node)), local(anycast())]);
    }
    net.run(Duration::from_secs(20));
    net
}

/// How long traffic with another way leaves a new adjacency alone: a delayed acknowledgment, the
/// time its routes are given to be installed, and the delay before the calculation.
const WAY_BACK: Duration = Duration::from_millis(600);

#[test]
fn silent_cut_is_noticed_within_the_dead_interval_and_heals() {
    let mut net = client_and_servers(20);
    assert_eq!(metric(&net, 0), Some(10));
    net.links[0].cut = true;
    let took = net.run_while(Duration::from_secs(5), |net| metric(net, 0) != Some(20));
    assert!(
        took > Duration::from_secs(3) && took <= Duration::from_secs(4) + SOON,
        "{took:?}"
    );
    net.run(Duration::from_secs(60));
    net.links[0].cut = false;
    let took = net.run_while(Duration::from_secs(5), |net| metric(net, 0) != Some(10));
    assert!(
        took <= Duration::from_secs(1) + SOON + WAY_BACK,
        "one hello interval: {took:?}"
    );
    assert!(
        net.node(1).routes().contains_key(&own_prefix(0)),
        "the server knows the way back when the client comes"
    );
}

#[test]
fn an_only_way_is_taken_at_once() {
    let mut net = client_and_servers(20);
    net.links[0].cut = true;
    net.links[1].cut = true;
    net.run(Duration::from_secs(60));
    assert_eq!(metric(&net, 0), None);
    net.links[0].cut = false;
    let took = net.run_while(Duration::from_secs(5), |net| metric(net, 0) != Some(10));
    assert!(took <= Duration::from_secs(1) + SOON, "{took:?}");
}

#[test]
fn equal_servers_share_and_own_address_stays_home() {
    let net = client_and_servers(10);
    let route = &net.node(0).routes()[&anycast()];
    assert_eq!(route.nexthops.len(), 2);
    assert_eq!(route.routers, [router_id(1), router_id(2)]);
    assert_eq!(metric(&net, 1), None, "it has the address itself");
    assert_eq!(metric(&net, 2), None);
}

#[test]
fn withdrawing_and_announcing_take_effect_at_once() {
    let mut net = client_and_servers(20);
    let with = vec![local(own_prefix(1)), local(anycast())];
    net.set_prefixes(1, vec![local(own_prefix(1))]);
    let took = net.run_while(SOON, |net| metric(net, 0) != Some(20));
    assert!(took <= Duration::from_millis(5), "{took:?}");
    // Announced again well within MinLSInterval.
    net.run_ms(300);
    net.set_prefixes(1, with.clone());
    let took = net.run_while(SOON * 4, |net| metric(net, 0) != Some(10));
    assert!(took <= SOON * 3, "{took:?}");
    // And withdrawn again within MinLSArrival.
    net.run_ms(300);
    net.set_prefixes(1, vec![local(own_prefix(1))]);
    let took = net.run_while(Duration::from_secs(2), |net| metric(net, 0) != Some(20));
    assert!(took <= SOON * 3, "{took:?}");
    // Flapping leaves nothing behind.
    for _ in 0..50 {
        net.run_ms(100);
        net.set_prefixes(1, with.clone());
        net.run_ms(100);
        net.set_prefixes(1, vec![local(own_prefix(1))]);
    }
    net.run(Duration::from_secs(10));
    assert_eq!(metric(&net, 0), Some(20));
    net.set_prefixes(1, with);
    net.run_ms(10);
    assert_eq!(metric(&net, 0), Some(10));
    net.run(Duration::from_secs(10));
    let lsas = net.node(0).database().lsas;
    let of_server = lsas
        .iter()
        .filter(|l| l.advertising_router == router_id(1))
        .count();
    assert_eq!(
        of_server,
        4,
        "router, two prefixes, link\n{}",
        net.describe()
    );
}

/// A service that fails and returns again and again: that it fails is told at once each time, whatever was told before,
/// and its return waits instead.
#[test]
fn a_service_that_flaps_is_never_told_late_that_it_fails() {
    let mut net = client_and_servers(20);
    let with = |metric| {
        let service = StubPrefix {
            metric,
            ..local(anycast())
        };
        vec![local(own_prefix(1)), service]
    };
    let mut returned = 0;
    for _ in 0..30 {
        net.set_prefixes(1, with(u16::MAX));
        let took = net.run_while(SOON * 100, |net| metric(net, 0) != Some(20));
        assert!(took <= SOON, "{took:?}");
        net.run_ms(700);
        net.set_prefixes(1, with(0));
        net.run_ms(800);
        returned += u32::from(metric(&net, 0) == Some(10));
    }
    assert!(
        (5..30).contains(&returned),
        "{returned} of 30 returns were told"
    );
    net.run(Duration::from_secs(10));
    assert_eq!(metric(&net, 0), Some(10));
}

#[test]
fn a_second_failure_is_routed_around_as_fast_as_the_first() {
    let links = [(0, 1, 10), (0, 2, 20), (0, 3, 30)];
    let mut net = Net::build(5, 4, &links);
    for node in 1..4 {
        net.set_prefixes(node, vec![local(own_prefix(node)), local(anycast())]);
    }
    net.run(Duration::from_secs(20));
    for (server, expected) in [(1, Some(20)), (2, Some(30)), (3, None)] {
        let interface = net.links[server - 1].ends[0].interface;
        net.links[server - 1].cut = true;
        let now = net.now;
        net.with(0, |client| {
            client.path_failed(
                now,
                Peer::new(interface, router_id(server)),
                PathFailure::Unconfirmed,
            )
        });
        let took = net.run_while(Duration::from_secs(1), |net| metric(net, 0) != expected);
        assert!(
            took <= Duration::from_millis(200),
            "server {server}: {took:?}"
        );
        net.run_ms(200);
    }
    assert!(net.events.iter().any(|(_, node, event)| *node == 0
        && matches!(
            event,
            Event::NeighborChanged {
                reason: Reason::DeclaredDead,
                ..
            }
        )));
}

#[test]
fn restart_without_a_word_is_over_in_a_moment() {
    let mut net = client_and_servers(20);
    for pause in [0, 500, 2500, 10_000] {
        net.crash(1);
        net.run_ms(pause);
        net.start_with(1, vec![local(own_prefix(1)), local(anycast())]);
        let took = net.run_while(Duration::from_secs(12), |net| {
            metric(net, 0) != Some(10) || !net.node(1).routes().contains_key(&own_prefix(0))
        });
        assert!(took <= SOON + WAY_BACK, "down for {pause} ms: {took:?}");
        net.run(Duration::from_secs(20));
        assert!(net.node(1).is_acknowledged());
    }
}

#[test]
fn restart_in_order_is_over_in_a_moment() {
    let mut net = client_and_servers(20);
    for pause in [0, 50, 300, 700, 2500, 10_000] {
        net.stop(1);
        net.run_ms(pause);
        net.start_with(1, vec![local(own_prefix(1)), local(anycast())]);
        let took = net.run_while(Duration::from_secs(12), |net| {
            metric(net, 0) != Some(10) || !net.node(1).routes().contains_key(&own_prefix(0))
        });
        // Its flush has only just been installed where it comes back: MinLSArrival.
        assert!(
            took <= Duration::from_millis(1200),
            "stopped for {pause} ms: {took:?}"
        );
        net.run(Duration::from_secs(20));
        assert!(net.node(1).is_acknowledged());
    }
}

#[test]
fn restart_with_other_prefixes_leaves_no_stale_lsa() {
    let mut net = client_and_servers(20);
    net.crash(1);
    net.run_ms(100);
    // The same router without the anycast address: its old LSA must be flushed (RFC 2328 13.4).
    net.start_with(1, vec![local(own_prefix(1))]);
    net.run(Duration::from_secs(6));
    assert_eq!(metric(&net, 0), Some(20), "{}", net.describe());
    assert!(net.node(1).counters().self_originated_received > 0);
    net.run(Duration::from_secs(10));
    let lsas = net.node(2).database().lsas;
    assert_eq!(
        lsas.iter()
            .filter(|l| l.advertising_router == router_id(1))
            .count(),
        2
    );
}

#[test]
fn restart_under_another_interface_id() {
    let mut net = client_and_servers(20);
    net.crash(1);
    net.links[0].ends[1].interface = 99;
    net.start_with(1, vec![local(own_prefix(1)), local(anycast())]);
    net.run(Duration::from_secs(10));
    assert_eq!(metric(&net, 0), Some(10), "{}", net.describe());
    let neighbors = net.node(0).neighbors();
    assert_eq!(neighbors[0].interface_id, 99);
    let hop = net.node(0).routes()[&anycast()].nexthops[0];
    assert_eq!(hop.address, Some(crate::net::hop(net.links[0].ends[1])));
    // The old Link-LSA is gone too.
    let lsas = net.node(0).database().lsas;
    let link_lsas = lsas.iter().filter(|l| l.ty.name() == "link");
    assert_eq!(
        link_lsas
            .filter(|l| l.advertising_router == router_id(1))
            .count(),
        1
    );
}

#[test]
fn drain_moves_traffic_away_and_back() {
    // 0 reaches 3 through 1 (cheap) or 2; 1 and 3 hold the anycast address.
    let mut net = Net::build(5, 4, &[(0, 1, 1), (1, 3, 1), (0, 2, 10), (2, 3, 10)]);
    for node in [1, 3] {
        net.set_prefixes(node, vec![local(own_prefix(node)), local(anycast())]);
    }
    net.run(Duration::from_secs(20));
    assert_eq!(metric(&net, 0), Some(1));
    let to_3 = |net: &Net| net.node(0).routes()[&own_prefix(3)].metric;
    assert_eq!(to_3(&net), 2);
    let now = net.now;
    net.with(1, |speaker| speaker.drain(now, true));
    net.run_ms(100);
    assert_eq!(to_3(&net), 20, "not through the drained router");
    assert_eq!(metric(&net, 0), Some(20), "the other server");
    assert!(
        net.node(0).routes().contains_key(&own_prefix(1)),
        "still reachable"
    );
    net.run(Duration::from_secs(10));
    let now = net.now;
    net.with(1, |speaker| speaker.drain(now, false));
    net.run_ms(200);
    assert_eq!((to_3(&net), metric(&net, 0)), (2, Some(1)));
}

/// While a router does not use its new link yet, nobody else sends it what goes over that link: it would
/// send it back.
#[test]
fn a_link_that_comes_back_makes_no_loop() {
    // A triangle: 1 and 2 are servers, 0 is their client, and 2 has two ways of equal cost to it.
    let mut net = Net::build(5, 3, &[(0, 1, 10), (0, 2, 20), (1, 2, 10)]);
    net.run(Duration::from_secs(20));
    let ways = |net: &Net, node: usize| -> Vec<u32> {
        let route = net.node(node).routes().get(&own_prefix(0));
        let hops = route.map(|route| route.nexthops.iter().map(|hop| hop.interface).collect());
        hops.unwrap_or_default()
    };
    let (direct, around) = (
        net.links[0].ends[1].interface,
        net.links[2].ends[0].interface,
    );
    let over_1 = net.links[2].ends[1].interface;
    assert_eq!(ways(&net, 1), [direct]);
    assert_eq!(ways(&net, 2).len(), 2);
    net.links[0].cut = true;
    net.run(Duration::from_secs(20));
    assert_eq!(ways(&net, 1), [around]);
    net.links[0].cut = false;
    let start = net.now;
    let took = net.run_while(Duration::from_secs(10), |net| {
        let loops = ways(net, 1).contains(&around) && ways(net, 2).contains(&over_1);
        assert!(!loops, "after {:?}", net.now - start);
        ways(net, 2).len() < 2
    });
    // The next Hello, and MinLSInterval.
    assert!(took < Duration::from_secs(7), "{took:?}");
    assert_eq!(ways(&net, 1), [direct]);
}

#[test]
fn carrier_loss_is_immediate() {
    let mut net = client_and_servers(20);
    let interface = net.links[0].ends[0].interface;
    let now = net.now;
    net.with(0, |client| client.interface_down(now, interface));
    net.run_ms(5);
    assert_eq!(metric(&net, 0), Some(20));
    net.run(Duration::from_secs(20));
    let now = net.now;
    net.with(0, |client| client.interface_up(now, interface));
    net.run_ms(200);
    assert_eq!(
        metric(&net, 0),
        Some(20),
        "the server may not know the way back yet"
    );
    net.run(WAY_BACK);
    assert_eq!(metric(&net, 0), Some(10));
    let now = net.now;
    net.with(0, |client| client.remove_interface(now, interface));
    net.run_ms(200);
    assert_eq!(metric(&net, 0), Some(20));
    assert_eq!(net.node(0).interfaces().len(), 2);
}

#[test]
fn a_new_router_on_the_link_replaces_the_old() {
    let mut net = Net::build(5, 3, &[(0, 1, 10), (0, 2, 20)]);
    net.run(Duration::from_secs(10));
    // Node 2's machine is plugged into node 1's place.
    net.crash(1);
    net.links[0].ends[1].node = 2;
    net.crash(2);
    net.start(2);
    net.run_ms(1500);
    let on_link = |net: &Net| -> Vec<_> {
        let neighbors = net.node(0).neighbors().into_iter();
        let interface = net.links[0].ends[0].interface;
        neighbors
            .filter(|n| n.interface == interface)
            .map(|n| n.router_id)
            .collect()
    };
    assert_eq!(on_link(&net), [router_id(1), router_id(2)]);
    net.run(Duration::from_secs(10));
    assert_eq!(on_link(&net), [router_id(2)]);
    assert_eq!(net.node(0).routes()[&own_prefix(2)].metric, 10);
    assert!(!net.node(0).routes().contains_key(&own_prefix(1)));
}

#[test]
fn own_pause_is_not_the_neighbours_death() {
    let mut net = client_and_servers(20);
    let now = net.now + Duration::from_secs(30);
    net.with(0, |client| {
        client.paused(now, Duration::from_secs(2));
        client.handle_timeout(now);
    });
    assert_eq!(net.node(0).neighbors().len(), 2);
    let states = net.node(0).neighbors().into_iter().map(|n| n.state);
    assert!(states.into_iter().all(|state| state == NeighborState::Full));
}

#[test]
fn a_stop_soon_after_adjacencies_were_formed_anew_leaves_the_other_server() {
    let mut net = client_and_servers(20);
    // As BFD says it when the client was held up: every adjacency falls, at both ends.
    for link in net.links.clone() {
        for (end, other) in [(0, 1), (1, 0)] {
            let (end, other) = (link.ends[end], link.ends[other]);
            let now = net.now;
            net.with(end.node, |speaker| {
                speaker.path_failed(
                    now,
                    Peer::new(end.interface, router_id(other.node)),
                    PathFailure::Unconfirmed,
                );
            });
        }
    }
    let all_full = |net: &Net| {
        (0..3).all(|node| {
            let neighbors = net.node(node).neighbors();
            let full = neighbors.iter().filter(|n| n.state == NeighborState::Full);
            full.count() == if node == 0 { 2 } else { 1 }
        })
    };
    net.run_while(Duration::from_secs(5), |net| !all_full(net));
    net.run_while(Duration::from_secs(5), |net| metric(net, 0) != Some(10));
    net.stop(1);
    let took = net.run_while(Duration::from_secs(5), |net| metric(net, 0) != Some(20));
    // The back-off of the route calculation, and nobody's MinLSInterval.
    assert!(
        took <= Duration::from_millis(300),
        "the other server is found after {took:?}"
    );
}

/// A service that fails in the moment after it became healthy, with the highest metric or without any LSA, and one
/// that comes back at once.
#[test]
fn a_second_change_of_a_prefix_is_as_fast_as_the_first() {
    // In one area, and with the client behind a border router.
    for area in [0, 9] {
        let links = [(0, 1, 10, 0), (0, 2, 20, 0), (0, 3, 10, area)];
        let mut net = areas::build(5, 4, &links);
        net.set_prefixes(2, vec![local(own_prefix(2)), local(anycast())]);
        let advertise = |net: &mut Net, metric: Option<u16>| {
            let mut prefixes = vec![local(own_prefix(1))];
            prefixes.extend(metric.map(|metric| StubPrefix {
                metric,
                ..local(anycast())
            }));
            net.set_prefixes(1, prefixes);
        };
        advertise(&mut net, Some(u16::MAX));
        net.run(Duration::from_secs(20));
        assert_eq!(metric(&net, 3), Some(30));
        for worse in [Some(u16::MAX), None] {
            for pause in [60, 200, 500, 900, 1100, 3000] {
                for (healthy, expected) in [(true, 20), (false, 30), (true, 20), (false, 30)] {
                    let told = if healthy { Some(0) } else { worse };
                    advertise(&mut net, told);
                    let took = net.run_while(Duration::from_secs(10), |net| {
                        metric(net, 3) != Some(expected)
                    });
                    assert!(took <= SOON, "{worse:?} after {pause} ms: {took:?}");
                    net.run_ms(pause);
                }
                net.run(Duration::from_secs(20));
            }
        }
    }
}

/// One that comes and goes for ever is told at the pace of RFC 2328 B, and ends as it is.
#[test]
fn a_prefix_that_changes_for_ever_is_told_seldom() {
    let mut net = client_and_servers(20);
    let before = net.node(1).counters().lsas_originated;
    let advertise = |net: &mut Net, metric| {
        let anycast = StubPrefix {
            metric,
            ..local(anycast())
        };
        net.set_prefixes(1, vec![local(own_prefix(1)), anycast]);
    };
    for round in 0..500 {
        advertise(&mut net, if round % 2 == 0 { u16::MAX } else { 0 });
        net.run_ms(100);
    }
    let originated = net.node(1).counters().lsas_originated - before;
    assert!((10..=14).contains(&originated), "{originated} in 50 s");
    let refused = net.node(0).counters().refused.get(&Refusal::MinLsArrival);
    assert_eq!(refused, None, "the neighbour takes them all");
    advertise(&mut net, u16::MAX);
    net.run(Duration::from_secs(6));
    assert_eq!(metric(&net, 0), Some(20));
    let lsas = net.node(0).database().lsas;
    let of_server = lsas
        .iter()
        .filter(|lsa| lsa.advertising_router == router_id(1));
    assert_eq!(of_server.count(), 4, "{}", net.describe());
}
