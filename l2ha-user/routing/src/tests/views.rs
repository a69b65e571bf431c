//! What the control socket shows of a node, byte for byte: others than `l2ha` read it too.

use std::time::Duration;

use config::OspfNetwork;
use ospfv3::{Algorithm, AuthKey, KeyChain};
use serde::Serialize;
use tokio::{sync::oneshot, time::sleep};

use super::net::{AT_REST, Net, Node, play};
use crate::types::View;

/// A view that is kept: a list has an entry a line.
macro_rules! kept {
    ($name:literal) => {
        include_str!(concat!("views/", $name, ".json"))
    };
}

/// Compares a view with the one that is kept.
async fn is_as_kept<T: Serialize>(
    node: &mut Node,
    view: impl FnOnce(oneshot::Sender<T>) -> View,
    kept: &str,
) {
    let shown = node.routing().show(view).await.unwrap();
    let mut text = String::new();
    match &serde_json::to_value(shown).unwrap() {
        serde_json::Value::Array(list) => list.iter().for_each(|it| text += &format!("{it}\n")),
        other => text = format!("{other}\n"),
    }
    assert_eq!(text, kept);
}

fn keys() -> KeyChain {
    let key = AuthKey::new(7, Algorithm::HmacSha256, "a secret");
    KeyChain { keys: vec![key] }
}

/// Node 1 has a neighbour over a link with keys, one on a broadcast network, and one whose Hellos do
/// not fit.
async fn net() -> Net {
    let mut net = Net::new(&[(1, 2), (1, 3), (2, 3), (1, 4)]);
    for (node, peer) in [(1, 2), (2, 1)] {
        net.node(node).interface(peer).keys = Some(keys());
    }
    for (node, peer) in [(1, 3), (3, 1)] {
        net.node(node).interface(peer).network = OspfNetwork::Broadcast;
    }
    net.node(4).config.hello_interval = 2;
    net.node(2).serve("2001:db8::80", 0);
    net.node(3).serve("2001:db8::80", 0);
    net.node(3).serve("192.0.2.80", 5);
    for node in 1..=4 {
        net.node(node).desired.ipv4 = Some(64);
        net.node(node).start();
    }
    sleep(AT_REST).await;
    net
}

#[test]
fn of_a_node_at_rest() {
    play(async {
        let mut net = net().await;
        let node = net.node(1);
        is_as_kept(node, View::Interfaces, kept!("interfaces")).await;
        is_as_kept(node, View::Neighbors, kept!("neighbors")).await;
        is_as_kept(node, View::Database, kept!("database")).await;
        is_as_kept(node, View::Routes, kept!("routes")).await;
        is_as_kept(node, View::Summary, kept!("summary")).await;
    });
}

#[test]
fn of_a_restart() {
    play(async {
        let mut net = net().await;
        net.node(2).stop_for_restart().await;
        sleep(Duration::from_secs(1)).await;
        is_as_kept(net.node(1), View::Neighbors, kept!("neighbors_helped")).await;
        net.node(2).start();
        sleep(Duration::from_millis(100)).await;
        is_as_kept(net.node(2), View::Summary, kept!("summary_restarting")).await;
        sleep(AT_REST).await;
        is_as_kept(net.node(1), View::Neighbors, kept!("neighbors_after_help")).await;
        is_as_kept(net.node(1), View::Summary, kept!("summary_after_help")).await;
    });
}
