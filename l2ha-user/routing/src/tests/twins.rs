//! Two nodes with one Router ID.

use std::{net::Ipv4Addr, time::Duration};

use tokio::time::sleep;

use super::net::{AT_REST, Net, link_local, play};
use crate::types::View;

/// What a node shows of OSPF.
async fn summary(net: &mut Net, node: u32) -> control::OspfStatus {
    let status = net.node(node).routing().show(View::Summary).await.unwrap();
    status.unwrap()
}

/// Where a node knows another router with its Router ID.
async fn twins(net: &mut Net, node: u32) -> Vec<control::Twin> {
    summary(net, node).await.twins
}

#[test]
fn neighbours_with_one_router_id_name_each_other() {
    play(async {
        let mut net = Net::new(&[(1, 2), (2, 3)]);
        net.node(2).config.router_id = net.node(1).config.router_id;
        for node in 1..=3 {
            net.node(node).start();
        }
        sleep(AT_REST).await;
        for (node, other) in [(1, 2), (2, 1)] {
            let known = control::Twin {
                interface: Some(format!("l2-{other}")),
                addresses: vec![link_local(other).into()],
                neighbors: Vec::new(),
            };
            assert_eq!(twins(&mut net, node).await, [known]);
        }
        assert_eq!(twins(&mut net, 3).await, []);
        // One of them gets another: it is over as soon as they are neighbours, and not a minute later.
        net.node(2).crash().await;
        net.node(2).config.router_id = Ipv4Addr::new(10, 9, 9, 9);
        net.node(2).start();
        sleep(AT_REST).await;
        for node in 1..=3 {
            assert_eq!(twins(&mut net, node).await, [], "{node}");
        }
    });
}

#[test]
fn routers_two_hops_apart_with_one_router_id_know_of_each_other() {
    play(async {
        let mut net = Net::new(&[(1, 3), (2, 3)]);
        net.node(2).config.router_id = net.node(1).config.router_id;
        net.node(1).serve("2001:db8::1", 0);
        net.node(2).serve("2001:db8::2", 0);
        for node in 1..=3 {
            net.node(node).start();
        }
        sleep(AT_REST * 2).await;
        let between = net.node(3).config.router_id;
        let doubled = net.node(1).config.router_id;
        for (node, address) in [(1, "2001:db8::2"), (2, "2001:db8::1")] {
            let behind = control::Twin {
                interface: None,
                addresses: vec![address.parse().unwrap()],
                neighbors: vec![between],
            };
            let summary = summary(&mut net, node).await;
            assert_eq!(summary.twins, [behind], "{node}");
            assert_eq!(summary.doubled_router_ids, []);
        }
        let summary = summary(&mut net, 3).await;
        let named = control::DoubledRouterId {
            router_id: doubled,
            neighbors: vec![
                ("l2-1".to_owned(), link_local(1)),
                ("l2-2".to_owned(), link_local(2)),
            ],
        };
        assert_eq!(summary.doubled_router_ids, [named]);
        assert_eq!(summary.twins, []);
    });
}

/// They supersede each other's LSAs, as RFC 2328 13.4 has it, but ever more seldom.
#[test]
fn routers_with_one_router_id_do_not_outpace_each_other() {
    play(async {
        let mut net = Net::new(&[(1, 3), (2, 3)]);
        net.node(2).config.router_id = net.node(1).config.router_id;
        for node in 1..=3 {
            net.node(node).start();
        }
        sleep(Duration::from_secs(300)).await;
        let before = summary(&mut net, 1).await.ipv6.counters;
        sleep(Duration::from_secs(600)).await;
        let after = summary(&mut net, 1).await.ipv6.counters;
        let originated = after.lsas_originated - before.lsas_originated;
        assert!((5..=25).contains(&originated), "{originated} in 600 s");
        // One of them gets another: it is as if nothing had been.
        net.node(2).crash().await;
        net.node(2).config.router_id = Ipv4Addr::new(10, 9, 9, 9);
        net.node(2).start();
        sleep(Duration::from_secs(300)).await;
        for node in 1..=3 {
            let summary = summary(&mut net, node).await;
            assert_eq!(summary.twins, [], "{node}");
            assert_eq!(summary.doubled_router_ids, [], "{node}");
        }
    });
}

/// A crash and a restart of a node alone are none.
#[test]
fn a_restarted_node_has_no_doubled_router_id() {
    play(async {
        let mut net = Net::client_and_servers().await;
        net.node(2).crash().await;
        net.node(2).start();
        sleep(AT_REST).await;
        net.node(2).stop_for_restart().await;
        net.node(2).start();
        sleep(AT_REST).await;
        for node in 1..=3 {
            assert_eq!(twins(&mut net, node).await, []);
        }
    });
}
