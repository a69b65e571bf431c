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
    // At the larger one.
    facts.tunnels[0].interfaces[0].entry.refused.clear();
    degraded(&facts, ProblemId::AdjacencyMissing, &["ExStart"]);
    facts.tunnels[0].neighbors[0].entry.since_ms = 11_000;
    degraded(
        &facts,
        ProblemId::AdjacencyStuck,
        &["ExStart", "`mtu`", "1442", "10.77.0.9"],
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
    facts.tunnels[0].status.problem = Some("no route leads to the peer".into());
    degraded(
        &facts,
        ProblemId::TunnelImpaired,
        &["no route leads to the peer", "l2ha explain client"],
    );
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
            "10.77.0.9 sends no BFD",
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
fn a_doubled_router_id_is_a_failure() {
    let facts = refusing(Refusal::DuplicateRouterId, None);
    let words = &["client", "Router ID", "`router_id`", "10.77.0.9"];
    only(&facts, ProblemId::RouterIdDoubled, Severity::Failed, words);
}

#[test]
fn doubled_names() {
    let mut facts = lonely();
    ospf(&mut facts).own_packets = true;
    let words = &["client", "[node].name", "10.77.0.9"];
    degraded(&facts, ProblemId::NamesDoubled, words);
    let facts = refusing(Refusal::OwnPacket, None);
    degraded(&facts, ProblemId::NamesDoubled, words);
}

#[test]
fn each_other_refusal_is_named() {
    let facts = refusing(Refusal::TooManyNeighbors, None);
    degraded(
        &facts,
        ProblemId::OspfRefused,
        &["too many neighbors", "l2ha ospf interfaces"],
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
