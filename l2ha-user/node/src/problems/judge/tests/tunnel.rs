//! What comes over a tunnel, and what is refused of it.

use super::*;

#[test]
fn a_wrong_session_id() {
    let mut facts = silent();
    facts.tunnels[0].unknown_sessions = true;
    degraded(
        &facts,
        ProblemId::SessionUnknown,
        &[
            "client",
            "peer_session_id = 1001",
            "10.77.0.9",
            "l2ha monitor",
        ],
    );
    facts.tunnels[0].samples = vec![Sample {
        reason: Reason::UnknownSession,
        source: [10, 77, 0, 9].into(),
        port: Some(1701),
        session: Some(4711),
    }];
    degraded(
        &facts,
        ProblemId::SessionUnknown,
        &["4711", "1001", "`peer_session_id = 1001` at 10.77.0.9"],
    );
}

#[test]
fn a_wrong_cookie() {
    let mut facts = silent();
    facts.tunnels[0].refused = [Reason::WrongCookie].into();
    degraded(
        &facts,
        ProblemId::CookieRefused,
        &[
            "client",
            "receive_cookie_file",
            "send_cookie_file at 10.77.0.9",
        ],
    );
}

#[test]
fn another_secret() {
    for (former, word) in [
        (true, "neither the present nor the former"),
        (false, "no former one"),
    ] {
        let mut facts = silent();
        facts.tunnels[0].own_keys = Some(former);
        facts.tunnels[0].refused = [Reason::WrongCookie].into();
        degraded(
            &facts,
            ProblemId::SecretMismatch,
            &["client", "10.77.0.9", word, "the former stays"],
        );
    }
}

#[test]
fn a_wrong_remote() {
    let mut facts = silent();
    facts.tunnels[0].refused = [Reason::WrongSourceAddress].into();
    degraded(
        &facts,
        ProblemId::RemoteMismatch,
        &["client", "`remote`", "l2ha monitor"],
    );
    facts.tunnels[0].samples = vec![Sample {
        reason: Reason::WrongSourceAddress,
        source: [10, 77, 0, 3].into(),
        port: Some(1701),
        session: Some(1001),
    }];
    degraded(
        &facts,
        ProblemId::RemoteMismatch,
        &["`remote = \"10.77.0.3\"`", "10.77.0.9"],
    );
}

#[test]
fn a_wrong_port() {
    let mut facts = silent();
    facts.tunnels[0].refused = [Reason::WrongSourcePort].into();
    degraded(
        &facts,
        ProblemId::PortMismatch,
        &["client", "remote_port", "local_port"],
    );
    facts.tunnels[0].samples = vec![Sample {
        reason: Reason::WrongSourcePort,
        source: [10, 77, 0, 9].into(),
        port: Some(1702),
        session: Some(1001),
    }];
    degraded(
        &facts,
        ProblemId::PortMismatch,
        &["1702", "`remote_port = 1702`"],
    );
}

#[test]
fn another_form() {
    for (reason, key) in [
        (Reason::SequenceMissing, "`sequence`"),
        (Reason::MissingChecksum, "`udp_checksum`"),
        (Reason::ShortFrame, "`sublayer`"),
        (Reason::BadVersion, "`encapsulation`"),
    ] {
        let mut facts = silent();
        facts.tunnels[0].refused = [reason].into();
        degraded(&facts, ProblemId::FormMismatch, &["client", key]);
    }
}

#[test]
fn a_peer_that_is_off() {
    degraded(
        &silent(),
        ProblemId::TunnelSilent,
        &[
            "nothing comes from 10.77.0.9 for 12 s",
            "UDP 1701",
            "10.77.0.1",
        ],
    );
    let mut facts = silent();
    facts.tunnels[0].status.heard_ms = None;
    facts.tunnels[0].status.encapsulation = "ip".to_owned();
    degraded(
        &facts,
        ProblemId::TunnelSilent,
        &["since the start", "IP protocol 115"],
    );
    // It may be starting, too.
    facts.node.uptime = Duration::from_secs(1);
    degraded(
        &facts,
        ProblemId::AdjacencyMissing,
        &["client", "l2ha explain client"],
    );
}

#[test]
fn an_adjacency_that_was_just_lost_has_no_cause_yet() {
    let mut facts = lonely();
    facts.tunnels[0].lost = Some(Duration::from_millis(200));
    degraded(
        &facts,
        ProblemId::AdjacencyMissing,
        &["client", "lost a moment ago"],
    );
    facts.tunnels[0].lost = Some(Duration::from_secs(20));
    degraded(&facts, ProblemId::PeerWithoutOspf, &["client"]);
}

#[test]
fn a_peer_that_does_not_hear_us() {
    let mut facts = lonely();
    facts.tunnels[0].neighbors = vec![neighbor(Family::Ipv6, NeighborState::Init, 9000)];
    degraded(
        &facts,
        ProblemId::PeerDeaf,
        &[
            "client",
            "`l2ha status` at 10.77.0.9",
            "peer_session_id",
            "send_cookie_file",
        ],
    );
}

#[test]
fn a_firewall_of_this_host_and_a_peer_without_ospf_are_told_apart() {
    let mut facts = lonely();
    assert!(facts.tunnels[0].is_unheard() && !facts.tunnels[1].is_unheard());
    degraded(
        &facts,
        ProblemId::PeerWithoutOspf,
        &["client", "no packet of OSPF", "start l2ha at 10.77.0.9"],
    );
    facts.tunnels[0].ospf_arrives = true;
    degraded(
        &facts,
        ProblemId::OspfUnheard,
        &["client", "protocol 89", "firewall", "nft list ruleset"],
    );
    let mut facts = healthy();
    facts.tunnels[0].send_refused = true;
    degraded(
        &facts,
        ProblemId::SendRefused,
        &["l2-client", "protocol 89", "firewall"],
    );
}

#[test]
fn a_tunnel_without_ospf_is_judged_by_what_it_refuses() {
    let mut facts = silent();
    facts.routing = RoutingFacts::None;
    assert_eq!(judge(&facts), [], "the peer may have nothing to say");
    facts.tunnels[0].refused = [Reason::WrongCookie].into();
    degraded(&facts, ProblemId::CookieRefused, &["client"]);
}

#[test]
fn no_route_to_the_peer() {
    let mut facts = silent();
    facts.tunnels[0].status.next_hop = None;
    facts.tunnels[0].status.problem = Some("no route to 10.77.0.9".to_owned());
    degraded(
        &facts,
        ProblemId::NoRoute,
        &[
            "no route to 10.77.0.9",
            "ip route get 10.77.0.9 from 10.77.0.1",
        ],
    );
}

#[test]
fn a_setting_that_cannot_be_set() {
    let mut facts = healthy();
    facts.tunnels[0].status.problem = Some("cannot keep l2-client from it".to_owned());
    degraded(
        &facts,
        ProblemId::SettingRefused,
        &["cannot keep l2-client from it", "/proc/sys"],
    );
}
