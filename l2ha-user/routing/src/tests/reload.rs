//! A reload touches nothing that it does not name.

use std::{net::Ipv4Addr, time::Duration};

use config::OspfArea;
use linux::{ForeignRoute, RouteSource};
use ospfv3::{Algorithm, AreaConfig, AuthKey, KeyChain, Lifetime};
use tokio::time::{sleep, timeout};

use super::net::{AT_REST, Net, play};
use crate::types::View;

const SERVICE: &str = "2001:db8::80";
const NOTHING: [&str; 0] = [];

/// What of this belongs to an adjacency that has fallen, or makes packets lose their way.
fn lost(done: &[String]) -> Vec<&String> {
    let fallen = ["open", "close", "watch", "remove", "drop"];
    let of_loss = |what: &&String| fallen.iter().any(|it| what.starts_with(it));
    done.iter().filter(of_loss).collect()
}

/// How many adjacencies a node has lost since its start.
async fn adjacencies_lost(net: &mut Net, node: u32) -> u64 {
    let summary = net.node(node).routing().show(View::Summary).await;
    summary.unwrap().unwrap().ipv6.counters.adjacencies_lost
}

#[test]
fn the_same_again_does_nothing() {
    play(async {
        let mut net = Net::client_and_servers().await;
        for node in 1..=3 {
            net.node(node).sync();
        }
        sleep(AT_REST).await;
        for node in 1..=3 {
            assert_eq!(net.node(node).done(), NOTHING);
        }
    });
}

#[test]
fn another_cost_moves_routes_and_no_adjacency_falls() {
    play(async {
        let mut net = Net::client_and_servers().await;
        net.node(1).interface(2).cost = 100;
        net.node(1).sync();
        sleep(Duration::from_millis(500)).await;
        assert_eq!(net.node(1).leads(SERVICE), [3]);
        sleep(AT_REST).await;
        let mut done = net.node(1).done();
        done.retain(|what| what != "drop object");
        assert_eq!(lost(&done), NOTHING, "{done:#?}");
        for server in [2, 3] {
            assert_eq!(net.node(server).done_to_routes(), NOTHING);
        }
    });
}

#[test]
fn what_is_said_of_ospf_as_a_whole_changes_under_live_adjacencies() {
    play(async {
        let mut net = Net::client_and_servers().await;
        net.node(1).set_foreign_routes(vec![ForeignRoute {
            destination: "2001:db8:7::".parse().unwrap(),
            prefix_len: 128,
            source: RouteSource::Static,
            interface: Some(9),
        }]);
        let done = net.node(1).configure(|ospf| {
            ospf.retransmit_interval = 2;
            ospf.graceful_restart = 60;
            ospf.graceful_helper = false;
            ospf.graceful_strict = false;
            ospf.redistribute.statics = true;
            ospf.accept_default = true;
            ospf.cost = 77;
        });
        timeout(Duration::from_millis(100), done)
            .await
            .unwrap()
            .unwrap();
        sleep(AT_REST).await;
        for node in 1..=3 {
            let done = net.node(node).done();
            assert_eq!(lost(&done), NOTHING, "{node}: {done:#?}");
            assert_eq!(adjacencies_lost(&mut net, node).await, 0);
        }
        assert_eq!(net.node(2).leads("2001:db8:7::"), [1]);
        assert_eq!(net.node(1).leads(SERVICE), [2]);

        net.node(1)
            .configure(|ospf| ospf.redistribute.statics = false);
        sleep(AT_REST).await;
        assert_eq!(net.node(2).leads("2001:db8:7::"), [0; 0]);
        assert_eq!(net.node(1).done(), NOTHING);
    });
}

#[test]
fn each_interface_changes_under_its_adjacency() {
    play(async {
        let mut net = Net::client_and_servers().await;
        let key = AuthKey {
            sa_id: 7,
            algorithm: Algorithm::HmacSha256,
            secret: b"secret".to_vec().into(),
            protocol_id: None,
            send: Lifetime::default(),
            accept: Lifetime::default(),
        };
        let mut timers = net.node(1).interface(2).bfd.unwrap();
        timers.interval = Duration::from_millis(20);
        let interface = net.node(1).interface(2);
        interface.priority = 9;
        interface.bfd = Some(timers);
        interface.prefixes = vec![("2001:db8:9::1".parse().unwrap(), 64)];
        net.node(1).sync();
        for (node, peer) in [(1, 2), (2, 1)] {
            let keys = vec![key.clone()];
            net.node(node).interface(peer).keys = Some(KeyChain { keys });
            net.node(node).sync();
        }
        sleep(AT_REST).await;
        for node in 1..=3 {
            let mut done = net.node(node).done();
            // That BFD is told of other intervals is no loss.
            done.retain(|what| what != "watch 2 3");
            assert_eq!(lost(&done), NOTHING, "{node}: {done:#?}");
            assert_eq!(adjacencies_lost(&mut net, node).await, 0);
        }
        assert_eq!(net.node(1).watched(), [2, 3]);
    });
}

