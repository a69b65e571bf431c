//! The answer to `sessions`.

use anyhow::Result;
use config::{Encapsulation, Tunnel};
use control::SessionStatus;
use dataplane::Counters;

use crate::state::{Node, State};

impl Node {
    /// Every configured session, with the data plane's figures.
    pub(crate) fn sessions(&self) -> Result<Vec<SessionStatus>> {
        let counters = self.plane.counters()?;
        let tunnels = self.config.tunnels.iter();
        Ok(tunnels
            .map(|tunnel| self.session_status(tunnel, &counters))
            .collect())
    }

    fn session_status(&self, tunnel: &Tunnel, counters: &Counters) -> SessionStatus {
        let status = self.tunnel_status(tunnel, counters);
        let state = match self.tunnels.get(&tunnel.name) {
            Some(State::Up(_)) => "up",
            Some(State::Failed(_)) => "down",
            None => "waiting",
        };
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
}
