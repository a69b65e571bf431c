//! What is meant by a word, and what is explained of it.

use std::fs;

use control::{ProblemId, Severity, UnderlayStatus};
use dataplane::Counters;

use super::*;
use crate::problems::RoutingViews;

const FILE: &str = r#"[node]
name = "server-1"

[underlay]
interface = "eth0"
addresses = ["192.0.2.1"]

[ospf]
router_id = "10.0.0.1"

[[tunnels]]
name = "client"
remote = "192.0.2.9"
session_id = 1001
peer_session_id = 2001

[[services]]
name = "web"
address = "2001:db8::80"
"#;

fn config() -> Config {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("l2ha.toml");
    fs::write(&file, FILE).unwrap();
    Config::load(&file, &config::Who::default()).unwrap()
}

fn views() -> Views {
    Views {
        counters: Counters::default(),
        underlay: UnderlayStatus {
            interface: "eth0".to_owned(),
            ifindex: Some(2),
            addresses: vec![[192, 0, 2, 1].into()],
            mtu: Some(1500),
            hook: Some("xdp".to_owned()),
            why_not_xdp: None,
            problem: None,
        },
        tunnels: vec![TunnelStatus {
            name: "client".to_owned(),
            interface: "l2-client".to_owned(),
            up: true,
            problem: None,
            local: [192, 0, 2, 1].into(),
            remote: [192, 0, 2, 9].into(),
            next_hop: Some([192, 0, 2, 9].into()),
            encapsulation: "udp 1701 1701".to_owned(),
            session_id: 1001,
            peer_session_id: 2001,
            send_cookie_bytes: 0,
            receive_cookie_bytes: 0,
            sublayer: "none".to_owned(),
            mtu: Some(1450),
            carries: None,
            rx_packets: 0,
            rx_bytes: 0,
            tx_packets: 9,
            tx_bytes: 900,
            heard_ms: None,
            ospf: None,
            ospf_ipv4: None,
            bfd: None,
        }],
        services: vec![ServiceStatus {
            name: "web".to_owned(),
            address: "2001:db8::80".parse().unwrap(),
            advertised: false,
            last_resort: false,
            drained: false,
            health: None,
        }],
        routing: RoutingViews::Runs(Box::default()),
    }
}

fn problem(id: ProblemId, subject: Subject) -> Problem {
    Problem {
        id,
        severity: Severity::Degraded,
        subject,
        text: "it is so".to_owned(),
        remedy: "mend it".to_owned(),
        since_ms: 0,
    }
}

/// Explains with the kernel of whatever machine this runs on.
fn explain(word: &str, views: &Views, problems: &[Problem]) -> Explanation {
    let config = config();
    let about = About::find(&config, word).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let netlink = Netlink::open().unwrap();
        let known = Known {
            config: &config,
            views,
            problems,
            routes: &[],
            netlink: &netlink,
            drained: false,
        };
        known.explain(&about).await
    })
}

fn verdict(explanation: &Explanation, what: &str) -> Option<Verdict> {
    let step = explanation.steps.iter().find(|step| step.what == what);
    step.map(|step| step.verdict)
}

#[test]
fn a_prefix_has_its_addresses_and_no_other() {
    let has = |prefix: &str, length, address: &str| {
        contains(prefix.parse().unwrap(), length, address.parse().unwrap())
    };
    assert!(has("2001:db8::", 32, "2001:db8:ffff::1"));
    assert!(!has("2001:db8::", 32, "2001:db9::1"));
    assert!(has("192.0.2.80", 32, "192.0.2.80"));
    assert!(!has("192.0.2.80", 32, "192.0.2.81"));
    assert!(has("0.0.0.0", 0, "203.0.113.7"));
}

