//! What OSPF and BFD say of a neighbour.

use super::*;

#[test]
fn another_area() {
    let theirs = Ipv4Addr::new(0, 0, 0, 7).to_bits();
    degraded(
        &refusing(Refusal::AreaMismatch, Some((0, theirs))),
        ProblemId::OspfAreaMismatch,
        &["client", "`area = \"0.0.0.7\"`", "\"0.0.0.0\" at 10.77.0.9"],
    );
    degraded(
        &refusing(Refusal::AreaTypeMismatch, None),
        ProblemId::OspfAreaTypeMismatch,
        &["[[ospf_areas]]", "`stub`", "10.77.0.9"],
    );
}

#[test]
fn other_intervals_and_instances() {
    for (reason, id, key) in [
        (
            Refusal::HelloIntervalMismatch,
            ProblemId::OspfHelloMismatch,
            "hello_interval",
        ),
        (
            Refusal::DeadIntervalMismatch,
            ProblemId::OspfDeadMismatch,
            "dead_interval",
        ),
        (
            Refusal::InstanceMismatch,
            ProblemId::OspfInstanceMismatch,
            "instance_id",
        ),
    ] {
        let line = format!("`{key} = 2`");
        let words = ["client", line.as_str(), "`= 1` at 10.77.0.9"];
        degraded(&refusing(reason, Some((1, 2))), id, &words);
    }
}

#[test]
fn a_further_instance_is_no_reason_where_there_is_another() {
    let mut facts = refusing(Refusal::InstanceMismatch, Some((0, 64)));
    let of_instance = facts.tunnels[0].interfaces[0].entry.refused[0].clone();
    facts.tunnels[0].interfaces[0]
        .entry
        .refused
        .push(OspfRefused {
            reason: Refusal::AuthDigest,
            ago_ms: 900,
            ..of_instance
        });
    degraded(&facts, ProblemId::OspfKeyMismatch, &["client"]);
    // What was refused long ago is mended.
    for refused in &mut facts.tunnels[0].interfaces[0].entry.refused {
        refused.ago_ms = 60_000;
    }
    degraded(&facts, ProblemId::PeerWithoutOspf, &["client"]);
}

#[test]
fn a_wrong_key() {
    for reason in [
        Refusal::AuthMissing,
        Refusal::AuthUnexpected,
        Refusal::AuthUnknownKey,
        Refusal::AuthKeyExpired,
        Refusal::AuthDigest,
        Refusal::AuthReplay,
        Refusal::AuthTrailer,
    ] {
        let facts = refusing(reason, None);
        degraded(
            &facts,
            ProblemId::OspfKeyMismatch,
            &["[[ospf_keys]]", "here and at 10.77.0.9"],
        );
    }
    let mut facts = refusing(Refusal::AuthUnknownKey, None);
    facts.tunnels[0].own_keys = Some(false);
    degraded(&facts, ProblemId::SecretMismatch, &["another secret"]);
}

#[test]
fn another_mtu() {
    // At the smaller end, while the exchange stands still.
    let mut facts = refusing(Refusal::MtuMismatch, Some((1300, 1400)));
    facts.tunnels[0].neighbors = vec![neighbor(Family::Ipv6, NeighborState::ExStart, 3000)];
    degraded(
        &facts,
        ProblemId::OspfMtuMismatch,
        &[
            "client",
            "1400 at 10.77.0.9",
            "`mtu = 1300`",
            "`mtu = 1400` here",
        ],
    );
    // There it is known from the neighbour's packets, too, and said once.
    facts.tunnels[0].neighbors[0].entry.mtu = Some(1500);
    degraded(
        &facts,
        ProblemId::OspfMtuMismatch,
        &["1500 at 10.77.0.9", "1442 here", "`mtu = 1500` here"],
    );
    // At the larger one nothing is refused; probes find the smaller end's MTU and a tag.
    facts.tunnels[0].interfaces[0].entry.refused.clear();
    facts.tunnels[0].neighbors[0].entry.mtu = Some(1300);
    facts.tunnels[0].status.carries = Some(1304);
    degraded(
        &facts,
        ProblemId::OspfMtuMismatch,
        &["1300 at 10.77.0.9", "1442 here", "`mtu = 1300` here"],
    );
    // One that ignores it.
    let mut ignored = healthy();
    ignored.tunnels[0].neighbors[0].entry.mtu = Some(1300);
    degraded(&ignored, ProblemId::OspfMtuMismatch, &["1300 at 10.77.0.9"]);
    // Not known yet; a virtual link's, which has none.
    facts.tunnels[0].neighbors[0].entry.state = NeighborState::ExStart;
    facts.tunnels[0].neighbors[0].entry.mtu = Some(0);
    facts.tunnels[0].status.carries = None;
    degraded(&facts, ProblemId::AdjacencyMissing, &["ExStart"]);
    facts.tunnels[0].neighbors[0].entry.since_ms = 11_000;
    degraded(
        &facts,
        ProblemId::AdjacencyStuck,
        &["ExStart", "`mtu`", "1442", "10.77.0.9"],
    );
    // Larger than the way carries, and than IPv6 needs.
    let mut facts = healthy();
    facts.tunnels[0].status.carries = Some(1342);
    degraded(
        &facts,
        ProblemId::TunnelMtu,
        &["is 1442", "to 10.77.0.9 carries 1342", "`mtu = 1342`"],
    );
    facts.tunnels[0].status.carries = Some(1279);
    degraded(&facts, ProblemId::TunnelMtu, &["1442", "1279", "1280"]);
    // A tagged frame of full size.
    let mut facts = healthy();
    facts.tunnels[0].refused.insert(Reason::TooBig);
    degraded(
        &facts,
        ProblemId::TunnelMtu,
        &["1442", "VLAN tags", "1438", "l2-client"],
    );
    // Larger than the underlay leaves.
    let mut facts = healthy();
    facts.tunnels[0].room = Some(1400);
    degraded(
        &facts,
        ProblemId::TunnelMtu,
        &["1442", "`mtu = 1400`", "here and at 10.77.0.9"],
    );
    facts.tunnels[0].room = None;
    facts.tunnels[0].status.problem =
        Some("wrong MTU: the peer's packets arrive in fragments".into());
    degraded(&facts, ProblemId::TunnelMtu, &["fragments", "at 10.77.0.9"]);
}

