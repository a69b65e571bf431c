//! Starts, restarts, crashes and ends.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::net::{AT_REST, Net, play};

const SERVICE: &str = "2001:db8::80";

#[test]
fn adjacencies_and_routes_come_up() {
    play(async {
        let mut net = Net::new(&[(1, 2), (1, 3), (2, 3)]);
        net.node(2).serve(SERVICE, 0);
        net.node(3).serve(SERVICE, 5);
        for node in 1..=3 {
            net.node(node).start();
        }
        sleep(AT_REST).await;
        let client = net.node(1);
        assert_eq!(client.leads(SERVICE), [2]);
        assert_eq!(client.watched(), [2, 3]);
        let done = client.done();
        assert_eq!(done[..2], ["open l2-2", "open l2-3"]);
        let at = |what: &str| {
            let place = done.iter().position(|it| it == what);
            place.unwrap_or_else(|| panic!("no {what}: {done:#?}"))
        };
        assert!(at("watch 2 3") < at("add object to 2"));
        assert!(at("add object to 2") < at("put 2001:db8::80"));
        assert!(!done.contains(&"remove 2001:db8::80".to_owned()));
        assert_eq!(
            done.iter().rfind(|it| it.starts_with("detours")).unwrap(),
            "detours 2001:db8::80:2>3"
        );
    });
}

#[test]
fn a_restart_is_helped_and_changes_no_route_anywhere() {
    play(async {
        let mut net = Net::client_and_servers().await;
        assert_eq!(net.node(2).leads("2001:db8::1"), [1]);
        let start = Instant::now();
        net.node(2).stop_for_restart().await;
        assert!(start.elapsed() < Duration::from_secs(1), "acknowledged");
        assert_eq!(
            net.node(2).done(),
            ["abandon BFD", "close l2-1", "close l2-3"]
        );
        sleep(Duration::from_secs(6)).await;
        assert_eq!(net.node(1).done(), [""; 0], "longer than the dead interval");
        net.node(2).start();
        sleep(AT_REST).await;
        assert_eq!(net.node(1).done_to_routes(), [""; 0]);
        assert_eq!(net.node(3).done_to_routes(), [""; 0]);
        assert_eq!(net.node(2).done_to_routes(), [""; 0]);
        assert_eq!(net.node(2).watched(), [1, 3]);
        assert_eq!(net.node(1).leads(SERVICE), [2]);
        assert_eq!(net.node(2).leads("2001:db8::1"), [1]);
    });
}

#[test]
fn after_a_restart_what_is_no_longer_advertised_goes_when_that_is_known() {
    play(async {
        let mut net = Net::client_and_servers().await;
        net.node(2).stop_for_restart().await;
        net.node(1).withdraw("2001:db8::1");
        net.node(1).sync();
        sleep(Duration::from_secs(1)).await;
        net.forget();
        let start = Instant::now();
        net.node(2).start();
        sleep(Duration::from_millis(500)).await;
        assert_eq!(net.node(2).leads("2001:db8::1"), [1], "not known yet");
        sleep(AT_REST).await;
        let timed = net.node(2).timed(start);
        let removed = timed.iter().find(|(_, what)| what == "remove 2001:db8::1");
        assert!(removed.is_some_and(|(ms, _)| *ms < 8000), "{timed:#?}");
        assert_eq!(net.node(1).leads(SERVICE), [2]);
    });
}

#[test]
fn a_crash_moves_routes_elsewhere_and_the_return_finds_its_own_in_place() {
    play(async {
        let mut net = Net::client_and_servers().await;
        for node in 1..=3 {
            net.node(node).config.graceful_restart = 0;
        }
        let start = Instant::now();
        net.node(2).crash().await;
        sleep(Duration::from_secs(3)).await;
        assert_eq!(net.node(1).leads(SERVICE), [2], "not dead yet");
        sleep(Duration::from_secs(2)).await;
        assert_eq!(net.node(1).leads(SERVICE), [3]);
        let timed = net.node(1).timed(start);
        let at = |what: &str| timed.iter().position(|(_, it)| it == what);
        assert_eq!(at("remove 2001:db8::80"), None, "{timed:#?}");
        assert_eq!(net.node(2).leads("2001:db8::1"), [1]);

        // Gone while nobody looked: kept until the adjacencies have had time to come up.
        net.node(1).withdraw("2001:db8::1");
        net.node(1).serve("2001:db8::2", 0);
        net.node(1).sync();
        sleep(AT_REST).await;
        net.forget();
        let start = Instant::now();
        net.node(2).start();
        sleep(AT_REST).await;
        assert_eq!(net.node(1).leads(SERVICE), [2]);
        let mut timed = net.node(2).timed(start);
        timed.retain(|(_, what)| what.starts_with("put") || what.starts_with("remove"));
        let order: Vec<&str> = timed.iter().map(|(_, what)| what.as_str()).collect();
        assert_eq!(order, ["put 2001:db8::2", "remove 2001:db8::1"]);
        assert_eq!(timed[1].0, 6000, "dead interval and 2 s");
    });
}

#[test]
fn a_drained_node_is_the_last_resort_until_that_ends() {
    play(async {
        let mut net = Net::client_and_servers().await;
        net.node(2).routing().drain(true);
        sleep(Duration::from_secs(2)).await;
        assert_eq!(net.node(1).leads(SERVICE), [3]);
        assert_eq!(net.node(1).watched(), [2, 3], "adjacent all the same");
        assert!(
            !net.node(1)
                .done()
                .iter()
                .any(|what| what.starts_with("remove"))
        );
        assert_eq!(net.node(2).done_to_routes(), [""; 0]);

        net.node(2).stop_for_restart().await;
        net.node(2).start();
        assert!(net.node(2).routing().was_drained());
        net.node(2).routing().drain(true);
        sleep(AT_REST).await;
        assert_eq!(net.node(1).leads(SERVICE), [3]);

        // The last resort is better than none.
        net.node(3).stop().await;
        sleep(AT_REST).await;
        assert_eq!(net.node(1).leads(SERVICE), [2]);
        net.node(3).start();
        sleep(AT_REST).await;
        assert_eq!(net.node(1).leads(SERVICE), [3]);

        net.node(2).routing().drain(false);
        sleep(Duration::from_secs(2)).await;
        assert_eq!(net.node(1).leads(SERVICE), [2]);
    });
}

#[test]
fn a_clean_stop_withdraws_waits_and_removes_everything() {
    play(async {
        let mut net = Net::client_and_servers().await;
        let start = Instant::now();
        net.node(2).stop().await;
        let timed = net.node(2).timed(start);
        let times = |prefix: &str| -> Vec<u128> {
            let those = timed.iter().filter(|(_, what)| what.starts_with(prefix));
            those.map(|(ms, _)| *ms).collect()
        };
        assert_eq!(times("end BFD"), [0], "{timed:#?}");
        assert_eq!(times("remove"), [1500], "{timed:#?}");
        assert_eq!(times("put").len() + times("turn").len(), 0, "{timed:#?}");
        assert!(net.node(2).kernel_is_empty());

        let timed = net.node(1).timed(start);
        let moved = timed.iter().find(|(_, what)| what == "put 2001:db8::80");
        let turned = timed.iter().find(|(_, what)| what == "turn object to 3");
        let moved = moved.or(turned).unwrap_or_else(|| panic!("{timed:#?}"));
        assert!(moved.0 < 500, "long before the server is gone: {timed:#?}");
        assert_eq!(net.node(1).leads(SERVICE), [3]);
        assert_eq!(net.node(1).watched(), [3]);
    });
}
