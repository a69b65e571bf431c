//! The text of a healthy node, and of one that is not.

use std::net::Ipv4Addr;

use control::{
    Health, HealthState, KernelRoutes, OspfInstance, Problem, ProblemId, ServiceHealth, Severity,
    Subject,
};
use serde_json::json;

use super::*;

/// OSPF with so many interfaces, and so many neighbours that are full in each family.
fn status_of_ospf(interfaces: usize, six: usize, four: Option<usize>) -> OspfStatus {
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
        kept_out: Vec::new(),
        send_errors: BTreeMap::new(),
        ipv6: instance(six),
        ipv4: four.map(instance),
    }
}

/// A node on which nothing is wrong.
fn healthy() -> Status {
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
            "heard_ms": 40,
            "ospf": "full",
            "bfd": "up",
        }],
        "services": [{"name": "web", "address": "2001:db8::80", "advertised": true}],
        "dataplane": {"reasons": {"wrong_cookie": 3, "too_short": 0}},
        "ospf": status_of_ospf(1, 1, None),
        "repairs": {"interface": 1},
        "socket": {"data_dropped": 0},
    }))
    .unwrap()
}

fn lines(status: &Status, with_counters: bool) -> Vec<String> {
    let text = text(status, with_counters);
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for line in &lines {
        assert_eq!(line, line.trim_end(), "{line:?}");
        assert!(line.chars().count() <= WIDTH, "{line:?}");
    }
    lines
}

fn problem(
    id: ProblemId,
    severity: Severity,
    subject: Subject,
    text: &str,
    remedy: &str,
) -> Problem {
    Problem {
        id,
        severity,
        subject,
        text: text.to_owned(),
        remedy: remedy.to_owned(),
        since_ms: 1000,
    }
}

#[test]
fn a_healthy_node_says_so_first() {
    let all = lines(&healthy(), false);
    assert_eq!(
        all,
        [
            "server-1: healthy",
            "l2ha 0.1.0, pid 4711, up 1 d 2 h, /etc/l2ha/l2ha.toml",
            "",
            "tunnels",
            "  name    state  peer       heard  bfd  ospf",
            "  client  up     10.77.0.9  now    up   full",
            "",
            "services",
            "  name  address       state",
            "  web   2001:db8::80  advertised",
            "",
            "underlay",
            "  eth0  10.77.0.1  mtu 1500  tc (not native XDP: the driver cannot)",
        ]
    );
}

#[test]
fn counters_are_there_when_asked_for() {
    let all = lines(&healthy(), true).join("\n");
    assert!(all.contains("1001 -> 2001"), "{all}");
    assert!(all.contains("received 7 (2 MiB), sent 8 (900 B)"), "{all}");
    assert!(all.contains("wrong cookie  3"), "{all}");
    assert!(all.contains("counters lsas flushed  2"), "{all}");
    assert!(all.contains("routes                 0"), "{all}");
    for zero in [
        "too short",
        "lsas installed",
        "data dropped",
        "at the sockets",
        "lines lost",
    ] {
        assert!(!all.contains(zero), "{zero} in {all}");
    }
}

#[test]
fn what_is_wrong_comes_with_its_remedy_in_the_first_lines() {
    let mut status = healthy();
    status.health = Health::Failed;
    status.problems = vec![
        problem(
            ProblemId::CookieRefused,
            Severity::Failed,
            Subject::Tunnel("client".to_owned()),
            "packets from 10.77.0.9 have another cookie than this end expects",
            "the same bytes in receive_cookie_file of this [[tunnels]] here and send_cookie_file at \
             10.77.0.9",
        ),
        problem(
            ProblemId::LogLost,
            Severity::Degraded,
            Subject::Node,
            "the log loses lines",
            "see to what reads it",
        ),
    ];
    status.tunnels[0].up = false;
    status.tunnels[0].heard_ms = Some(75_000);
    status.tunnels[0].ospf = None;
    status.tunnels[0].bfd = None;
    let all = lines(&status, false);
    assert_eq!(
        all[..7],
        [
            "server-1: failed, 2 problems",
            "  failed: tunnel client: packets from 10.77.0.9 have another cookie than this",
            "    end expects",
            "    -> the same bytes in receive_cookie_file of this [[tunnels]] here and",
            "    send_cookie_file at 10.77.0.9",
            "  degraded: node: the log loses lines",
            "    -> see to what reads it",
        ]
    );
    assert!(
        all.contains(&"  client  DOWN   10.77.0.9  1 min 15 s ago  -    -".to_owned()),
        "{all:#?}"
    );
}

#[test]
fn a_rotation_says_who_is_behind() {
    let mut status = healthy();
    let names = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect();
    let mut rotation = control::RotationStatus {
        present: names(&["server-2"]),
        former: names(&["server-3", "client-2"]),
        unheard: names(&["client-9"]),
    };
    status.rotation = Some(rotation.clone());
    let all = lines(&status, false);
    let at = all.iter().position(|line| line.starts_with("rotation"));
    assert_eq!(
        all[at.unwrap()..][..2],
        [
            "rotation: server-3, client-2 still use the former secret; nothing is heard from",
            "  client-9 (1 of 4 use the present one)",
        ]
    );
    rotation.former.clear();
    rotation.unheard.clear();
    status.rotation = Some(rotation);
    let done = "rotation: every neighbour uses the present secret: the former one can be removed";
    assert!(lines(&status, false).contains(&done.to_owned()));
}

