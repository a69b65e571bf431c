//! From what a node sees to what it says: each situation with its problem, its subject and the line to change.

mod ospf;
mod tunnel;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use control::{
    BfdSession, DoubledRouterId, HealthState, InFamily, KeptOut, NotInstalled, OspfInterface,
    OspfRefused, Problem, ProblemId, ServiceHealth, ServiceStatus, Severity, Subject, TunnelStatus,
    Twin, UnderlayStatus,
};
use dataplane::Reason;
use ospfv3::{
    Family, GracefulView, InterfaceKind, InterfaceState, InterfaceView, NeighborState,
    NeighborView, Prefix, Refusal, wire::Options,
};

use super::judge;
use crate::problems::facts::{Facts, NodeFacts, OspfFacts, RoutingFacts, Sample, TunnelFacts};

/// Columns of a terminal.
const WIDTH: usize = 80;

fn neighbor(family: Family, state: NeighborState, since_ms: u64) -> InFamily<NeighborView> {
    InFamily {
        family,
        entry: NeighborView {
            interface: 8,
            interface_name: "l2-client".to_owned(),
            area: Ipv4Addr::UNSPECIFIED,
            router_id: Ipv4Addr::new(10, 0, 0, 9),
            address: "fe80::9".parse().unwrap(),
            interface_id: 7,
            state,
            since_ms,
            dead_in_ms: 4000,
            priority: 1,
            options: Options::default(),
            mtu: Some(1442),
            rotation: None,
            unacknowledged: 0,
            requested: 0,
            graceful: GracefulView::default(),
        },
    }
}

fn interface(family: Family) -> InFamily<OspfInterface> {
    InFamily {
        family,
        entry: OspfInterface {
            view: InterfaceView {
                id: 8,
                name: "l2-client".to_owned(),
                area: Ipv4Addr::UNSPECIFIED,
                kind: InterfaceKind::PointToPoint,
                state: InterfaceState::PointToPoint,
                link_local: "fe80::1".parse().unwrap(),
                mtu: 1442,
                cost: 10,
                hello_interval: 1,
                dead_interval: 4,
                instance_id: 0,
                designated_router: None,
                backup_router: None,
                authentication: None,
                rotation: None,
                prefixes: Vec::new(),
                neighbors: 0,
                adjacent: 0,
            },
            adjacencies_lost: 0,
            refused: Vec::new(),
        },
    }
}

fn session(state: bfd::State, received: u64) -> BfdSession {
    let discriminator = u32::from(received > 0);
    BfdSession {
        interface: "l2-client".to_owned(),
        local: "fe80::1".parse().unwrap(),
        remote: "fe80::9".parse().unwrap(),
        interval_ms: 50.0,
        multiplier: 3,
        key: None,
        session: bfd::SessionView {
            state,
            remote_state: state,
            diagnostic: bfd::Diagnostic::None,
            remote_diagnostic: bfd::Diagnostic::None,
            discriminator: 1,
            remote_discriminator: discriminator,
            transmit_interval_us: 50_000,
            detection_time_us: 150_000,
            counters: bfd::Counters {
                received,
                ..bfd::Counters::default()
            },
        },
        refused: BTreeMap::new(),
        send_errors: 0,
    }
}

fn tunnel(name: &str) -> TunnelFacts {
    TunnelFacts {
        status: TunnelStatus {
            name: name.to_owned(),
            interface: "l2-client".to_owned(),
            up: true,
            problem: None,
            local: [10, 77, 0, 1].into(),
            remote: [10, 77, 0, 9].into(),
            next_hop: Some([10, 77, 0, 9].into()),
            encapsulation: "udp 1701 1701".to_owned(),
            session_id: 1001,
            peer_session_id: 2001,
            send_cookie_bytes: 8,
            receive_cookie_bytes: 8,
            sublayer: "none".to_owned(),
            mtu: Some(1442),
            carries: Some(1442),
            rx_packets: 100,
            rx_bytes: 10_000,
            tx_packets: 100,
            tx_bytes: 10_000,
            heard_ms: Some(40),
            ospf: Some(NeighborState::Full),
            ospf_ipv4: None,
            bfd: Some(bfd::State::Up),
        },
        ospf: true,
        bfd: true,
        own_keys: None,
        room: Some(1442),
        refused: [].into(),
        samples: Vec::new(),
        ospf_arrives: false,
        unknown_sessions: false,
        interfaces: vec![interface(Family::Ipv6)],
        neighbors: vec![neighbor(Family::Ipv6, NeighborState::Full, 60_000)],
        sessions: vec![session(bfd::State::Up, 1000)],
        losses: 0,
        lost: None,
        send_refused: false,
    }
}

