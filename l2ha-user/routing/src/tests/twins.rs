//! Two nodes with one Router ID.

use std::slice;

use tokio::time::sleep;

use super::net::{AT_REST, Net, link_local, play};
use crate::types::View;

/// Where a node knows another router with its Router ID.
async fn twins(net: &mut Net, node: u32) -> Vec<control::Twin> {
    let status = net.node(node).routing().show(View::Summary).await.unwrap();
    status.unwrap().twins
}

#[test]
fn fault_5_neighbours_with_one_router_id_name_each_other() {
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
                address: Some(link_local(other)),
            };
            assert_eq!(twins(&mut net, node).await, [known]);
        }
        assert_eq!(twins(&mut net, 3).await, []);
    });
}

#[test]
fn fault_5_two_hops_apart_both_know() {
    play(async {
        let mut net = Net::new(&[(1, 3), (2, 3)]);
        net.node(2).config.router_id = net.node(1).config.router_id;
        net.node(1).serve("2001:db8::1", 0);
        net.node(2).serve("2001:db8::2", 0);
        for node in 1..=3 {
            net.node(node).start();
        }
        sleep(AT_REST * 2).await;
        let somewhere = control::Twin {
            interface: None,
            address: None,
        };
        for node in [1, 2] {
            let known = twins(&mut net, node).await;
            assert_eq!(known, slice::from_ref(&somewhere), "{node}");
        }
    });
}

/// A crash and a restart of a node alone are none.
#[test]
fn fault_5_a_node_is_not_its_own_twin() {
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
