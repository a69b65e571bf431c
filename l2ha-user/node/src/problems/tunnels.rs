//! The judgement about one tunnel: where what should come from the peer stops.

use std::time::Duration;

use config::DEFAULT_PORT;
use control::{BfdSession, Problem, ProblemId, Severity, Subject, TunnelStatus};
use dataplane::Reason;
use ospfv3::{Family, NeighborState};

use super::{
    facts::{OspfFacts, TunnelFacts},
    judge::problem,
    refusals, router_ids, secrets,
};
use crate::tunnel_status::WRONG_MTU;

/// Least MTU of IPv6 (RFC 8200 5).
const LEAST_MTU: u32 = 1280;
/// Length of a VLAN tag in bytes.
const VLAN_TAG: u32 = 4;
/// So many losses within a minute are flapping.
const MANY_LOSSES: usize = 3;
/// A start is over after this: then who is silent is away.
const START: Duration = Duration::from_secs(5);
/// After so long, an exchange of databases goes nowhere.
const STUCK: Duration = Duration::from_secs(10);

/// What is wrong with it.
pub(crate) fn check(
    tunnel: &TunnelFacts,
    ospf: Option<&OspfFacts>,
    uptime: Duration,
) -> Vec<Problem> {
    if let (false, Some(text)) = (tunnel.status.up, &tunnel.status.problem) {
        let remedy = "the log and `l2ha doctor` here say what is in the way; it is tried again";
        return vec![found(
            tunnel,
            ProblemId::TunnelNotInPlace,
            text.clone(),
            remedy,
        )];
    }
    if let (None, Some(text)) = (tunnel.status.next_hop, &tunnel.status.problem) {
        let TunnelStatus { local, remote, .. } = tunnel.status;
        let remedy = format!("`ip route get {remote} from {local}` here; add a route");
        return vec![found(tunnel, ProblemId::NoRoute, text.clone(), remedy)];
    }
    let mut problems: Vec<Problem> = impaired(tunnel).into_iter().collect();
    match ospf.filter(|_| tunnel.ospf) {
        Some(ospf) => {
            let mut standing = refusals::standing(tunnel, ospf);
            standing.extend(router_ids::over(tunnel, ospf));
            standing.extend(another_mtu(tunnel));
            if tunnel.is_adjacent(ospf) {
                problems.extend(bfd(tunnel));
            } else if standing.is_empty() {
                problems.push(no_adjacency(tunnel, ospf, uptime));
            }
            problems.extend(standing);
        }
        // Whether the peer has anything to say is not known; what it says in vain is.
        None => {
            let silent = tunnel.status.heard_ms.is_none_or(|ms| ms > 10_000);
            problems.extend(refused(tunnel).filter(|_| silent));
        }
    }
    if tunnel.losses >= MANY_LOSSES {
        problems.push(found(
            tunnel,
            ProblemId::AdjacencyFlaps,
            format!("the adjacency was lost {} times within a minute", tunnel.losses),
            "look for loss on the underlay (`l2ha sessions`), a busy CPU, or a `bfd` that is too short",
        ));
    }
    if tunnel.send_refused {
        problems.push(found(
            tunnel,
            ProblemId::SendRefused,
            format!(
                "the kernel refuses to send OSPF's packets on {}",
                tunnel.status.interface
            ),
            "let IP protocol 89 out of this host's firewall (`nft list ruleset`)",
        ));
    }
    problems
}

fn found(
    tunnel: &TunnelFacts,
    id: ProblemId,
    text: impl Into<String>,
    remedy: impl Into<String>,
) -> Problem {
    let subject = Subject::Tunnel(tunnel.status.name.clone());
    problem(id, Severity::Degraded, subject, text, remedy)
}

/// What is wrong with a tunnel that is in place.
fn impaired(tunnel: &TunnelFacts) -> Option<Problem> {
    let remote = tunnel.status.remote;
    if let Some(text) = &tunnel.status.problem {
        let (id, remedy) = match text.starts_with(WRONG_MTU) {
            true => (
                ProblemId::TunnelMtu,
                format!("`mtu` of the [[tunnels]] at {remote}: as this one says, or none"),
            ),
            false => (
                ProblemId::SettingRefused,
                "let the daemon write to /proc/sys here, or set it yourself with `sysctl`"
                    .to_owned(),
            ),
        };
        return Some(found(tunnel, id, text.clone(), remedy));
    }
    let mtu = tunnel.status.mtu?;
    let (text, remedy) = if let Some(room) = tunnel.room.filter(|room| mtu > *room) {
        (
            format!("its MTU is {mtu}, and the underlay leaves {room}: larger packets are lost"),
            format!("`mtu = {room}` in this [[tunnels]] here and at {remote}, or none"),
        )
    } else if tunnel.refused.contains(&Reason::TooBig) {
        let tagged = mtu.saturating_sub(VLAN_TAG);
        (
            format!(
                "frames are too large and dropped: an MTU of {mtu} leaves no room for VLAN tags"
            ),
            format!(
                "an MTU of {tagged} on what sends tagged frames into {}",
                tunnel.status.interface
            ),
        )
    } else {
        narrow(tunnel, mtu)?
    };
    Some(found(tunnel, ProblemId::TunnelMtu, text, remedy))
}