#[test]
fn bfd_at_one_end_only() {
    let mut facts = healthy();
    facts.tunnels[0].sessions = vec![session(bfd::State::Down, 0)];
    degraded(
        &facts,
        ProblemId::BfdOneSided,
        &[
            "client",
            "no BFD comes from 10.77.0.9",
            "`bfd`",
            "3784",
            "`bfd = \"off\"`",
        ],
    );
    facts.tunnels[0].sessions[0].refused = [("auth_digest".to_owned(), 4)].into();
    degraded(
        &facts,
        ProblemId::BfdKeyMismatch,
        &["[[bfd_keys]]", "10.77.0.9"],
    );
    facts.tunnels[0].sessions = vec![session(bfd::State::Init, 9)];
    degraded(&facts, ProblemId::BfdDown, &["Init", "3784", "10.77.0.9"]);
    facts.tunnels[0].sessions = vec![session(bfd::State::AdminDown, 9)];
    degraded(&facts, ProblemId::BfdDown, &["taken down at 10.77.0.9"]);
    facts.tunnels[0].sessions.clear();
    degraded(&facts, ProblemId::BfdDown, &["no BFD session"]);
    // Where none is wanted none is missed.
    facts.tunnels[0].bfd = false;
    assert_eq!(judge(&facts), []);
}

#[test]
fn a_doubled_router_id_is_a_failure_at_both() {
    let mut facts = refusing(Refusal::DuplicateRouterId, None);
    let next_to_us = Twin {
        interface: Some("l2-client".to_owned()),
        addresses: vec!["fe80::9".parse().unwrap()],
        neighbors: Vec::new(),
    };
    ospf(&mut facts).twins = vec![next_to_us];
    facts.tunnels.truncate(1);
    let words = &[
        "tunnel client",
        "10.77.0.9 (fe80::9)",
        "10.0.0.1",
        "`router_id`",
    ];
    only(&facts, ProblemId::RouterIdDoubled, Severity::Failed, words);

    let mut facts = healthy();
    let address = |last| IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last));
    ospf(&mut facts).twins = vec![Twin {
        interface: None,
        addresses: (0x80..0x88).map(address).collect(),
        neighbors: vec![Ipv4Addr::new(10, 0, 0, 3)],
    }];
    let words = &[
        "node",
        "10.0.0.1",
        "next to 10.0.0.3",
        "2001:db8::80",
        "6 more",
    ];
    only(&facts, ProblemId::RouterIdDoubled, Severity::Failed, words);
}

#[test]
fn two_neighbours_with_one_router_id_are_a_failure_at_a_neighbour_of_both() {
    let mut facts = healthy();
    facts.tunnels[1].status.interface = "l2-server-2".to_owned();
    facts.tunnels[1].status.remote = [10, 77, 0, 2].into();
    ospf(&mut facts).doubled_router_ids = vec![DoubledRouterId {
        router_id: Ipv4Addr::new(10, 0, 0, 2),
        neighbors: vec![
            ("l2-client".to_owned(), "fe80::9".parse().unwrap()),
            ("l2-server-2".to_owned(), "fe80::2".parse().unwrap()),
        ],
    }];
    let [one, other] = &judge(&facts)[..] else {
        panic!("{:?}", judge(&facts));
    };
    for problem in [one, other] {
        assert_eq!(problem.id, ProblemId::RouterIdDoubled);
        assert_eq!(problem.severity, Severity::Failed);
        assert!(problem.text.contains("10.0.0.2"), "{}", problem.text);
    }
    assert_eq!(one.subject, Subject::Tunnel("client".to_owned()));
    assert!(
        one.text
            .contains("10.77.0.9 (fe80::9) and fe80::2 on l2-server-2")
    );
    assert_eq!(other.subject, Subject::Tunnel("server-2".to_owned()));
    assert!(
        other
            .text
            .contains("10.77.0.2 (fe80::2) and fe80::9 on l2-client")
    );
}

