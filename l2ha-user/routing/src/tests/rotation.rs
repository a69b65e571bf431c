//! A rotation as the whole of routing sees it: OSPF of both families and BFD change keys together, and what the data
//! plane is told.

use std::{collections::BTreeMap, time::Duration};

use ospfv3::{Algorithm, AuthKey, Credential, KeyChain, Rotation};
use tokio::time::sleep;

use super::net::{AT_REST, Net, play};
use crate::types::{RotationState, View};

const SERVICE: &str = "2001:db8::80";

/// Ids of the former and of the present keys.
const OLD: u8 = 3;
const NEW: u8 = 2;

/// Gives all interfaces of a node the keys with these ids, the present one first, as a reload does.
fn reload(net: &mut Net, node: u32, ids: &[u8]) {
    let node = net.node(node);
    for interface in &mut node.desired.interfaces {
        let ospf = |id: &u8| {
            let secret = format!("secret {id}");
            AuthKey::new(u16::from(*id), Algorithm::HmacSha256, secret)
        };
        let bfd = |id: &u8| bfd::Key {
            id: *id,
            algorithm: bfd::Algorithm::MeticulousKeyedSha1,
            secret: format!("secret {id}").into_bytes().into(),
        };
        let both = |id: &u8| {
            [
                Credential::ospf_key(u16::from(*id)),
                Credential::bfd_key(*id),
            ]
        };
        interface.keys = Some(KeyChain {
            keys: ids.iter().map(ospf).collect(),
        });
        interface.bfd_keys = ids.iter().map(bfd).collect();
        interface.rotation = match ids {
            [present, former] => Some(Rotation {
                former: u16::from(*former),
                accepts: ids.iter().flat_map(both).collect(),
                present: both(present).to_vec(),
            }),
            _ => None,
        };
    }
    node.sync();
}

async fn lost(net: &mut Net, node: u32) -> u64 {
    let summary = net.node(node).routing().show(View::Summary).await;
    let summary = summary.unwrap().unwrap();
    let ipv4 = summary.ipv4.map_or(0, |it| it.counters.adjacencies_lost);
    summary.ipv6.counters.adjacencies_lost + ipv4
}

fn state(accepted: bool, used: bool) -> RotationState {
    RotationState {
        former: u16::from(OLD),
        accepted,
        used,
    }
}

#[test]
fn ospf_and_bfd_change_keys_when_the_neighbour_accepts_them() {
    play(async {
        let mut net = Net::new(&[(1, 2), (1, 3), (2, 3)]);
        net.node(2).serve(SERVICE, 0);
        for node in 1..=3 {
            net.node(node).desired.ipv4 = Some(64);
            net.node(node).start();
            reload(&mut net, node, &[OLD]);
        }
        sleep(AT_REST).await;
        net.forget();
        assert_eq!(net.node(1).signing(), BTreeMap::from([(2, OLD), (3, OLD)]));
        assert!(net.node(1).rotations().is_empty());

        reload(&mut net, 1, &[NEW, OLD]);
        sleep(Duration::from_secs(3)).await;
        assert_eq!(net.node(1).signing(), BTreeMap::from([(2, OLD), (3, OLD)]));
        let waiting = BTreeMap::from([(2, state(false, false)), (3, state(false, false))]);
        assert_eq!(net.node(1).rotations(), waiting);

        reload(&mut net, 2, &[NEW, OLD]);
        sleep(Duration::from_millis(20)).await;
        assert_eq!(net.node(1).signing(), BTreeMap::from([(2, NEW), (3, OLD)]));
        assert!(net.node(1).rotations()[&2].accepted);
        sleep(Duration::from_secs(2)).await;
        let half = BTreeMap::from([(2, state(true, true)), (3, state(false, false))]);
        assert_eq!(net.node(1).rotations(), half);

        reload(&mut net, 3, &[NEW, OLD]);
        sleep(Duration::from_secs(2)).await;
        for node in 1..=3 {
            assert!(net.node(node).signing().values().all(|id| *id == NEW));
            let done = net.node(node).rotations();
            assert!(done.values().all(|it| *it == state(true, true)), "{done:?}");
        }
        for node in 1..=3 {
            reload(&mut net, node, &[NEW]);
            sleep(Duration::from_millis(500)).await;
        }
        sleep(AT_REST).await;
        for node in 1..=3 {
            assert_eq!(lost(&mut net, node).await, 0);
            assert!(net.node(node).rotations().is_empty());
            assert!(net.node(node).signing().values().all(|id| *id == NEW));
            let done = net.node(node).done_to_routes();
            assert_eq!(done, [""; 0], "no route was touched");
        }
        assert_eq!(net.node(1).leads(SERVICE), [2]);
    });
}

#[test]
fn a_daemon_that_restarts_in_the_middle_loses_no_adjacency() {
    play(async {
        for planned in [true, false] {
            let mut net = Net::new(&[(1, 2), (1, 3), (2, 3)]);
            net.node(2).serve(SERVICE, 0);
            for node in 1..=3 {
                net.node(node).start();
                reload(&mut net, node, &[NEW, OLD]);
            }
            sleep(AT_REST).await;
            reload(&mut net, 3, &[NEW]);
            sleep(Duration::from_secs(2)).await;
            // 1 hears from 3 what it may send to it only after it has begun.
            if planned {
                net.node(1).stop_for_restart().await;
            } else {
                net.node(1).crash().await;
            }
            sleep(Duration::from_millis(800)).await;
            net.node(1).start();
            sleep(AT_REST).await;
            for node in 2..=3 {
                assert_eq!(lost(&mut net, node).await, 0, "{planned}");
            }
            assert!(net.node(1).signing().values().all(|id| *id == NEW));
            assert_eq!(net.node(1).leads(SERVICE), [2]);
        }
    });
}
