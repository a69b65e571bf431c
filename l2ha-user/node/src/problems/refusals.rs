//! What OSPF refuses of a neighbour: both values, and the line to change.

use std::{net::Ipv4Addr, time::Duration};

use control::{OspfRefused, Problem, ProblemId, Severity, Subject};
use ospfv3::{Family, Refusal};

use super::{
    facts::{OspfFacts, TunnelFacts},
    judge::problem,
    secrets::other_secret,
};

/// What is wrong whether there is an adjacency or not: packets of this node's own, and limits that are reached.
pub(crate) fn standing(tunnel: &TunnelFacts, ospf: &OspfFacts) -> Vec<Problem> {
    let families = [Family::Ipv6, Family::Ipv4].into_iter();
    let refused = families.flat_map(|family| lately(tunnel, ospf, family));
    let mut problems: Vec<Problem> = Vec::new();
    for refused in refused.filter(|it| is_standing(it.reason)) {
        let problem = explain(tunnel, refused, Ipv4Addr::UNSPECIFIED);
        if problems.iter().all(|known| known.id != problem.id) {
            problems.push(problem);
        }
    }
    problems
}

const fn is_standing(reason: Refusal) -> bool {
    matches!(
        reason,
        Refusal::OwnPacket
            | Refusal::TooManyNeighbors
            | Refusal::NeighborFull
            | Refusal::OriginFull
            | Refusal::DatabaseFull
            | Refusal::EdgeNotGranted
    )
}

/// What was refused lately in a family and does not pass by itself, the latest first.
fn lately<'a>(
    tunnel: &'a TunnelFacts,
    ospf: &OspfFacts,
    family: Family,
) -> impl Iterator<Item = &'a OspfRefused> {
    // A neighbour whose Hellos are refused says one every hello interval of its own.
    let lately = (ospf.dead + ospf.hello * 2).max(Duration::from_secs(12));
    let interfaces = tunnel.interfaces.iter();
    interfaces
        .filter(move |it| it.family == family)
        .flat_map(|it| &it.entry.refused)
        .filter(move |it| !it.transient && Duration::from_millis(it.ago_ms) <= lately)
}

/// The reason for which the neighbour over a tunnel is no neighbour, if one was seen lately.
pub(crate) fn check(tunnel: &TunnelFacts, ospf: &OspfFacts, family: Family) -> Option<Problem> {
    // What was refused before there was an adjacency has been mended.
    let since = tunnel.lost.unwrap_or(Duration::MAX);
    let mut refused: Vec<&OspfRefused> = lately(tunnel, ospf, family)
        .filter(|it| Duration::from_millis(it.ago_ms) <= since)
        .collect();
    // Packets of a further instance are ordinary where neighbours run several.
    refused.sort_by_key(|it| (it.reason == Refusal::InstanceMismatch, it.ago_ms));
    let refused = refused.first()?;
    let area = tunnel.interfaces.iter().map(|it| it.entry.view.area).next();
    Some(explain(
        tunnel,
        refused,
        area.unwrap_or(Ipv4Addr::UNSPECIFIED),
    ))
}