/// A node on which nothing is wrong, with a second tunnel beside the one that is spoilt.
fn healthy() -> Facts {
    Facts {
        node: NodeFacts {
            uptime: Duration::from_secs(600),
            ..NodeFacts::default()
        },
        routing: RoutingFacts::Runs(OspfFacts {
            router_id: Ipv4Addr::new(10, 0, 0, 1),
            hello: Duration::from_secs(1),
            dead: Duration::from_secs(4),
            ipv4: false,
            routes_refused: false,
            kept_out: Vec::new(),
            twins: Vec::new(),
            doubled_router_ids: Vec::new(),
        }),
        underlay: UnderlayStatus {
            interface: "eth0".to_owned(),
            ifindex: Some(2),
            addresses: vec![[10, 77, 0, 1].into()],
            mtu: Some(1500),
            hook: Some("xdp".to_owned()),
            why_not_xdp: None,
            problem: None,
        },
        tunnels: vec![tunnel("client"), tunnel("server-2")],
        services: vec![ServiceStatus {
            name: "web".to_owned(),
            address: "2001:db8::80".parse().unwrap(),
            advertised: true,
            last_resort: false,
            drained: false,
            health: None,
        }],
    }
}

fn ospf(facts: &mut Facts) -> &mut OspfFacts {
    match &mut facts.routing {
        RoutingFacts::Runs(ospf) => ospf,
        other => panic!("{other:?}"),
    }
}

/// Without the adjacency of the first tunnel.
fn lonely() -> Facts {
    let mut facts = healthy();
    facts.tunnels[0].neighbors.clear();
    facts.tunnels[0].sessions.clear();
    facts
}

/// Without a frame from its peer either.
fn silent() -> Facts {
    let mut facts = lonely();
    facts.tunnels[0].status.heard_ms = Some(12_345);
    facts
}

/// With something that OSPF refuses of the first tunnel's neighbour.
fn refusing(reason: Refusal, sides: Option<(u32, u32)>) -> Facts {
    let mut facts = lonely();
    facts.tunnels[0].interfaces[0].entry.refused = vec![OspfRefused {
        reason,
        source: "fe80::9".parse().unwrap(),
        ours: sides.map(|it| it.0),
        theirs: sides.map(|it| it.1),
        count: 3,
        ago_ms: 400,
        transient: false,
    }];
    facts
}

/// The only problem: its id, how bad it is, and that it names the tunnel, both ends' values and the line.
#[track_caller]
fn only(facts: &Facts, id: ProblemId, severity: Severity, words: &[&str]) -> Problem {
    let problems = judge(facts);
    let [problem] = &problems[..] else {
        panic!("{problems:#?}");
    };
    assert_eq!(
        (problem.id, problem.severity),
        (id, severity),
        "{problem:#?}"
    );
    let all = format!("{}: {}; {}", problem.subject, problem.text, problem.remedy);
    for word in words {
        assert!(all.contains(word), "{word} is not in: {all}");
    }
    // Two lines of a terminal each, at most.
    for part in [&problem.text, &problem.remedy] {
        assert!(!part.is_empty() && part.len() <= 2 * WIDTH - 24, "{part}");
    }
    problem.clone()
}

#[track_caller]
fn degraded(facts: &Facts, id: ProblemId, words: &[&str]) {
    let problem = only(facts, id, Severity::Degraded, words);
    assert_eq!(problem.subject, Subject::Tunnel("client".to_owned()));
    // Where it is the only tunnel, the node does not do its work.
    let mut alone = facts.clone();
    alone.tunnels.truncate(1);
    let RoutingFacts::Runs(ospf) = &facts.routing else {
        return;
    };
    if !alone.tunnels[0].is_adjacent(ospf) {
        only(&alone, id, Severity::Failed, words);
    }
}

#[test]
fn nothing_is_wrong_with_a_healthy_node() {
    assert_eq!(judge(&healthy()), []);
    let mut facts = healthy();
    // What somebody wanted.
    facts.services[0].last_resort = true;
    facts.services[0].drained = true;
    // Of strangers, while the neighbour is there: anybody can send that.
    facts.tunnels[0].refused = [Reason::WrongCookie].into();
    facts.tunnels[0].unknown_sessions = true;
    assert_eq!(judge(&facts), []);
}

#[test]
fn what_cannot_be_put_in_place() {
    let mut facts = silent();
    facts.tunnels[0].status.up = false;
    facts.tunnels[0].status.problem = Some("cannot make l2-client".to_owned());
    degraded(
        &facts,
        ProblemId::TunnelNotInPlace,
        &["cannot make l2-client", "l2ha doctor"],
    );
    // The underlay explains all tunnels.
    facts.underlay.ifindex = None;
    only(
        &facts,
        ProblemId::UnderlayUnusable,
        Severity::Failed,
        &["eth0 is not there", "[underlay].interface"],
    );
    facts.underlay.ifindex = Some(2);
    facts.underlay.hook = None;
    only(
        &facts,
        ProblemId::ProgramMissing,
        Severity::Failed,
        &["eth0", "l2ha doctor"],
    );
    facts.underlay.problem = Some("interface eth0 is down".to_owned());
    only(
        &facts,
        ProblemId::UnderlayUnusable,
        Severity::Failed,
        &["eth0 is down"],
    );
}

