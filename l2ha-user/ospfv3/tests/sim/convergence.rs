//! Whatever the links do, in the end everybody has the same databases and the right routes.

use std::collections::BTreeMap;
use std::time::Duration;

use ospfv3::{DbId, NeighborState};

use crate::net::{Net, Rng, Weather, own_prefix};

/// A connected random graph.
fn random_links(rng: &mut Rng, nodes: usize, extra: usize) -> Vec<(usize, usize, u16)> {
    let mut links = Vec::new();
    for node in 1..nodes {
        let other = rng.below(node as u64) as usize;
        links.push((other, node, 1 + rng.below(20) as u16));
    }
    for _ in 0..extra {
        let a = rng.below(nodes as u64) as usize;
        let b = rng.below(nodes as u64) as usize;
        if a != b {
            links.push((a, b, 1 + rng.below(20) as u16));
        }
    }
    links
}

/// Distances by Floyd and Warshall, over the links that are not cut and the nodes that run.
fn distances(net: &Net) -> Vec<Vec<Option<u32>>> {
    let count = net.nodes.len();
    let mut table = vec![vec![None; count]; count];
    for (node, row) in table.iter_mut().enumerate() {
        row[node] = Some(0);
    }
    for link in net.links.iter().filter(|link| !link.cut) {
        let [a, b] = link.ends.map(|end| end.node);
        if net.nodes[a].is_none() || net.nodes[b].is_none() {
            continue;
        }
        let cost = u32::from(link.cost);
        for (a, b) in [(a, b), (b, a)] {
            table[a][b] = Some(table[a][b].map_or(cost, |old: u32| old.min(cost)));
        }
    }
    for via in 0..count {
        for a in 0..count {
            for b in 0..count {
                if let (Some(x), Some(y)) = (table[a][via], table[via][b]) {
                    table[a][b] = Some(table[a][b].map_or(x + y, |old| old.min(x + y)));
                }
            }
        }
    }
    table
}

/// What keeps the network from being as it should, if anything.
fn wrong(net: &Net) -> Option<String> {
    let distances = distances(net);
    for (from, row) in distances.iter().enumerate() {
        let Some(speaker) = &net.nodes[from] else {
            continue;
        };
        for (to, distance) in row.iter().enumerate() {
            let distance = if from == to { None } else { *distance };
            let route = speaker.routes().get(&own_prefix(to));
            if route.map(|route| route.metric) != distance {
                return Some(format!("{from} to {to}: {route:?}, not {distance:?}"));
            }
            let Some(route) = route else { continue };
            // The next hops are exactly the links on shortest paths.
            let mut expected = Vec::new();
            for link in net.links.iter().filter(|link| !link.cut) {
                for (near, far) in [(0, 1), (1, 0)] {
                    let (near, far) = (link.ends[near], link.ends[far]);
                    let rest = distances[far.node][to];
                    let total = rest.map(|rest| rest + u32::from(link.cost));
                    if near.node == from && total == distance {
                        expected.push(near.interface);
                    }
                }
            }
            expected.sort_unstable();
            let got: Vec<u32> = route.nexthops.iter().map(|hop| hop.interface).collect();
            if got != expected {
                return Some(format!("{from} to {to} over {got:?}, not {expected:?}"));
            }
        }
    }
    None
}

/// The area database without ages.
fn contents(net: &Net, node: usize) -> BTreeMap<(u16, u32, u32), (u32, u16)> {
    net.node(node)
        .database()
        .lsas
        .into_iter()
        .filter(|lsa| matches!(lsa.scope, DbId::Area(_)))
        .map(|lsa| {
            let key = (
                lsa.ty.0,
                lsa.link_state_id.to_bits(),
                lsa.advertising_router.to_bits(),
            );
            (key, (lsa.sequence, lsa.checksum))
        })
        .collect()
}

fn settle(net: &mut Net, limit: u64) {
    let start = net.now;
    loop {
        net.run_ms(500);
        let Some(reason) = wrong(net) else { break };
        assert!(
            net.now < start + Duration::from_secs(limit),
            "after {limit} s: {reason}\n{}",
            net.describe()
        );
    }
}

