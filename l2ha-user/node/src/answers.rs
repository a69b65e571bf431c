//! Answers to the control socket.

use std::collections::BTreeMap;

use anyhow::Result;
use config::{Encapsulation, Sublayer, Tunnel};
use control::{
    Answer, Command, DataplaneStatus, ServiceStatus, Status, TunnelStatus, UnderlayStatus,
};
use dataplane::{Counters, Reason};
use doctor::Severity;
use routing::View;
use serde_json::json;

use crate::state::{Node, State, Up};

impl Node {
    /// Answers one question.
    pub(crate) async fn answer(&mut self, command: Command) -> Answer {
        match command {
            Command::Status => match self.status().await {
                Ok(status) => Answer::data(&status),
                Err(error) => Answer::error(format!("{error:#}")),
            },
            Command::Sessions => match self.sessions() {
                Ok(sessions) => Answer::data(&sessions),
                Err(error) => Answer::error(format!("{error:#}")),
            },
            Command::OspfInterfaces => self.show(View::Interfaces).await,
            Command::OspfNeighbors => self.show(View::Neighbors).await,
            Command::OspfDatabase => self.show(View::Database).await,
            Command::OspfRoutes => self.show(View::Routes).await,
            Command::Bfd => self.show(View::Bfd).await,
            Command::Drain { on } => match self.drain(on) {
                Ok(changed) => Answer::data(&json!({
                    "node": self.config.node.name,
                    "drained": on,
                    "changed": changed,
                })),
                Err(error) => Answer::error(format!("{error:#}")),
            },
            Command::Monitor { .. } | Command::Capture { .. } => {
                Answer::error("packets come as a stream only")
            }
        }
    }

    /// Kernel routes have changed: perhaps somebody removed one of ours.
    pub(crate) fn check_routes(&self) {
        if let Some(routing) = &self.routing {
            routing.check_routes();
        }
    }

    async fn show(&self, view: View) -> Answer {
        let Some(routing) = &self.routing else {
            return Answer::error("OSPF is not configured: add an [ospf] section");
        };
        match routing.show(view).await {
            Ok(value) => Answer::data(&value),
            Err(_) => Answer::error("OSPF has stopped; see the log"),
        }
    }

    async fn status(&self) -> Result<Status> {
        let counters = self.plane.counters()?;
        let ospf = match &self.routing {
            Some(routing) => routing.show(View::Summary).await.ok(),
            None => None,
        };
        Ok(Status {
            node: self.config.node.name.clone(),
            pid: std::process::id(),
            uptime_s: self.started.elapsed().as_secs(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            config_file: self.config_path.display().to_string(),
            underlay: self.underlay_status(),
            tunnels: self
                .config
                .tunnels
                .iter()
                .map(|tunnel| self.tunnel_status(tunnel, &counters))
                .collect(),
            services: self
                .config
                .services
                .iter()
                .map(|service| ServiceStatus {
                    name: service.name.clone(),
                    address: service.address,
                    advertised: ospf.is_some() && self.services.contains(&service.name),
                })
                .collect(),
            dataplane: DataplaneStatus {
                reasons: names(&counters),
                sessions_without_row: self.plane.without_row(),
            },
            drained: self.drained,
            ospf,
            repairs: self.repairs.counts(),
            socket: self.plane.reassembled().counters(),
            findings: self
                .findings
                .iter()
                .filter(|finding| finding.severity > Severity::Note)
                .map(|finding| finding.id.to_owned())
                .collect(),
        })
    }

    fn underlay_status(&self) -> UnderlayStatus {
        let attached = self.attached.as_ref();
        UnderlayStatus {
            interface: self.config.underlay.interface.clone(),
            ifindex: self.underlay.map(|underlay| underlay.index),
            addresses: self.config.underlay.addresses.clone(),
            mtu: self.underlay.map(|underlay| underlay.mtu),
            hook: attached.map(|attached| attached.hook.name().to_owned()),
            why_not_xdp: attached.and_then(|attached| attached.why_not_xdp.clone()),
            problem: self.underlay_problem.clone(),
        }
    }

    /// What is to be said of a peer whose packets do not fit the underlay. Where no program has seen
    /// a fragment, packets came to the socket whole, while none was attached.
    fn wrong_mtu(&self, up: &Up, counters: &Counters) -> Option<String> {
        let fragments = counters.reasons.get(Reason::PassedFragment.name()).copied();
        (fragments.unwrap_or_default() > 0 && self.plane.reassembled().is_fragmenting(up.interface))
            .then(|| {
                format!(
                    "wrong MTU: the peer's packets arrive in fragments, which is slow; set the MTU \
                     of the peer's virtual interface to {} or less",
                    up.mtu
                )
            })
    }

    pub(crate) fn tunnel_status(&self, tunnel: &Tunnel, counters: &Counters) -> TunnelStatus {
        let (mtu, up, problem) = match self.tunnels.get(&tunnel.name) {
            Some(State::Up(up)) => (Some(up.mtu), true, self.wrong_mtu(up, counters)),
            Some(State::Failed(problem)) => (None, false, Some(problem.clone())),
            None => (None, false, Some("waits for the underlay".to_owned())),
        };
        let sum = counters
            .sessions
            .get(&tunnel.session_id)
            .copied()
            .unwrap_or_default();
        TunnelStatus {
            name: tunnel.name.clone(),
            interface: tunnel.interface.clone(),
            up,
            problem,
            local: tunnel.local,
            remote: tunnel.remote,
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
            mtu,
            rx_packets: sum.rx_packets,
            rx_bytes: sum.rx_bytes,
            tx_packets: sum.tx_packets,
            tx_bytes: sum.tx_bytes,
        }
    }
}

/// Counts by name, as they are shown.
fn names(counters: &Counters) -> BTreeMap<String, u64> {
    counters
        .reasons
        .iter()
        .map(|(name, count)| ((*name).to_owned(), *count))
        .collect()
}