/// What probes have found to fit, where that is less than the MTU.
fn narrow(tunnel: &TunnelFacts, mtu: u32) -> Option<(String, String)> {
    let remote = tunnel.status.remote;
    let carries = tunnel.status.carries.filter(|carries| *carries < mtu)?;
    // The neighbour's interface takes a VLAN tag more than its MTU.
    if neighbours_mtu(tunnel).is_some_and(|theirs| (theirs..=theirs + VLAN_TAG).contains(&carries))
    {
        return None;
    }
    Some(if carries < LEAST_MTU {
        (
            format!(
                "its MTU is {mtu}, and the way to {remote} carries {carries}: too little for IPv6"
            ),
            format!("mend the network on the way: packets of {LEAST_MTU} bytes have to fit"),
        )
    } else {
        (
            format!(
                "its MTU is {mtu}, and the way to {remote} carries {carries}: TCP keeps to that"
            ),
            format!(
                "mend the network on the way, or `mtu = {carries}` in this [[tunnels]] at both ends"
            ),
        )
    })
}

/// The MTU of the neighbour's end, where it has said so.
fn neighbours_mtu(tunnel: &TunnelFacts) -> Option<u32> {
    let v6 = tunnel
        .neighbors
        .iter()
        .filter(|it| it.family == Family::Ipv6);
    let mut known = v6.filter(|it| it.entry.state >= NeighborState::ExStart);
    let theirs = known.find_map(|it| it.entry.mtu.filter(|mtu| *mtu > 0))?;
    Some(theirs.into())
}

/// The MTUs of both ends differ: the smaller end refuses the other's packets, and the larger one hears no reason.
fn another_mtu(tunnel: &TunnelFacts) -> Option<Problem> {
    let (ours, theirs) = (tunnel.status.mtu?, neighbours_mtu(tunnel)?);
    let remote = tunnel.status.remote;
    (ours != theirs).then(|| {
        found(
            tunnel,
            ProblemId::OspfMtuMismatch,
            format!("the MTU is {theirs} at {remote}, and {ours} here"),
            format!("`mtu = {ours}` in the [[tunnels]] at {remote}, or `mtu = {theirs}` here"),
        )
    })
}

