//! A reload touches nothing that it does not name.

use std::time::Duration;

use tokio::time::sleep;

use super::net::{AT_REST, Net, play};

const SERVICE: &str = "2001:db8::80";
const NOTHING: [&str; 0] = [];

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
        let done = net.node(1).done();
        let fallen = |what: &&String| {
            ["open", "close", "watch", "remove"]
                .iter()
                .any(|it| what.starts_with(it))
        };
        assert_eq!(done.iter().find(fallen), None, "{done:#?}");
        for server in [2, 3] {
            assert_eq!(net.node(server).done_to_routes(), NOTHING);
        }
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
