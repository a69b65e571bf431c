//! What the control socket shows of a node, byte for byte: others than `l2ha` read it too.

use std::time::Duration;

use config::OspfNetwork;
use control::{InFamily, OspfStatus};
use ospfv3::{Algorithm, AuthKey, KeyChain, LsaView};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{sync::oneshot, time::sleep};

use super::net::{AT_REST, Net, Node, play};
use crate::types::View;

/// A view that is kept: a list has an entry a line.
macro_rules! kept {
    ($name:literal) => {
        include_str!(concat!("views/", $name, ".json"))
    };
}

/// A view as JSON, and a list with an entry a line.
fn text(view: &impl Serialize) -> String {
    match serde_json::to_value(view).unwrap() {
        Value::Array(list) => {
            let lines: Vec<String> = list.iter().map(Value::to_string).collect();
            format!("[\n{}\n]\n", lines.join(",\n"))
        }
        other => format!("{other}\n"),
    }
}

/// What is kept can be read, and is the same when it is shown again.
fn is_read<T: Serialize + DeserializeOwned>(kept: &str) {
    let view: T = serde_json::from_str(kept).unwrap();
    assert_eq!(text(&view), kept);
}

/// A node shows what is kept.
async fn is_shown<T: Serialize + DeserializeOwned>(
    node: &mut Node,
    view: impl FnOnce(oneshot::Sender<T>) -> View,
    kept: &str,
) {
    assert_eq!(text(&node.routing().show(view).await.unwrap()), kept);
    is_read::<T>(kept);
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
        is_shown(node, View::Interfaces, kept!("interfaces")).await;
        is_shown(node, View::Neighbors, kept!("neighbors")).await;
        is_shown(node, View::Routes, kept!("routes")).await;
    });
}

#[test]
fn of_a_neighbour_that_restarts() {
    play(async {
        let mut net = net().await;
        net.node(2).stop_for_restart().await;
        sleep(Duration::from_secs(1)).await;
        is_shown(net.node(1), View::Neighbors, kept!("neighbors_helped")).await;
        net.node(2).start();
        sleep(AT_REST).await;
        is_shown(net.node(1), View::Neighbors, kept!("neighbors_after_help")).await;
    });
}

/// Checksums, sequence numbers and counters follow from all that OSPF does: these are held to their form.
#[test]
fn of_what_differs_with_each_change_of_ospf() {
    is_read::<Vec<InFamily<LsaView>>>(kept!("database"));
    is_read::<OspfStatus>(kept!("summary"));
    is_read::<OspfStatus>(kept!("summary_restarting"));
    play(async {
        let mut net = net().await;
        let lsas = net.node(1).routing().show(View::Database).await.unwrap();
        is_read::<Vec<InFamily<LsaView>>>(&text(&lsas));
        let status = net.node(1).routing().show(View::Summary).await.unwrap();
        let status = status.unwrap();
        is_read::<OspfStatus>(&text(&status));
        assert_eq!((status.interfaces, status.ipv6.neighbors_full), (3, 2));
        assert_eq!(status.ipv4.unwrap().routes, 1);
    });
}
