//! A tunnel in the data plane's terms.

use std::net::IpAddr;

use config::{Config, Encapsulation, Tunnel};
use dataplane::{Endpoint, EndpointKind, Session};
use linux::Link;

use crate::underlay::UnderlayLink;

/// The session of a tunnel.
pub(crate) fn session(
    tunnel: &Tunnel,
    underlay: UnderlayLink,
    visible: &Link,
    hidden: &Link,
    next_hop: Option<IpAddr>,
) -> Session {
    Session {
        session_id: tunnel.session_id,
        peer_session_id: tunnel.peer_session_id,
        local: tunnel.local,
        remote: tunnel.remote,
        encapsulation: tunnel.encapsulation,
        send_cookie: tunnel.send_cookie.clone(),
        receive_cookie: tunnel.receive_cookie.clone(),
        previous_cookie: tunnel.previous_cookie.clone(),
        sublayer: tunnel.sublayer,
        form: tunnel.form,
        visible_ifindex: visible.index,
        hidden_ifindex: hidden.index,
        underlay_ifindex: underlay.index,
        next_hop,
    }
}

/// The local addresses, ports and protocols that are the data plane's.
pub(crate) fn endpoints(config: &Config) -> Vec<Endpoint> {
    config
        .tunnels
        .iter()
        .map(|tunnel| Endpoint {
            address: tunnel.local,
            kind: match tunnel.encapsulation {
                Encapsulation::Udp { local_port, .. } => EndpointKind::Udp { port: local_port },
                Encapsulation::Ip => EndpointKind::Ip,
            },
        })
        .collect()
}
