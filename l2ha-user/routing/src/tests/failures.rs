//! Failures, and what BFD says of them.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::{Instant, sleep};

use super::net::{AT_REST, Net, link_local, play};
use crate::bfd::Notice;

const SERVICE: &str = "2001:db8::80";
const MOMENT: Duration = Duration::from_millis(10);

#[test]
fn bfd_turns_the_nexthop_object_before_anything_is_computed() {
    play(async {
        let mut net = Net::client_and_servers().await;
        net.set_cut(1, 2, true);
        let start = Instant::now();
        net.node(1).fail(2, true);
        sleep(AT_REST).await;
        let timed = net.node(1).timed(start);
        assert_eq!(timed[0], (0, "turn object to 3".to_owned()), "{timed:#?}");
        // The calculation says the same: the object stays where it is.
        assert!(
            !timed.iter().any(|(_, what)| what == "turn object to 2"),
            "{timed:#?}"
        );
        assert_eq!(net.node(1).leads(SERVICE), [3]);
        assert_eq!(net.node(1).watched(), [3]);

        net.set_cut(1, 2, false);
        sleep(AT_REST).await;
        assert_eq!(net.node(1).leads(SERVICE), [2]);
    });
}

#[test]
fn a_group_loses_the_failed_member_alone() {
    play(async {
        let mut net = Net::new(&[(1, 2), (1, 3), (1, 4)]);
        for server in 2..=4 {
            net.node(server).serve(SERVICE, 0);
        }
        for node in 1..=4 {
            net.node(node).start();
        }
        sleep(AT_REST).await;
        assert_eq!(net.node(1).leads(SERVICE), [2, 3, 4]);
        net.forget();
        net.set_cut(1, 3, true);
        net.node(1).fail(3, true);
        sleep(MOMENT).await;
        let done = net.node(1).done_to_routes();
        assert_eq!(done[0], "turn group to 2 4", "{done:#?}");
        sleep(AT_REST).await;
        assert_eq!(net.node(1).leads(SERVICE), [2, 4]);
        let done = net.node(1).done_to_routes();
        assert!(!done.iter().any(|it| it.starts_with("put")), "{done:#?}");
    });
}

#[test]
fn while_a_neighbour_restarts_only_a_path_that_is_gone_counts() {
    play(async {
        let mut net = Net::client_and_servers().await;
        net.node(2).stop_for_restart().await;
        net.node(1).fail(2, false);
        sleep(Duration::from_secs(5)).await;
        assert_eq!(net.node(1).done(), [""; 0], "it restarts");
        assert_eq!(net.node(1).leads(SERVICE), [2]);
        net.node(1).fail(2, true);
        sleep(MOMENT).await;
        assert_eq!(net.node(1).done()[0], "turn object to 3");
        assert_eq!(net.node(1).leads(SERVICE), [3]);
    });
}

#[test]
fn a_failure_just_before_a_restart_is_still_routed_around() {
    play(async {
        let mut net = Net::client_and_servers().await;
        // The neighbour cannot acknowledge the restart.
        net.set_cut(1, 2, true);
        let node = net.node(1);
        let failure = Notice::Failed {
            interface: 2,
            remote: link_local(2),
            path_is_gone: true,
        };
        let notices = node.notices();
        tokio::join!(node.stop_for_restart(), async {
            sleep(Duration::from_millis(500)).await;
            notices.send(failure).unwrap();
        });
        let done = node.done();
        assert_eq!(done[0], "turn object to 3", "{done:#?}");
        assert_eq!(node.leads(SERVICE), [3]);
    });
}

#[test]
fn a_silent_neighbour_is_dead_after_the_dead_interval() {
    play(async {
        let mut net = Net::client_and_servers().await;
        net.set_cut(1, 2, true);
        sleep(Duration::from_millis(2900)).await;
        assert_eq!(net.node(1).done(), [""; 0]);
        sleep(Duration::from_secs(2)).await;
        assert_eq!(net.node(1).leads(SERVICE), [3]);
    });
}

#[test]
fn a_route_that_somebody_removes_comes_back() {
    play(async {
        let mut net = Net::client_and_servers().await;
        net.node(1).lose(SERVICE);
        net.node(1).routing().check_routes();
        sleep(Duration::from_millis(60)).await;
        assert_eq!(net.node(1).done_to_routes(), ["put 2001:db8::80"]);
        assert_eq!(net.node(1).leads(SERVICE), [2]);
    });
}

#[test]
fn the_data_plane_hears_how_long_a_neighbour_may_be_silent() {
    play(async {
        let mut net = Net::client_and_servers().await;
        let detects_in = |silence| Notice::DetectsIn {
            interface: 2,
            remote: link_local(2),
            silence,
        };
        let silence = Duration::from_millis(150);
        net.node(1).notice(detects_in(Some(silence)));
        sleep(MOMENT).await;
        let longer = BTreeMap::from([(2, Duration::from_millis(179))]);
        assert_eq!(net.node(1).done(), [format!("silences {longer:?}")]);
        net.node(1).notice(detects_in(None));
        sleep(MOMENT).await;
        assert_eq!(net.node(1).done(), ["silences {}"]);

        net.node(1).notice(detects_in(Some(silence)));
        sleep(MOMENT).await;
        net.forget();
        net.node(1).stop().await;
        let done = net.node(1).done();
        assert_eq!(
            done[..3],
            ["end BFD", "silences {}", "detours"],
            "{done:#?}"
        );
    });
}