#[test]
fn intervals_change_at_one_end_after_the_other() {
    play(async {
        let mut net = Net::client_and_servers().await;
        for node in 1..=3 {
            net.node(node)
                .configure(|ospf| (ospf.hello_interval, ospf.dead_interval) = (2, 9));
            sleep(Duration::from_secs(1)).await;
        }
        sleep(AT_REST).await;
        for node in 1..=3 {
            assert_eq!(net.node(node).done(), NOTHING);
            assert_eq!(adjacencies_lost(&mut net, node).await, 0);
        }
    });
}

#[test]
fn routes_move_to_another_table_and_metric_and_none_is_missing() {
    play(async {
        let mut net = Net::client_and_servers().await;
        for place in [(254, 30), (254, 10), (100, 10), (254, 20)] {
            let done = net
                .node(1)
                .configure(|ospf| (ospf.table, ospf.route_metric) = place);
            timeout(Duration::from_millis(100), done)
                .await
                .unwrap()
                .unwrap();
            assert_eq!(net.node(1).places(), [place]);
            assert_eq!(net.node(1).leads(SERVICE), [2]);
            let done = net.node(1).done();
            let put = done.iter().rposition(|it| it.starts_with("put"));
            let removed = done.iter().position(|it| it.starts_with("remove"));
            assert!(put.is_some() && put < removed, "{done:#?}");
        }
        // There and back at once.
        net.node(1).configure(|ospf| ospf.route_metric = 30);
        net.node(1).configure(|ospf| ospf.route_metric = 20);
        sleep(AT_REST).await;
        assert_eq!(net.node(1).places(), [(254, 20)]);
        assert_eq!(adjacencies_lost(&mut net, 1).await, 0);
        net.node(1).stop().await;
        assert!(net.node(1).kernel_is_empty());
    });
}

#[test]
fn an_areas_default_route_changes_and_its_kind_takes_its_adjacencies_down() {
    play(async {
        let area = Ipv4Addr::new(0, 0, 0, 1);
        let stub = |default_cost, no_summary| OspfArea {
            area,
            config: AreaConfig {
                stub: true,
                default_cost,
                no_summary,
            },
        };
        let mut net = Net::new(&[(1, 2), (2, 3)]);
        net.node(1).interface(2).area = area;
        net.node(2).interface(1).area = area;
        net.node(3).serve(SERVICE, 0);
        for node in 1..=3 {
            net.node(node).desired.areas = vec![stub(5, false)];
            net.node(node).start();
        }
        sleep(AT_REST).await;
        net.forget();
        assert_eq!(net.node(1).leads(SERVICE), [2]);
        net.node(2).desired.areas = vec![stub(9, true)];
        net.node(2).sync();
        sleep(AT_REST).await;
        assert_eq!(net.node(1).leads(SERVICE), [0; 0], "the default route");
        for node in 1..=3 {
            assert_eq!(adjacencies_lost(&mut net, node).await, 0);
        }
        net.node(2).desired.areas = Vec::new();
        net.node(2).sync();
        sleep(Duration::from_millis(100)).await;
        assert_eq!(net.node(2).watched(), [3]);
        assert_eq!(adjacencies_lost(&mut net, 3).await, 0);
    });
}

#[test]
fn another_router_id_is_another_router_and_comes_up_again() {
    play(async {
        let mut net = Net::client_and_servers().await;
        net.node(1)
            .configure(|ospf| ospf.router_id = Ipv4Addr::new(10, 0, 0, 99));
        sleep(Duration::from_millis(100)).await;
        assert_eq!(net.node(1).leads(SERVICE), [2], "kept meanwhile");
        sleep(AT_REST).await;
        assert_eq!(net.node(1).leads(SERVICE), [2]);
        assert_eq!(net.node(2).leads("2001:db8::1"), [1]);
        assert_eq!(net.node(1).watched(), [2, 3]);
        let done = net.node(1).done();
        let gone = done.iter().any(|it| it.starts_with("remove"));
        assert!(!gone, "{done:#?}");
        let interfaces = done.iter().any(|it| it.starts_with("close"));
        assert!(!interfaces, "{done:#?}");
        // The two others go on with each other.
        let summary = net.node(2).routing().show(View::Summary).await;
        let summary = summary.unwrap().unwrap();
        assert_eq!(summary.ipv6.counters.adjacencies_lost, 1);
    });
}

