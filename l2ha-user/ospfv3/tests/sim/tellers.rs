//! Where many routers would tell a neighbour the same, one does at once and the others only if it does not.

use std::time::Duration;

use ospfv3::NeighborState;

use crate::net::{LOOPBACK, Net, anycast, local};

const SERVERS: usize = 5;
const NODES: usize = 15;
/// Type of a Link State Update (RFC 5340 A.3.5).
const UPDATE: u8 = 4;

/// Servers with a link to everybody, and clients, which forward nothing.
fn cluster(many_links: usize) -> Net {
    let mut links = Vec::new();
    for server in 0..SERVERS {
        links.extend((server + 1..NODES).map(|other| (server, other, 10)));
    }
    let mut net = Net::drawn(1, NODES, &links);
    net.many_links = many_links;
    net.hosts = (SERVERS..NODES).collect();
    for node in 0..NODES {
        net.start(node);
    }
    net.run(Duration::from_secs(30));
    for node in 0..NODES {
        let neighbors = net.node(node).neighbors();
        assert!(neighbors.iter().all(|it| it.state == NeighborState::Full));
    }
    net
}

/// The last client gets an address more, and how many updates that takes in `time`.
fn change(net: &mut Net, time: Duration) -> usize {
    net.captured = Some(Vec::new());
    let (now, node) = (net.now, NODES - 1);
    let prefixes = vec![local(net.own(node)), local(anycast())];
    net.with(node, |speaker| {
        speaker.set_prefixes(now, LOOPBACK, prefixes)
    });
    net.run(time);
    let frames = net.captured.take().unwrap_or_default();
    frames.iter().filter(|it| it.bytes[1] == UPDATE).count()
}

/// How many of the others have the new address of the last client.
fn know(net: &Net) -> usize {
    let others = (0..NODES - 1).filter(|node| net.nodes[*node].is_some());
    others
        .filter(|node| net.node(*node).routes().get(&anycast()).is_some())
        .count()
}

#[test]
fn each_is_told_once() {
    let quiet = Duration::from_secs(3);
    let mut net = cluster(2);
    // The servers by the client, each other client by one of them.
    assert_eq!(change(&mut net, quiet), NODES - 1);
    assert_eq!(know(&net), NODES - 1);
    assert!((0..NODES).all(|node| net.node(node).is_acknowledged()));
    // As RFC 2328 has it, every router tells all of its neighbours.
    let mut net = cluster(NODES);
    assert!(change(&mut net, quiet) > 5 * NODES);
    assert_eq!(know(&net), NODES - 1);
}

#[test]
fn who_is_not_told_is_told_by_another_a_second_later() {
    let mut net = cluster(2);
    // Whoever it is that would tell the other clients: of each of them some links are cut, and nobody has
    // noticed yet.
    for (number, link) in net.links.iter_mut().enumerate() {
        let [a, b] = link.ends;
        let to_client = b.node >= SERVERS && b.node < NODES - 1;
        link.cut = to_client && a.node != number % SERVERS && a.node != (b.node + 1) % SERVERS;
    }
    change(&mut net, Duration::from_millis(300));
    assert!(know(&net) < NODES - 1, "nobody was missed");
    net.run(Duration::from_millis(1200));
    assert_eq!(know(&net), NODES - 1);
}