/// Why there is no adjacency: the first thing that stops it on the peer's way to us.
fn no_adjacency(tunnel: &TunnelFacts, ospf: &OspfFacts, uptime: Duration) -> Problem {
    if let Some(problem) = refused(tunnel) {
        return problem;
    }
    let hears = tunnel.status.heard_ms.map(Duration::from_millis);
    // A neighbour says something every hello interval.
    let patience = (ospf.hello * 2 + ospf.hello / 2).max(Duration::from_secs(3));
    let silent = hears.is_none_or(|ago| ago > patience);
    let missing = [Family::Ipv6, Family::Ipv4]
        .into_iter()
        .find(|family| tunnel.state(*family) != Some(NeighborState::Full));
    let family = missing.unwrap_or(Family::Ipv6);
    if silent && tunnel.state(family).is_none() {
        return match (hears, uptime < START.max(ospf.hello * 3)) {
            (None, true) => coming(tunnel),
            _ => silence(tunnel, hears),
        };
    }
    if let Some(problem) = refusals::check(tunnel, ospf, family) {
        return problem;
    }
    let ospf_name = match family {
        Family::Ipv6 => "OSPF",
        Family::Ipv4 => "OSPF for IPv4",
    };
    let remote = tunnel.status.remote;
    let name = &tunnel.status.name;
    let of_family = tunnel.neighbors.iter().filter(|it| it.family == family);
    match of_family
        .max_by_key(|it| it.entry.state)
        .map(|it| &it.entry)
    {
        None if uptime < ospf.dead.max(START) => coming(tunnel),
        None if family == Family::Ipv4 && tunnel.is_young(patience) => coming(tunnel),
        // What came last may have come before.
        None if tunnel.lost.is_some_and(|ago| ago <= patience) => found(
            tunnel,
            ProblemId::AdjacencyMissing,
            format!("the adjacency with {remote} was lost a moment ago"),
            format!("wait some seconds; `l2ha explain {name}` shows where it stops"),
        ),
        None if family == Family::Ipv4 => found(
            tunnel,
            ProblemId::OspfInstanceMismatch,
            format!("{remote} runs no OSPF for IPv4, and this end does"),
            format!("`ipv4` and `ipv4_instance_id` in [ospf]: the same here and at {remote}"),
        ),
        None if tunnel.ospf_arrives => found(
            tunnel,
            ProblemId::OspfUnheard,
            format!(
                "{ospf_name} of {remote} arrives at {}, and a firewall of this host drops it",
                tunnel.status.interface
            ),
            "let IP protocol 89 in here (`nft list ruleset`), as docs/operations.md says",
        ),
        None => found(
            tunnel,
            ProblemId::PeerWithoutOspf,
            format!("frames come from {remote}, and no packet of {ospf_name}"),
            format!("start l2ha at {remote}, and let IP protocol 89 out of the firewall there"),
        ),
        Some(neighbor) if neighbor.state <= NeighborState::Init => found(
            tunnel,
            ProblemId::PeerDeaf,
            format!("{ospf_name} of {remote} is heard, and does not hear this node"),
            format!(
                "`l2ha status` at {remote} says what it refuses; here: peer_session_id, send_cookie_file, \
                 remote, remote_port of this [[tunnels]]"
            ),
        ),
        Some(neighbor) if Duration::from_millis(neighbor.since_ms) > STUCK => found(
            tunnel,
            ProblemId::AdjacencyStuck,
            format!(
                "{ospf_name} with {} stays in state {:?} for {} s",
                neighbor.router_id,
                neighbor.state,
                neighbor.since_ms / 1000
            ),
            format!(
                "the same `mtu` in the [[tunnels]] of both ends (here {}); `l2ha status` at {remote}",
                tunnel.status.mtu.unwrap_or_default()
            ),
        ),
        Some(neighbor) => found(
            tunnel,
            ProblemId::AdjacencyMissing,
            format!(
                "{ospf_name} with {} comes up: {:?}",
                neighbor.router_id, neighbor.state
            ),
            format!("wait some seconds; `l2ha explain {name}` shows where it stops"),
        ),
    }
}

fn coming(tunnel: &TunnelFacts) -> Problem {
    found(
        tunnel,
        ProblemId::AdjacencyMissing,
        format!("nothing of OSPF heard yet from {}", tunnel.status.remote),
        format!(
            "wait some seconds; `l2ha explain {}` shows where it stops",
            tunnel.status.name
        ),
    )
}

fn silence(tunnel: &TunnelFacts, heard: Option<Duration>) -> Problem {
    let remote = tunnel.status.remote;
    let text = match heard {
        Some(ago) => format!("nothing comes from {remote} for {} s", ago.as_secs()),
        None => format!("nothing has come from {remote} since the start"),
    };
    let remedy = format!(
        "start l2ha at {remote}, let {} through both firewalls, and see that `remote` there is {}",
        transport(tunnel),
        tunnel.status.local
    );
    found(tunnel, ProblemId::TunnelSilent, text, remedy)
}

/// What carries the tunnel's packets to this node.
fn transport(tunnel: &TunnelFacts) -> String {
    match tunnel.status.encapsulation.split(' ').nth(1) {
        Some(port) => format!("UDP {port}"),
        None if tunnel.status.encapsulation == "ip" => "IP protocol 115".to_owned(),
        None => format!("UDP {DEFAULT_PORT}"),
    }
}

