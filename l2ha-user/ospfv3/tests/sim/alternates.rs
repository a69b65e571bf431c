//! Loop-free alternates (RFC 5286), checked by following them.

use std::net::Ipv4Addr;
use std::time::Duration;

use ospfv3::{NeighborState, Nexthop, Prefix};

use crate::net::{Net, anycast, hop as hop_to, local, own_prefix, router_id};

/// Full, and long enough for every adjacency to be trusted.
fn settled(mut net: Net) -> Net {
    net.run(Duration::from_secs(30));
    net
}

fn alternate(net: &Net, node: usize, prefix: Prefix, interface: u32) -> Option<Nexthop> {
    net.node(node)
        .alternates()
        .get(&(prefix, interface))
        .copied()
}

/// The neighbour a next hop leads to.
fn leads_to(net: &Net, node: usize, hop: &Nexthop) -> Ipv4Addr {
    let neighbors = net.node(node).neighbors();
    neighbors
        .iter()
        .find(|n| n.interface == hop.interface && hop.address == Some(n.address.into()))
        .expect("a neighbour")
        .router_id
}

#[test]
fn the_other_holder_of_an_anycast_address_is_the_alternate() {
    // 0 is the client, 1 and 2 hold the address; 2 is farther away.
    let mut net = Net::build(1, 3, &[(0, 1, 10), (0, 2, 100)]);
    for node in [1, 2] {
        net.set_prefixes(node, vec![local(own_prefix(node)), local(anycast())]);
    }
    let net = settled(net);
    let to_1 = net.links[0].ends[0].interface;
    let hop = alternate(&net, 0, anycast(), to_1).expect("an alternate");
    assert_eq!(leads_to(&net, 0, &hop), router_id(2));
    assert_eq!(hop.address, Some(hop_to(net.links[1].ends[1])));
    // What only 1 has could only come back.
    assert_eq!(alternate(&net, 0, own_prefix(1), to_1), None);
}

#[test]
fn a_way_through_the_lost_neighbour_is_none() {
    // 2 would send through 1.
    let net = settled(Net::build(
        1,
        4,
        &[(0, 1, 10), (0, 2, 10), (2, 1, 5), (1, 3, 10)],
    ));
    let to_1 = net.links[0].ends[0].interface;
    assert_eq!(alternate(&net, 0, own_prefix(3), to_1), None);
    // With a link of its own to 3 it would not.
    let links = [(0, 1, 10), (0, 2, 10), (2, 1, 5), (1, 3, 10), (2, 3, 12)];
    let net = settled(Net::build(1, 4, &links));
    let hop = alternate(&net, 0, own_prefix(3), to_1).expect("an alternate");
    assert_eq!(leads_to(&net, 0, &hop), router_id(2));
}

#[test]
fn next_hops_of_equal_cost_stand_in_for_each_other() {
    let net = settled(Net::build(
        1,
        4,
        &[(0, 1, 10), (0, 2, 10), (1, 3, 10), (2, 3, 10)],
    ));
    for (link, other) in [(0, 2), (1, 1)] {
        let interface = net.links[link].ends[0].interface;
        let hop = alternate(&net, 0, own_prefix(3), interface).expect("an alternate");
        assert_eq!(leads_to(&net, 0, &hop), router_id(other));
    }
}

#[test]
fn who_does_not_forward_is_an_alternate_for_its_own_only() {
    let links = [(0, 1, 10), (0, 2, 11), (1, 3, 10), (2, 3, 10)];
    let mut net = Net::build(1, 4, &links);
    for node in [1, 2] {
        net.set_prefixes(node, vec![local(own_prefix(node)), local(anycast())]);
    }
    let now = net.now;
    net.with(2, |speaker| speaker.set_transit(now, false));
    let net = settled(net);
    let to_1 = net.links[0].ends[0].interface;
    assert!(alternate(&net, 0, anycast(), to_1).is_some());
    assert_eq!(alternate(&net, 0, own_prefix(3), to_1), None);
}

/// In random networks: with all neighbours' routes as they were, a packet that took the alternate
/// reaches the destination and never the lost neighbour.
#[test]
fn alternates_followed_through_random_networks_arrive() {
    let mut followed = 0;
    for seed in 1..=12 {
        let mut net = random(seed);
        net.run(Duration::from_secs(60));
        for node in 0..net.nodes.len() {
            for ((prefix, interface), hop) in net.node(node).alternates() {
                let lost = net.node(node).neighbors();
                let lost: Vec<Ipv4Addr> = lost
                    .iter()
                    .filter(|n| n.interface == interface && n.state == NeighborState::Full)
                    .map(|n| n.router_id)
                    .collect();
                let holders: Vec<usize> = (0..net.nodes.len())
                    .filter(|holder| own_prefix(*holder) == prefix)
                    .collect();
                if holders
                    .iter()
                    .any(|holder| lost.contains(&router_id(*holder)))
                {
                    continue;
                }
                let mut at = leads_to(&net, node, &hop);
                for _ in 0..net.nodes.len() {
                    assert_ne!(
                        at,
                        router_id(node),
                        "seed {seed}: back at {node} for {prefix}"
                    );
                    assert!(!lost.contains(&at), "seed {seed}: through the lost one");
                    if holders.iter().any(|holder| router_id(*holder) == at) {
                        break;
                    }
                    let index = (0..net.nodes.len())
                        .find(|index| router_id(*index) == at)
                        .expect("a node");
                    let route = &net.node(index).routes()[&prefix];
                    at = leads_to(&net, index, &route.nexthops[0]);
                }
                assert!(
                    holders.iter().any(|holder| router_id(*holder) == at),
                    "seed {seed}: {prefix} is not reached"
                );
                followed += 1;
            }
        }
    }
    assert!(followed > 200, "only {followed} alternates");
}

/// Eight nodes in a ring with chords.
fn random(seed: u64) -> Net {
    let mut rng = crate::net::Rng(seed);
    let count = 8;
    let mut links: Vec<(usize, usize, u16)> = Vec::new();
    for node in 0..count {
        links.push((node, (node + 1) % count, 1 + rng.below(20) as u16));
    }
    for _ in 0..6 {
        let (a, b) = (rng.below(8) as usize, rng.below(8) as usize);
        if a != b {
            links.push((a, b, 1 + rng.below(20) as u16));
        }
    }
    Net::build(seed, count, &links)
}