#[test]
fn ipv4_and_drained_are_shown() {
    let mut status = healthy();
    status.ospf = Some(status_of_ospf(1, 1, Some(1)));
    status.tunnels[0].ospf_ipv4 = Some(ospfv3::NeighborState::ExStart);
    status.drained = true;
    let all = lines(&status, false);
    assert_eq!(
        all[0],
        "server-1: healthy, drained: the last resort until `l2ha drain --off`"
    );
    let all = all.join("\n");
    assert!(all.contains("full/ex_start"), "{all}");
    assert!(all.contains("advertised as last resort"), "{all}");
}

#[test]
fn a_service_says_why() {
    let mut status = healthy();
    let service = &mut status.services[0];
    service.last_resort = true;
    service.health = Some(ServiceHealth {
        state: HealthState::Failed,
        since_ms: 12_345,
        reason: Some("GET http://192.0.2.80/ connection refused".to_owned()),
        check: Some(2),
        checks: 2,
    });
    assert_eq!(
        service.state(),
        "last resort, GET http://192.0.2.80/ connection refused, since 12 s, by check 2 of 2"
    );
    // It fits, on two lines.
    lines(&status, false);
    status.services[0].health = None;
    status.services[0].drained = true;
    assert_eq!(status.services[0].state(), "last resort, drained");
}

#[test]
fn words_are_wrapped_and_longer_ones_cut() {
    assert_eq!(wrapped("a b", "  ", "    "), "  a b");
    assert_eq!(wrapped("", "-> ", ""), "->");
    let word = "x".repeat(200);
    let text = format!("before {word} after");
    let lines: Vec<String> = wrapped(&text, "> ", "| ")
        .lines()
        .map(str::to_owned)
        .collect();
    assert_eq!(lines[0], "> before");
    assert!(lines.iter().all(|line| line.len() <= WIDTH), "{lines:#?}");
    let x: usize = lines.iter().map(|line| line.matches('x').count()).sum();
    assert_eq!(x, 200);
    assert!(lines[3].ends_with(" after"), "{lines:#?}");
    let exact = "y".repeat(WIDTH);
    assert_eq!(
        wrapped(&format!("{exact} z"), "", ""),
        format!("{exact}\nz")
    );
}

#[test]
fn sizes_and_times_are_short() {
    let sizes = [0, 1023, 1024, 5 << 30, u64::MAX].map(size);
    assert_eq!(sizes, ["0 B", "1023 B", "1 KiB", "5 GiB", "15 EiB"]);
    let times = [59, 61, 3661, 90061].map(duration);
    assert_eq!(times, ["59 s", "1 min 1 s", "1 h 1 min", "1 d 1 h"]);
}

/// The blocks of a page that show something.
fn blocks(page: &str) -> Vec<String> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(page);
    let page = std::fs::read_to_string(path).unwrap();
    page.split("\n```")
        .skip(1)
        .step_by(2)
        .map(|block| block.trim_start_matches('\n').to_owned())
        .collect()
}

#[test]
fn the_samples_of_the_pages_are_what_is_printed() {
    let cli = blocks("docs/cli.md");
    let sample = format!("$ l2ha status\n{}", text(&healthy(), false));
    assert!(cli.contains(&sample), "not in docs/cli.md:\n{sample}");

    let mut status = healthy();
    status.health = Health::Failed;
    status.problems = vec![problem(
        ProblemId::CookieRefused,
        Severity::Failed,
        Subject::Tunnel("client".to_owned()),
        "packets from 10.77.0.9 have another cookie than this end expects",
        "the same bytes in receive_cookie_file of this [[tunnels]] here and send_cookie_file at 10.77.0.9",
    )];
    let sample = text(&status, false);
    let sample: Vec<&str> = sample.lines().take(5).collect();
    let sample = sample.join("\n");
    assert!(cli.contains(&sample), "not in docs/cli.md:\n{sample}");

    let mut status = healthy();
    status.health = Health::Failed;
    status.problems = vec![problem(
        ProblemId::ServiceFailed,
        Severity::Failed,
        Subject::Service("web".to_owned()),
        "last resort, GET http://[2001:db8::80]/healthz connection refused, since 12 s, by check 1 of 1",
        "start what serves 2001:db8::80 here, or correct `check` of this service",
    )];
    let sample = text(&status, false);
    let sample: Vec<&str> = sample.lines().take(4).collect();
    let sample = format!("$ l2ha status\n{}", sample.join("\n"));
    assert!(
        blocks("docs/health.md").contains(&sample),
        "not in docs/health.md:\n{sample}"
    );

    // The cluster of the README has a server more.
    let mut status = healthy();
    let mut second = status.tunnels[0].clone();
    second.name = "server-2".to_owned();
    second.remote = Ipv4Addr::new(10, 77, 0, 2).into();
    status.tunnels.insert(0, second);
    let healthy = text(&status, false);
    let (sample, _) = healthy.split_once("\n\nservices").unwrap();
    assert!(
        blocks("README.md").contains(&sample.to_owned()),
        "not in README.md:\n{sample}"
    );
}