/// What the data plane refuses of the peer's packets.
fn refused(tunnel: &TunnelFacts) -> Option<Problem> {
    let status = &tunnel.status;
    let remote = status.remote;
    let is = |reason| tunnel.refused.contains(&reason);
    if is(Reason::WrongSourceAddress) {
        let (text, remedy) = match tunnel.sample(Reason::WrongSourceAddress) {
            Some(seen) => (
                format!(
                    "its packets come from {}, and `remote` is {remote}",
                    seen.source
                ),
                format!(
                    "`remote = \"{}\"` in this [[tunnels]] here, if that is the peer",
                    seen.source
                ),
            ),
            None => (
                format!("its packets come from another address than {remote}"),
                "`remote` in this [[tunnels]] here; `l2ha monitor` shows the address".to_owned(),
            ),
        };
        return Some(found(tunnel, ProblemId::RemoteMismatch, text, remedy));
    }
    if is(Reason::WrongSourcePort) {
        let port = tunnel.sample(Reason::WrongSourcePort);
        let port = port.and_then(|seen| seen.port);
        let (text, remedy) = match port {
            Some(port) => (
                format!("its packets come from UDP port {port}, and another one is configured"),
                format!(
                    "`remote_port = {port}` in this [[tunnels]] here, or `local_port` at {remote}"
                ),
            ),
            None => (
                "its packets come from another UDP port than `remote_port`".to_owned(),
                format!("`remote_port` in this [[tunnels]] here, or `local_port` at {remote}"),
            ),
        };
        return Some(found(tunnel, ProblemId::PortMismatch, text, remedy));
    }
    if is(Reason::WrongCookie)
        && let Some(secret) = secrets::other_secret(tunnel)
    {
        return Some(secret);
    }
    if is(Reason::WrongCookie) {
        return Some(found(
            tunnel,
            ProblemId::CookieRefused,
            format!("packets from {remote} have another cookie than this end expects"),
            format!(
                "the same bytes in receive_cookie_file of this [[tunnels]] here and send_cookie_file at \
                 {remote}"
            ),
        ));
    }
    let form = [
        (Reason::SequenceMissing, "`sequence`"),
        (Reason::MissingChecksum, "`udp_checksum`"),
        (
            Reason::ShortFrame,
            "`sublayer` and the length of the cookie",
        ),
        (Reason::BadVersion, "`encapsulation`"),
    ];
    if let Some((reason, key)) = form.into_iter().find(|(reason, _)| is(*reason)) {
        return Some(found(
            tunnel,
            ProblemId::FormMismatch,
            format!("packets from {remote} are refused: {}", reason.text()),
            format!("{key}: the same in the [[tunnels]] of both ends, here and at {remote}"),
        ));
    }
    if let Some(seen) = tunnel
        .sample(Reason::UnknownSession)
        .filter(|it| it.source == remote)
    {
        let id = seen.session.unwrap_or_default();
        return Some(found(
            tunnel,
            ProblemId::SessionUnknown,
            format!(
                "{remote} sends session id {id}, and this end's is {}",
                status.session_id
            ),
            format!(
                "`peer_session_id = {}` at {remote}, or `session_id = {id}` in this [[tunnels]] here",
                status.session_id
            ),
        ));
    }
    (tunnel.unknown_sessions && status.heard_ms.is_none_or(|ms| ms > 3_000)).then(|| {
        found(
            tunnel,
            ProblemId::SessionUnknown,
            "packets come with a session id that no tunnel here has",
            format!(
                "`peer_session_id = {}` at {remote}; `l2ha monitor` here shows what comes",
                status.session_id
            ),
        )
    })
}

/// With an adjacency: whether BFD watches it.
fn bfd(tunnel: &TunnelFacts) -> Option<Problem> {
    let remote = tunnel.status.remote;
    let wanted = tunnel.bfd;
    if wanted && tunnel.sessions.is_empty() {
        return Some(found(
            tunnel,
            ProblemId::BfdDown,
            "no BFD session, so a failure is noticed after the dead interval only",
            "the log here says why the session cannot be opened",
        ));
    }
    let down = |it: &&BfdSession| it.session.state != bfd::State::Up;
    let session = tunnel.sessions.iter().filter(|_| wanted).find(down)?;
    let view = &session.session;
    let badly_signed = session
        .refused
        .keys()
        .any(|reason| reason.starts_with("auth"));
    Some(if badly_signed && view.remote_discriminator == 0 {
        found(
            tunnel,
            ProblemId::BfdKeyMismatch,
            format!("BFD's packets from {remote} are not signed as configured here"),
            format!("[[bfd_keys]]: the same id, algorithm and secret here and at {remote}"),
        )
    } else if view.counters.received == 0 {
        found(
            tunnel,
            ProblemId::BfdOneSided,
            format!(
                "no BFD comes from {remote}: a failure is noticed after the dead interval only"
            ),
            format!(
                "`bfd` in [ospf] or this tunnel at {remote}, and UDP 3784 through both firewalls; or \
                 `bfd = \"off\"` in this [[tunnels]] here"
            ),
        )
    } else if view.state == bfd::State::Init && view.remote_state == bfd::State::Down {
        found(
            tunnel,
            ProblemId::BfdDown,
            format!("BFD of {remote} is heard, and does not hear this node"),
            format!(
                "let UDP 3784 in at {remote}, and out of the firewall of this host; `l2ha status` there"
            ),
        )
    } else if view.remote_state == bfd::State::AdminDown {
        found(
            tunnel,
            ProblemId::BfdDown,
            format!("BFD was taken down at {remote}"),
            format!("enable it again at {remote}, or `bfd = \"off\"` in this [[tunnels]] here"),
        )
    } else {
        found(
            tunnel,
            ProblemId::BfdDown,
            format!(
                "BFD is in state {:?}, and at {remote} {:?}",
                view.state, view.remote_state
            ),
            format!(
                "UDP 3784 through both firewalls; look for loss, and for a `bfd` that is too short here or \
                 at {remote}"
            ),
        )
    })
}