#[test]
fn a_dead_service_and_one_that_is_to_come() {
    let mut facts = healthy();
    let mut health = ServiceHealth {
        state: HealthState::Failed,
        since_ms: 12_345,
        reason: Some("GET http://[2001:db8::80]/ connection refused".to_owned()),
        check: Some(2),
        checks: 2,
    };
    let service = |facts: &mut Facts, health: &ServiceHealth, advertised| {
        facts.services[0].health = Some(health.clone());
        facts.services[0].advertised = advertised;
    };
    service(&mut facts, &health, true);
    let words = &[
        "service web",
        "last resort",
        "connection refused",
        "since 12 s",
        "check 2 of 2",
    ];
    only(&facts, ProblemId::ServiceFailed, Severity::Failed, words);
    service(&mut facts, &health, false);
    only(
        &facts,
        ProblemId::ServiceFailed,
        Severity::Failed,
        &["service web", "withdrawn"],
    );
    health.state = HealthState::Waiting;
    health.reason = None;
    service(&mut facts, &health, false);
    let words = &["service web", "not advertised", "`rise`"];
    only(&facts, ProblemId::ServiceWaiting, Severity::Degraded, words);
    facts.services[0].health = None;
    let words = &["service web", "2001:db8::80", "ip address show lo"];
    only(
        &facts,
        ProblemId::ServiceNotAdvertised,
        Severity::Failed,
        words,
    );
    let why = "cannot put 2001:db8::80/128 on lo: IPv6 is off there: `sysctl ..`";
    facts.node.service_refused = Some(why.to_owned());
    only(
        &facts,
        ProblemId::ServiceNotAdvertised,
        Severity::Failed,
        &["2001:db8::80 is not advertised", "IPv6 is off there"],
    );
}

#[test]
fn the_node_itself() {
    let mut facts = healthy();
    facts.node.port_taken = Some("cannot bind UDP 10.77.0.1:1701: is it used?".to_owned());
    only(
        &facts,
        ProblemId::PortTaken,
        Severity::Degraded,
        &["1701", "local_port"],
    );
    facts.node.port_taken = None;
    facts.node.reload_refused = Some("l2ha.toml:7: ospf.cost: must be 1 to 65535".to_owned());
    only(
        &facts,
        ProblemId::ReloadRefused,
        Severity::Degraded,
        &["l2ha.toml:7", "l2ha check"],
    );
    facts.node.reload_refused = None;
    let full = "cannot write /run/l2ha/node.made.json: No space left on device (os error 28)";
    facts.node.state_not_kept = Some(full.to_owned());
    only(
        &facts,
        ProblemId::StateNotKept,
        Severity::Degraded,
        &["node.made.json", "No space", "df"],
    );
    facts.node.state_not_kept = None;
    facts.node.log_lost = true;
    only(
        &facts,
        ProblemId::LogLost,
        Severity::Degraded,
        &["the log loses lines"],
    );
    facts.node.log_lost = false;
    let undone = ("web".to_owned(), "192.0.2.80 is missing on lo".to_owned());
    facts.node.undone = vec![undone.clone(), undone];
    only(
        &facts,
        ProblemId::RepairUndone,
        Severity::Degraded,
        &["web", "192.0.2.80", "ip monitor"],
    );
}

#[test]
fn what_is_undone_at_a_tunnel_is_shown_before_what_follows_from_it() {
    let mut facts = healthy();
    let name = facts.tunnels[0].status.name.clone();
    facts.tunnels[0].neighbors.clear();
    facts.node.undone = vec![(name.clone(), "l2-a is a port of br0".to_owned())];
    let problems = judge(&facts);
    assert!(problems.len() > 1, "{problems:?}");
    assert_eq!(problems[0].id, ProblemId::RepairUndone, "{problems:?}");
    assert_eq!(problems[0].subject, Subject::Tunnel(name));
    assert_eq!(problems[0].severity, problems[1].severity);
}

#[test]
fn routing_that_has_ended() {
    let mut facts = healthy();
    ospf(&mut facts).routes_refused = true;
    only(
        &facts,
        ProblemId::RouteRefused,
        Severity::Degraded,
        &["`table`"],
    );
    facts.routing = RoutingFacts::Ended("no memory".to_owned());
    facts.services[0].advertised = false;
    only(
        &facts,
        ProblemId::RoutingEnded,
        Severity::Failed,
        &["no memory", "started again"],
    );
    facts.routing = RoutingFacts::Silent;
    only(
        &facts,
        ProblemId::RoutingSilent,
        Severity::Failed,
        &["does not answer"],
    );
}