#[test]
fn fair_weather() {
    for seed in 0..20 {
        let mut rng = Rng(seed);
        let nodes = 2 + rng.below(9) as usize;
        let links = random_links(&mut rng, nodes, 6);
        let mut net = Net::build(seed, nodes, &links);
        settle(&mut net, 8);
        net.run(Duration::from_secs(10));
        assert_eq!(wrong(&net), None);
        for node in 1..nodes {
            assert_eq!(contents(&net, 0), contents(&net, node), "seed {seed}");
        }
        assert!((0..nodes).all(|node| net.node(node).is_acknowledged()));
    }
}

#[test]
fn storms_partitions_crashes_and_restarts() {
    for seed in 100..125 {
        let mut rng = Rng(seed);
        let nodes = 3 + rng.below(5) as usize;
        let links = random_links(&mut rng, nodes, 4);
        let mut net = Net::build(seed, nodes, &links);
        net.weather = Weather::STORM;
        for _ in 0..12 {
            net.run_ms(rng.below(6000));
            let link = rng.below(net.links.len() as u64) as usize;
            let node = rng.below(nodes as u64) as usize;
            match rng.below(6) {
                0 | 1 => net.links[link].cut = true,
                2 | 3 => net.links[link].cut = false,
                4 if net.nodes[node].is_some() => net.crash(node),
                5 if net.nodes[node].is_some() => net.stop(node),
                _ if net.nodes[node].is_none() => net.start(node),
                _ => {}
            }
        }
        for node in 0..nodes {
            if net.nodes[node].is_none() {
                net.start(node);
            }
        }
        for link in &mut net.links {
            link.cut = false;
        }
        net.weather = Weather {
            loss_percent: 0,
            ..Weather::STORM
        };
        settle(&mut net, 60);
        net.run(Duration::from_secs(30));
        assert_eq!(wrong(&net), None);
        for node in 1..nodes {
            assert_eq!(
                contents(&net, 0),
                contents(&net, node),
                "seed {seed}\n{}",
                net.describe()
            );
        }
        for node in 0..nodes {
            let neighbors = net.node(node).neighbors();
            assert!(neighbors.iter().all(|n| n.state == NeighborState::Full));
            assert!(net.node(node).is_acknowledged(), "{}", net.describe());
        }
    }
}

#[test]
fn the_same_seed_replays() {
    let run = || {
        let mut net = Net::build(7, 4, &[(0, 1, 1), (1, 2, 1), (2, 3, 1), (3, 0, 1)]);
        net.weather = Weather::STORM;
        net.captured = Some(Vec::new());
        net.run(Duration::from_secs(30));
        let frames = net.captured.unwrap_or_default();
        (
            net.events,
            frames
                .into_iter()
                .map(|frame| frame.bytes)
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!(run(), run());
}

#[test]
fn databases_outlive_hours() {
    let mut net = Net::build(3, 3, &[(0, 1, 10), (1, 2, 10), (0, 2, 10)]);
    net.intervals = (10, 40);
    for node in 0..3 {
        net.crash(node);
        net.start(node);
    }
    settle(&mut net, 60);
    // MinLSInterval: the new links are told at their real cost.
    net.run(Duration::from_secs(10));
    let before = contents(&net, 0);
    net.crash(2);
    net.run(Duration::from_secs(3000));
    assert!(net.node(0).database().lsas.iter().all(|lsa| lsa.age < 3600));
    net.run(Duration::from_secs(4000));
    assert_eq!(wrong(&net), None);
    let after = contents(&net, 0);
    assert_eq!(after, contents(&net, 1));
    let dead = crate::net::router_id(2).to_bits();
    assert!(before.keys().any(|(_, _, adv)| *adv == dead));
    assert!(after.keys().all(|(_, _, adv)| *adv != dead), "aged out");
    for (key, (sequence, _)) in after {
        assert!(sequence >= before[&key].0 + 3, "refreshed");
    }
    assert!(net.node(0).counters().lsas_aged_out > 0);
    assert_eq!(net.node(0).counters().lsas_retransmitted, 0);
}

#[test]
fn a_clock_that_jumps_ahead_is_recovered_from() {
    let mut net = Net::build(1, 2, &[(0, 1, 10)]);
    net.run(Duration::from_secs(10));
    // Longer than an LSA lives: node 0 takes all it has from node 1 for dead, and says so.
    net.jump(0, Duration::from_secs(4000));
    net.run(Duration::from_secs(30));
    assert!(net.node(0).counters().lsas_aged_out > 0);
    assert!(net.node(0).routes().contains_key(&own_prefix(1)));
    assert!(net.node(1).routes().contains_key(&own_prefix(0)));
}