fn explain(tunnel: &TunnelFacts, refused: &OspfRefused, area: Ipv4Addr) -> Problem {
    if matches!(
        refused.reason,
        Refusal::AuthUnknownKey | Refusal::AuthDigest
    ) && let Some(secret) = other_secret(tunnel)
    {
        return secret;
    }
    let remote = tunnel.status.remote;
    let ours = refused.ours.unwrap_or_default();
    let theirs = refused.theirs.unwrap_or_default();
    let differ = |what: &str| format!("{what} is {theirs} at {remote}, and {ours} here");
    let equal = |key: &str| format!("`{key} = {theirs}` in [ospf] here, or `= {ours}` at {remote}");
    let signed = |text: &str| {
        (
            ProblemId::OspfKeyMismatch,
            format!("{text} at {remote}"),
            format!("[[ospf_keys]]: the same id, algorithm and secret here and at {remote}"),
        )
    };
    let (id, text, remedy) = match refused.reason {
        Refusal::AreaMismatch => {
            let (ours, theirs) = (Ipv4Addr::from_bits(ours), Ipv4Addr::from_bits(theirs));
            (
                ProblemId::OspfAreaMismatch,
                format!("OSPF's area is {theirs} at {remote}, and {ours} here"),
                format!(
                    "`area = \"{theirs}\"` in this [[tunnels]] here, or \"{ours}\" at {remote}"
                ),
            )
        }
        Refusal::AreaTypeMismatch => (
            ProblemId::OspfAreaTypeMismatch,
            format!("area {area} is a stub here or at {remote}, and not at the other end"),
            format!("[[ospf_areas]]: the same `stub` for {area} here and at {remote}"),
        ),
        Refusal::HelloIntervalMismatch => (
            ProblemId::OspfHelloMismatch,
            differ("OSPF's hello interval"),
            equal("hello_interval"),
        ),
        Refusal::DeadIntervalMismatch => (
            ProblemId::OspfDeadMismatch,
            differ("OSPF's dead interval"),
            equal("dead_interval"),
        ),
        Refusal::InstanceMismatch => (
            ProblemId::OspfInstanceMismatch,
            differ("OSPF's instance id"),
            equal("instance_id"),
        ),
        Refusal::MtuMismatch | Refusal::Ipv6MtuMismatch => (
            ProblemId::OspfMtuMismatch,
            format!("the MTU is {theirs} at {remote}, and {ours} here"),
            format!("`mtu = {ours}` in the [[tunnels]] at {remote}, or `mtu = {theirs}` here"),
        ),
        Refusal::AuthMissing => signed("OSPF's packets are signed here, and not"),
        Refusal::AuthUnexpected => signed("OSPF's packets are not signed here, and are"),
        Refusal::AuthUnknownKey => signed("no key here has the id of the one"),
        Refusal::AuthKeyExpired => signed("the time is not that of the key used"),
        Refusal::AuthDigest => signed("OSPF's packets have another secret or algorithm"),
        Refusal::AuthTrailer | Refusal::AuthReplay => {
            signed("OSPF's packets have a wrong authentication trailer")
        }
        Refusal::OwnPacket => (
            ProblemId::NamesDoubled,
            format!(
                "OSPF's packets come from this node's own address, {}",
                refused.source
            ),
            format!(
                "they come back, or {remote} has this node's names and address: another [node].name \
                 at one of them"
            ),
        ),
        Refusal::TooManyNeighbors => (
            ProblemId::OspfTooManyNeighbors,
            format!(
                "{} is one more neighbour than the {ours} that a network may have here",
                refused.source
            ),
            "several smaller networks; `l2ha ospf neighbors` here shows who is there".to_owned(),
        ),
        Refusal::NeighborFull | Refusal::OriginFull => {
            let router = Ipv4Addr::from_bits(theirs);
            let does = match refused.reason {
                Refusal::OriginFull => "originates",
                _ => "brings",
            };
            (
                ProblemId::OspfTooManyLsas,
                format!(
                    "router {router} {does} more than one may ({ours} LSAs, and their share of bytes): \
                     the rest is refused"
                ),
                format!("`redistribute` and areas at {router}; `l2ha ospf database` here"),
            )
        }
        Refusal::EdgeRouterId => {
            let (ours, theirs) = (Ipv4Addr::from_bits(ours), Ipv4Addr::from_bits(theirs));
            (
                ProblemId::OspfEdge,
                format!("{remote} has Router ID {theirs}, and {ours} belongs behind this tunnel"),
                format!("the same name and `router_id` at {remote} and in the cluster's file here"),
            )
        }
        Refusal::EdgeNotGranted => {
            let router = Ipv4Addr::from_bits(theirs);
            (
                ProblemId::OspfEdge,
                format!("{router} says of itself what is not its own: it is not used"),
                "`prefixes` of that gateway, or `peer_prefixes` here; if they are right, its key is \
                 in wrong hands: make another secret"
                    .to_owned(),
            )
        }
        Refusal::DatabaseFull => (
            ProblemId::OspfTooManyLsas,
            format!("the database is full: what {remote} brings is refused"),
            "`l2ha ospf database` here shows whose LSAs they are; divide the AS into areas"
                .to_owned(),
        ),
        other => (
            ProblemId::OspfRefused,
            format!("OSPF refuses what {remote} says: {other}"),
            "`l2ha ospf interfaces` here shows how often, and both values".to_owned(),
        ),
    };
    let subject = Subject::Tunnel(tunnel.status.name.clone());
    problem(id, Severity::Degraded, subject, text, remedy)
}