#[test]
fn an_interface_goes_and_comes_and_the_others_hear_nothing() {
    play(async {
        let mut net = Net::client_and_servers().await;
        let all = net.node(1).desired.interfaces.clone();
        net.node(1).desired.interfaces.retain(|it| it.index != 2);
        net.node(1).sync();
        sleep(AT_REST).await;
        let done = net.node(1).done();
        assert_eq!(done[0], "close l2-2", "{done:#?}");
        assert!(!done.contains(&"close l2-3".to_owned()), "{done:#?}");
        assert_eq!(net.node(1).watched(), [3]);
        assert_eq!(net.node(1).leads(SERVICE), [3]);

        net.node(1).desired.interfaces = all;
        net.node(1).sync();
        sleep(AT_REST).await;
        let done = net.node(1).done();
        assert_eq!(done[0], "open l2-2", "{done:#?}");
        let watched = done.iter().filter(|it| it.starts_with("watch"));
        assert_eq!(watched.collect::<Vec<_>>(), ["watch 2 3"]);
        assert_eq!(net.node(1).leads(SERVICE), [2]);
    });
}

#[test]
fn a_service_that_is_withdrawn_takes_its_own_route_only() {
    play(async {
        let mut net = Net::client_and_servers().await;
        net.node(2).serve("2001:db8::90", 0);
        net.node(2).sync();
        sleep(AT_REST).await;
        let done = net.node(1).done();
        assert_eq!(done, ["add object to 2", "put 2001:db8::90"]);
        assert_eq!(net.node(1).leads("2001:db8::90"), [2]);

        net.node(2).withdraw("2001:db8::90");
        net.node(2).sync();
        sleep(Duration::from_millis(100)).await;
        let done = net.node(1).done();
        assert_eq!(done, ["remove 2001:db8::90", "drop object"]);

        net.node(2).withdraw(SERVICE);
        net.node(2).sync();
        sleep(AT_REST).await;
        assert_eq!(net.node(1).leads(SERVICE), [3]);
        assert!(
            !net.node(1)
                .done()
                .iter()
                .any(|it| it.starts_with("remove") || it.starts_with("watch"))
        );
        assert_eq!(net.node(2).leads("2001:db8::1"), [1]);
    });
}

#[test]
fn ipv4_comes_and_goes_and_ipv6_hears_nothing() {
    play(async {
        let mut net = Net::client_and_servers().await;
        for node in 1..=3 {
            let node = net.node(node);
            node.desired.ipv4 = Some(64);
            node.serve("192.0.2.80", 0);
            node.sync();
        }
        net.node(1).withdraw("192.0.2.80");
        net.node(3).withdraw("192.0.2.80");
        net.node(1).sync();
        net.node(3).sync();
        sleep(AT_REST).await;
        let done = net.node(1).done_to_routes();
        assert_eq!(done.last().unwrap(), "put 192.0.2.80", "{done:#?}");
        assert!(!done.iter().any(|it| it.contains("2001:db8")), "{done:#?}");
        assert_eq!(net.node(1).leads("192.0.2.80"), [2]);
        assert_eq!(net.node(1).watched(), [2, 3], "a session serves both");

        net.node(1).desired.ipv4 = None;
        net.node(1).sync();
        sleep(AT_REST).await;
        let done = net.node(1).done_to_routes();
        assert_eq!(done, ["remove 192.0.2.80", "drop object"]);
        assert_eq!(net.node(1).leads(SERVICE), [2]);
        assert_eq!(net.node(2).leads("2001:db8::1"), [1]);
    });
}

#[test]
fn a_node_that_forwards_nothing_is_on_nobodys_way() {
    play(async {
        let mut net = Net::new(&[(1, 2), (2, 3)]);
        net.node(2).serve("2001:db8::90", 0);
        net.node(3).serve(SERVICE, 0);
        net.node(2).set_forwarding(false);
        for node in 1..=3 {
            net.node(node).start();
        }
        sleep(AT_REST).await;
        assert_eq!(net.node(1).leads("2001:db8::90"), [2]);
        assert_eq!(net.node(1).leads(SERVICE), [0; 0]);

        net.node(2).set_forwarding(true);
        net.node(2).sync();
        sleep(AT_REST).await;
        assert_eq!(net.node(1).leads(SERVICE), [2]);
    });
}
