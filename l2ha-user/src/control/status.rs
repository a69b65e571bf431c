//! What `status` answers.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use serde::{Deserialize, Serialize};

/// The node as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Name of the node.
    pub node: String,
    /// Process id of the daemon.
    pub pid: u32,
    /// Seconds since the daemon's start.
    pub uptime_s: u64,
    /// Version of the daemon.
    pub version: String,
    /// Path of the configuration file.
    pub config_file: String,
    /// The network that carries the pseudowires.
    pub underlay: UnderlayStatus,
    /// The pseudowires.
    pub tunnels: Vec<TunnelStatus>,
    /// The anycast addresses.
    pub services: Vec<ServiceStatus>,
    /// What the kernel programs count for the node as a whole.
    pub dataplane: DataplaneStatus,
    /// OSPF, when it is configured.
    pub ospf: Option<OspfStatus>,
    /// What was put right since the start, by kind.
    pub repairs: BTreeMap<String, u64>,
    /// What the sockets that hold the ports have seen, by name.
    pub socket: BTreeMap<String, u64>,
}

/// The network that carries the pseudowires.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnderlayStatus {
    /// Interface name.
    pub interface: String,
    /// Interface index, when the interface is there.
    pub ifindex: Option<u32>,
    /// Configured addresses.
    pub addresses: Vec<IpAddr>,
    /// MTU in bytes, when the interface is there.
    pub mtu: Option<u32>,
    /// Where the decapsulation program is attached.
    pub hook: HookStatus,
    /// Why it is not native XDP, when that was tried.
    pub why_not_xdp: Option<String>,
    /// Whether packets can come and go.
    pub healthy: bool,
    /// What is wrong, when it is not healthy.
    pub problem: Option<String>,
}

/// Where a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HookStatus {
    /// Native XDP.
    Xdp,
    /// tc ingress.
    Tc,
    /// Nowhere.
    None,
}

/// A pseudowire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TunnelStatus {
    /// Name.
    pub name: String,
    /// Virtual interface.
    pub interface: String,
    /// Whether it carries frames.
    pub state: TunnelState,
    /// What is wrong, when it is not up.
    pub detail: Option<String>,
    /// Outer address of this end.
    pub local: IpAddr,
    /// Outer address of the peer.
    pub remote: IpAddr,
    /// What carries it.
    pub encapsulation: EncapsulationStatus,
    /// Session id in packets to this node.
    pub session_id: u32,
    /// Session id in packets to the peer.
    pub peer_session_id: u32,
    /// Lengths of the cookies.
    pub cookie_bytes: CookieBytes,
    /// `none` or `default`.
    pub sublayer: String,
    /// MTU of the virtual interface in bytes, when it is there.
    pub mtu: Option<u32>,
    /// Frames received.
    pub rx_packets: u64,
    /// Bytes of the frames received.
    pub rx_bytes: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Bytes of the frames sent.
    pub tx_bytes: u64,
    /// Router id and state of the OSPF neighbour, as `10.0.0.2 Full`, when there is one.
    pub neighbor: Option<String>,
}

/// Whether a pseudowire carries frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TunnelState {
    /// Everything of it is in place.
    Up,
    /// Something of it is missing and being put in place.
    Repairing,
}

/// What carries a pseudowire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EncapsulationStatus {
    /// UDP, between these ports.
    Udp {
        /// Port of this end.
        local_port: u16,
        /// Port of the peer.
        remote_port: u16,
    },
    /// IP protocol 115.
    Ip,
}

/// Lengths of a pseudowire's cookies in bytes: 0, 4 or 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CookieBytes {
    /// In packets to the peer.
    pub send: usize,
    /// In packets from the peer.
    pub receive: usize,
}

/// An anycast address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Name.
    pub name: String,
    /// Address.
    pub address: IpAddr,
    /// Whether it is on the loopback and advertised.
    pub advertised: bool,
}

/// What the kernel programs count for the node as a whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DataplaneStatus {
    /// Packets by what became of them.
    pub reasons: BTreeMap<String, u64>,
}

/// OSPF.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OspfStatus {
    /// Router ID of this node.
    pub router_id: Ipv4Addr,
    /// Area of all interfaces.
    pub area: Ipv4Addr,
    /// How many neighbours are Full.
    pub neighbors_full: usize,
    /// How many routes were computed.
    pub routes: usize,
    /// What OSPF counts, by name.
    pub counters: BTreeMap<String, u64>,
}

impl Status {
    /// What is wrong, worst first; nothing when all is well.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let underlay = &self.underlay;
        if !underlay.healthy {
            let what = underlay.problem.as_deref().unwrap_or("does not work");
            problems.push(format!("underlay {}: {what}", underlay.interface));
        }
        for tunnel in &self.tunnels {
            match (tunnel.state, &tunnel.neighbor) {
                (TunnelState::Repairing, _) => {
                    let what = tunnel.detail.as_deref().unwrap_or("is not in place");
                    problems.push(format!("tunnel {}: {what}", tunnel.name));
                }
                (TunnelState::Up, Some(neighbor)) if !neighbor.ends_with("Full") => {
                    problems.push(format!("tunnel {}: OSPF neighbour {neighbor}", tunnel.name));
                }
                (TunnelState::Up, _) => {}
            }
        }
        for service in self.services.iter().filter(|service| !service.advertised) {
            problems.push(format!(
                "service {}: {} is not advertised",
                service.name, service.address
            ));
        }
        if let Some(ospf) = &self.ospf
            && ospf.neighbors_full == 0
        {
            problems.push("OSPF: no neighbour is Full".to_owned());
        }
        problems
    }
}
