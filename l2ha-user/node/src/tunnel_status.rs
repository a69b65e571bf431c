//! What `l2ha status` and `l2ha sessions` show of a tunnel.

use config::{Encapsulation, Sublayer, Tunnel};
use control::{SessionStatus, TunnelStatus};
use dataplane::{Counters, Reason, Reassembled, Session};

use crate::tunnel::Up;

/// A tunnel, with the data plane's figures, and with its own if it is in place.
pub(crate) fn tunnel(
    tunnel: &Tunnel,
    up: Option<&Up>,
    problem: Option<String>,
    counters: &Counters,
) -> TunnelStatus {
    let sum = counters
        .sessions
        .get(&tunnel.session_id)
        .copied()
        .unwrap_or_default();
    TunnelStatus {
        name: tunnel.name.clone(),
        interface: tunnel.interface.clone(),
        up: up.is_some(),
        problem,
        local: tunnel.local,
        remote: tunnel.remote,
        next_hop: up.and_then(|up| up.session.next_hop),
        encapsulation: match tunnel.encapsulation {
            Encapsulation::Udp {
                local_port,
                remote_port,
            } => {
                format!("udp {local_port} {remote_port}")
            }
            Encapsulation::Ip => "ip".to_owned(),
        },
        session_id: tunnel.session_id,
        peer_session_id: tunnel.peer_session_id,
        send_cookie_bytes: tunnel.send_cookie.bytes().len(),
        receive_cookie_bytes: tunnel.receive_cookie.bytes().len(),
        sublayer: match tunnel.sublayer {
            Sublayer::None => "none".to_owned(),
            Sublayer::Default => "default".to_owned(),
        },
        mtu: up.map(|up| up.mtu),
        // Known to the probes: `path_mtu`.
        carries: None,
        rx_packets: sum.rx_packets,
        rx_bytes: sum.rx_bytes,
        tx_packets: sum.tx_packets,
        tx_bytes: sum.tx_bytes,
        // What is seen over time only: `problems`.
        heard_ms: None,
        ospf: None,
        ospf_ipv4: None,
        bfd: None,
    }
}

/// A tunnel's session: all that its status has, and what only sessions show.
pub(crate) fn session(
    tunnel: &Tunnel,
    state: &str,
    status: TunnelStatus,
    counters: &Counters,
) -> SessionStatus {
    let (encapsulation, local_port, remote_port) = match tunnel.encapsulation {
        Encapsulation::Udp {
            local_port,
            remote_port,
        } => ("udp", Some(local_port), Some(remote_port)),
        Encapsulation::Ip => ("ip", None, None),
    };
    let previous = tunnel.previous_cookie.as_ref();
    SessionStatus {
        name: status.name,
        interface: status.interface,
        state: state.to_owned(),
        problem: status.problem,
        session_id: status.session_id,
        peer_session_id: status.peer_session_id,
        local: status.local,
        remote: status.remote,
        encapsulation: encapsulation.to_owned(),
        ip_version: if tunnel.local.is_ipv4() { 4 } else { 6 },
        local_port,
        remote_port,
        receive_cookie_bytes: status.receive_cookie_bytes,
        previous_cookie_bytes: previous.map(|cookie| cookie.bytes().len()),
        send_cookie_bytes: status.send_cookie_bytes,
        sublayer: status.sublayer,
        mtu: status.mtu,
        rx_packets: status.rx_packets,
        rx_bytes: status.rx_bytes,
        tx_packets: status.tx_packets,
        tx_bytes: status.tx_bytes,
        reasons: counters
            .refused
            .get(&status.session_id)
            .into_iter()
            .flatten()
            .map(|(reason, count)| ((*reason).to_owned(), *count))
            .collect(),
    }
}

/// How the text begins of a tunnel whose packets do not fit the underlay.
pub(crate) const WRONG_MTU: &str = "wrong MTU: ";

/// What is to be said where no route of the underlay leads to the peer.
pub(crate) fn no_way(up: &Up, underlay: &str) -> Option<String> {
    let Session {
        local,
        remote,
        next_hop,
        ..
    } = up.session;
    next_hop.is_none().then(|| {
        format!("no route to {remote} from {local} leads out of {underlay}: nothing is sent")
    })
}

/// What is to be said of a peer whose packets do not fit the underlay. Where no program has seen
/// a fragment, packets came to the socket whole, while none was attached.
pub(crate) fn wrong_mtu(up: &Up, reassembled: &Reassembled, counters: &Counters) -> Option<String> {
    let fragments = counters.reasons.get(Reason::PassedFragment.name()).copied();
    (fragments.unwrap_or_default() > 0 && reassembled.is_fragmenting(up.interface)).then(|| {
        format!(
            "{WRONG_MTU}the peer's packets arrive in fragments, which is slow; set the MTU \
             of the peer's virtual interface to {} or less",
            up.mtu
        )
    })
}
