//! The text of a healthy node, and of one that is not.

use std::net::Ipv4Addr;

use control::{KernelRoutes, OspfInstance};
use serde_json::json;

use super::*;
use crate::cli::status::health::problems;

/// OSPF with so many interfaces, and so many neighbours that are full in each family.
pub(crate) fn status_of_ospf(interfaces: usize, six: usize, four: Option<usize>) -> OspfStatus {
    let instance = |neighbors_full| {
        let mut instance = OspfInstance {
            neighbors_full,
            ..OspfInstance::default()
        };
        instance.counters.lsas_flushed = 2;
        instance
    };
    OspfStatus {
        router_id: Ipv4Addr::new(10, 0, 0, 1),
        interfaces,
        detours: 0,
        twins: Vec::new(),
        doubled_router_ids: Vec::new(),
        kernel: KernelRoutes::default(),
        not_installed: BTreeMap::new(),
        send_errors: BTreeMap::new(),
        ipv6: instance(six),
        ipv4: four.map(instance),
    }
}

/// A node on which nothing is wrong.
pub(crate) fn healthy() -> Status {
    serde_json::from_value(json!({
        "node": "server-1",
        "pid": 4711,
        "uptime_s": 93784,
        "version": "0.1.0",
        "config_file": "/etc/l2ha/l2ha.toml",
        "underlay": {
            "interface": "eth0",
            "ifindex": 2,
            "addresses": ["10.77.0.1"],
            "mtu": 1500,
            "hook": "tc",
            "why_not_xdp": "the driver cannot",
            "problem": null,
        },
        "tunnels": [{
            "name": "client",
            "interface": "l2-client",
            "up": true,
            "problem": null,
            "local": "10.77.0.1",
            "remote": "10.77.0.9",
            "encapsulation": "udp 1701:1701",
            "session_id": 1001,
            "peer_session_id": 2001,
            "send_cookie_bytes": 8,
            "receive_cookie_bytes": 4,
            "sublayer": "none",
            "mtu": 1442,
            "rx_packets": 7,
            "rx_bytes": 3_000_000,
            "tx_packets": 8,
            "tx_bytes": 900,
        }],
        "services": [{"name": "web", "address": "2001:db8::80", "advertised": true}],
        "dataplane": {"reasons": {"wrong_cookie": 3, "too_short": 0}},
        "ospf": status_of_ospf(1, 1, None),
        "repairs": {"interface": 1},
        "socket": {"data_dropped": 0},
    }))
    .unwrap()
}

fn lines(status: &Status) -> Vec<String> {
    let text = text(status, &problems(status));
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_healthy_node_says_so_first() {
    let lines = lines(&healthy());
    assert_eq!(lines[0], "server-1: healthy");
    assert_eq!(
        lines[1],
        "l2ha 0.1.0, pid 4711, up 1 d 2 h, /etc/l2ha/l2ha.toml"
    );
    let all = lines.join("\n");
    assert!(
        all.contains("eth0  10.77.0.1  mtu 1500  tc (not native XDP: the driver cannot)"),
        "{all}"
    );
    assert!(all.contains("1001 -> 2001"), "{all}");
    assert!(
        all.contains("7 (2 MiB)") && all.contains("8 (900 B)"),
        "{all}"
    );
    assert!(all.contains("wrong cookie  3"), "{all}");
    assert!(all.contains("counters lsas flushed  2"), "{all}");
    assert!(all.contains("routes                 0"), "{all}");
    for zero in [
        "too short",
        "lsas installed",
        "data dropped",
        "at the sockets",
    ] {
        assert!(!all.contains(zero), "{zero} in {all}");
    }
    for line in &lines {
        assert_eq!(line, line.trim_end(), "{line:?}");
    }
}

#[test]
fn the_first_line_says_what_is_wrong() {
    let mut status = healthy();
    status.tunnels[0].up = false;
    status.tunnels[0].problem = Some("cannot make l2-client".to_owned());
    let lines_of_one = lines(&status);
    assert_eq!(
        lines_of_one[0],
        "server-1: tunnel client: cannot make l2-client"
    );
    assert!(
        lines_of_one.iter().any(|line| line.contains("DOWN")),
        "{lines_of_one:?}"
    );

    status.underlay.problem = Some("interface eth0 is down".to_owned());
    status.services[0].advertised = false;
    let lines_of_three = lines(&status);
    assert_eq!(lines_of_three[0], "server-1: 3 things are wrong");
    assert_eq!(lines_of_three[1], "  underlay: interface eth0 is down");
    assert_eq!(
        lines_of_three[3],
        "  service web: 2001:db8::80 is not advertised"
    );
}

#[test]
fn what_is_missing_is_wrong() {
    let mut status = healthy();
    status.underlay.hook = None;
    assert_eq!(
        problems(&status),
        ["underlay: no decapsulation program on eth0"]
    );
    status.underlay.hook = Some("xdp".to_owned());
    status.ospf = Some(status_of_ospf(2, 1, None));
    let ospf = "ospf: 1 of 2 neighbours are full; see `l2ha ospf neighbors`";
    assert_eq!(problems(&status), [ospf]);
    status.ospf = None;
    status.underlay.ifindex = None;
    assert_eq!(problems(&status), ["underlay: interface eth0 is not there"]);
}

#[test]
fn sizes_and_times_are_short() {
    let sizes = [0, 1023, 1024, 5 << 30, u64::MAX].map(size);
    assert_eq!(sizes, ["0 B", "1023 B", "1 KiB", "5 GiB", "15 EiB"]);
    let times = [59, 61, 3661, 90061].map(duration);
    assert_eq!(times, ["59 s", "1 min 1 s", "1 h 1 min", "1 d 1 h"]);
}