#[test]
fn doubled_names() {
    let facts = refusing(Refusal::OwnPacket, None);
    let words = &["client", "fe80::9", "[node].name", "10.77.0.9"];
    degraded(&facts, ProblemId::NamesDoubled, words);
}

#[test]
fn limits_are_named_with_who_has_reached_them_whether_there_is_an_adjacency_or_not() {
    let router = Ipv4Addr::new(10, 0, 0, 7).to_bits();
    let many = [
        (
            Refusal::TooManyNeighbors,
            (256, 257),
            ProblemId::OspfTooManyNeighbors,
            &["client", "fe80::9", "256"],
        ),
        (
            Refusal::OriginFull,
            (12_288, router),
            ProblemId::OspfTooManyLsas,
            &["10.0.0.7 originates", "12288", "`redistribute`"],
        ),
        (
            Refusal::NeighborFull,
            (16_384, router),
            ProblemId::OspfTooManyLsas,
            &["10.0.0.7 brings", "16384", "`redistribute`"],
        ),
        (
            Refusal::EdgeNotGranted,
            (0, router),
            ProblemId::OspfEdge,
            &["10.0.0.7", "not its own", "`peer_prefixes`"],
        ),
        (
            Refusal::DatabaseFull,
            (0, 0),
            ProblemId::OspfTooManyLsas,
            &["database is full", "10.77.0.9", "l2ha ospf database"],
        ),
    ];
    for (reason, sides, id, words) in many {
        let mut facts = refusing(reason, Some(sides));
        degraded(&facts, id, words);
        facts.tunnels[0].neighbors = healthy().tunnels[0].neighbors.clone();
        facts.tunnels[0].sessions = healthy().tunnels[0].sessions.clone();
        degraded(&facts, id, words);
        facts.tunnels[0].interfaces[0].entry.refused[0].ago_ms = 60_000;
        assert_eq!(judge(&facts), []);
    }
}

#[test]
fn what_neighbours_should_not_advertise_is_named_with_who_does() {
    let mut facts = healthy();
    let kept_out = |address: [u8; 4], reason| KeptOut {
        prefix: Prefix::host(IpAddr::from(address)),
        reason,
        routers: vec![Ipv4Addr::new(10, 0, 0, 9)],
    };
    ospf(&mut facts).kept_out = vec![
        kept_out([127, 0, 0, 53], NotInstalled::Loopback),
        kept_out([224, 0, 0, 5], NotInstalled::Multicast),
    ];
    only(
        &facts,
        ProblemId::RouteNotInstalled,
        Severity::Degraded,
        &[
            "10.0.0.9",
            "127.0.0.53/32",
            "others",
            "loopback",
            "l2ha ospf routes",
        ],
    );
}

#[test]
fn each_other_refusal_is_named() {
    let facts = refusing(Refusal::LsaBody, None);
    degraded(
        &facts,
        ProblemId::OspfRefused,
        &["LSA body", "l2ha ospf interfaces"],
    );
}

#[test]
fn ipv4_is_a_family_of_its_own() {
    let mut facts = healthy();
    ospf(&mut facts).ipv4 = true;
    facts.tunnels.truncate(1);
    facts.tunnels[0].interfaces.push(interface(Family::Ipv4));
    let words = &["client", "OSPF for IPv4", "`ipv4_instance_id`", "10.77.0.9"];
    let id = ProblemId::OspfInstanceMismatch;
    only(&facts, id, Severity::Failed, words);
    // The instance for IPv6 has only just become Full.
    facts.tunnels[0].neighbors[0].entry.since_ms = 100;
    only(
        &facts,
        ProblemId::AdjacencyMissing,
        Severity::Failed,
        &["client"],
    );
    let four = neighbor(Family::Ipv4, NeighborState::Full, 1000);
    facts.tunnels[0].neighbors.push(four);
    assert_eq!(judge(&facts), []);
}

#[test]
fn an_adjacency_that_flaps() {
    let mut facts = healthy();
    facts.tunnels[0].losses = 2;
    assert_eq!(judge(&facts), []);
    facts.tunnels[0].losses = 3;
    degraded(
        &facts,
        ProblemId::AdjacencyFlaps,
        &["3 times within a minute", "`bfd`"],
    );
}