#[test]
fn a_word_is_a_name_or_an_address() {
    let config = config();
    let find = |word| About::find(&config, word).unwrap();
    let tunnel = About::Tunnel("client".to_owned());
    for word in ["client", "l2-client", "192.0.2.9"] {
        assert_eq!(find(word), tunnel, "{word}");
    }
    let service = About::Service("web".to_owned());
    for word in ["web", "2001:db8::80", "2001:db8:0::80"] {
        assert_eq!(find(word), service, "{word}");
    }
    let other = "2001:db8::81";
    assert_eq!(find(other), About::Address(other.parse().unwrap()));
    let error = About::find(&config, "wbe").unwrap_err().to_string();
    assert!(error.ends_with("there are: client, web"), "{error}");
}

#[test]
fn a_tunnel_is_followed_from_the_underlay_to_bfd() {
    let mut views = views();
    let of_client = problem(
        ProblemId::CookieRefused,
        Subject::Tunnel("client".to_owned()),
    );
    let others = [
        problem(ProblemId::LogLost, Subject::Node),
        of_client.clone(),
        problem(
            ProblemId::TunnelSilent,
            Subject::Tunnel("server-2".to_owned()),
        ),
    ];
    let refused = [("wrong_cookie", 7)].into();
    views.counters.refused.insert(1001, refused);
    let explanation = explain("client", &views, &others);
    assert_eq!(explanation.about, "tunnel client");
    let ids: Vec<ProblemId> = explanation.problems.iter().map(|it| it.id).collect();
    assert_eq!(ids, [ProblemId::LogLost, ProblemId::CookieRefused]);
    let of = |what| verdict(&explanation, what);
    assert_eq!(of("underlay"), Some(Verdict::Fine));
    assert_eq!(of("route"), Some(Verdict::Fine));
    assert_eq!(of("interface"), Some(Verdict::Fine));
    assert_eq!(of("sent"), Some(Verdict::Fine));
    assert_eq!(of("refused"), Some(Verdict::Stops));
    assert_eq!(of("received"), Some(Verdict::Stops));
    assert_eq!(of("ospf"), Some(Verdict::Stops));
    assert_eq!(of("bfd"), Some(Verdict::Open), "it is off");

    views.tunnels[0].next_hop = None;
    let explanation = explain("client", &views, &others);
    assert_eq!(verdict(&explanation, "route"), Some(Verdict::Stops));
    assert_eq!(verdict(&explanation, "neighbour"), None);

    views.counters.refused.clear();
    views.tunnels[0].heard_ms = Some(20);
    views.tunnels[0].ospf = Some(NeighborState::Full);
    let explanation = explain("client", &views, &[]);
    for what in ["refused", "received", "ospf"] {
        assert_eq!(verdict(&explanation, what), Some(Verdict::Fine), "{what}");
    }
}

#[test]
fn a_service_is_followed_from_its_address_to_who_hears_of_it() {
    let mut views = views();
    let explanation = explain("web", &views, &[]);
    for what in ["address", "advertised", "heard by"] {
        assert_eq!(verdict(&explanation, what), Some(Verdict::Stops), "{what}");
    }
    assert_eq!(verdict(&explanation, "check"), Some(Verdict::Open));
    views.services[0].advertised = true;
    views.services[0].health = Some(ServiceHealth {
        state: HealthState::Failed,
        since_ms: 3000,
        reason: Some("connection refused".to_owned()),
        check: Some(1),
        checks: 1,
    });
    views.tunnels[0].ospf = Some(NeighborState::Full);
    let explanation = explain("2001:db8::80", &views, &[]);
    assert_eq!(verdict(&explanation, "check"), Some(Verdict::Stops));
    let check = explanation.steps.iter().find(|step| step.what == "check");
    assert_eq!(
        check.unwrap().text,
        "connection refused, since 3 s, by check 1 of 1"
    );
    assert_eq!(verdict(&explanation, "heard by"), Some(Verdict::Fine));
}

#[test]
fn an_address_that_nobody_advertises_stops_at_ospf() {
    let explanation = explain("2001:db8::81", &views(), &[]);
    assert_eq!(explanation.subjects, []);
    assert_eq!(verdict(&explanation, "ospf"), Some(Verdict::Stops));
    assert!(verdict(&explanation, "kernel").is_some());
}
