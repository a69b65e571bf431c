//! A tunnel in the data plane's terms.

use config::{Config, Encapsulation, Sublayer, Tunnel};
use dataplane::{Endpoint, EndpointKind, Session};
use linux::Link;

use crate::underlay::UnderlayLink;

/// The session of a tunnel.
pub(crate) fn session(
    tunnel: &Tunnel,
    underlay: UnderlayLink,
    visible: &Link,
    hidden: &Link,
) -> Session {
    Session {
        session_id: tunnel.session_id,
        peer_session_id: tunnel.peer_session_id,
        local: tunnel.local,
        remote: tunnel.remote,
        encapsulation: match tunnel.encapsulation {
            Encapsulation::Udp {
                local_port,
                remote_port,
            } => dataplane::Encapsulation::Udp {
                local_port,
                remote_port,
            },
            Encapsulation::Ip => dataplane::Encapsulation::Ip,
        },
        send_cookie: dataplane::Cookie::new(tunnel.send_cookie.bytes()),
        receive_cookie: dataplane::Cookie::new(tunnel.receive_cookie.bytes()),
        previous_cookie: tunnel
            .previous_cookie
            .as_ref()
            .map(|cookie| dataplane::Cookie::new(cookie.bytes())),
        form: tunnel.form,
        sublayer: match tunnel.sublayer {
            Sublayer::None => dataplane::Sublayer::None,
            Sublayer::Default => dataplane::Sublayer::Default,
        },
        visible_ifindex: visible.index,
        hidden_ifindex: hidden.index,
        underlay_ifindex: underlay.index,
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
