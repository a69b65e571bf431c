//! What `status` answers.

use std::{collections::BTreeMap, net::IpAddr};

use bfd::State;
use ospfv3::NeighborState;
use serde::{Deserialize, Serialize};

use crate::{
    ospf::OspfStatus,
    problem::{Health, Problem},
};

/// The node as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Name of the node.
    pub node: String,
    /// How it is.
    #[serde(default)]
    pub health: Health,
    /// What is wrong, the worst first.
    #[serde(default)]
    pub problems: Vec<Problem>,
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
    /// Whether the node is the last resort: `l2ha drain`.
    #[serde(default)]
    pub drained: bool,
    /// How far the rotation of keys and cookies is, while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<RotationStatus>,
    /// OSPF, when it runs.
    pub ospf: Option<OspfStatus>,
    /// What was put right since the start, by kind.
    pub repairs: BTreeMap<String, u64>,
    /// What arrived at the sockets that hold the ports, by name.
    pub socket: BTreeMap<String, u64>,
    /// Probes of what fits through the tunnels, and ICMP errors that said so, by name.
    #[serde(default)]
    pub path_mtu: BTreeMap<String, u64>,
    /// Ids of the warnings and errors that `l2ha doctor`'s checks found at the daemon's start.
    #[serde(default)]
    pub findings: Vec<String>,
    /// Lines that the log has lost because nobody read it.
    #[serde(default)]
    pub log_lines_lost: u64,
    /// The longest time since the start, in microseconds, for which the daemon's main loop has handled one
    /// thing and waited for nothing else.
    #[serde(default)]
    pub loop_pause_max_us: u64,
}

/// How far a rotation is: the tunnels by what their neighbours do, each in the order of the file. When all are in
/// the first list the former keys and cookies can be removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotationStatus {
    /// The neighbour accepts the present keys and cookies, and uses them.
    pub present: Vec<String>,
    /// It still uses the former ones, or accepts no others.
    pub former: Vec<String>,
    /// No neighbour was heard.
    pub unheard: Vec<String>,
}

impl RotationStatus {
    /// In a sentence.
    #[must_use]
    pub fn text(&self) -> String {
        let all = self.present.len() + self.former.len() + self.unheard.len();
        if self.present.len() == all {
            return "every neighbour uses the present secret: the former one can be removed"
                .to_owned();
        }
        let mut said = Vec::new();
        if !self.former.is_empty() {
            let use_ = if self.former.len() == 1 {
                "uses"
            } else {
                "use"
            };
            said.push(format!(
                "{} still {use_} the former secret",
                self.former.join(", ")
            ));
        }
        if !self.unheard.is_empty() {
            said.push(format!("nothing is heard from {}", self.unheard.join(", ")));
        }
        format!(
            "{} ({} of {all} use the present one)",
            said.join("; "),
            self.present.len()
        )
    }
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
    /// Where the program is attached: `xdp` or `tc`.
    pub hook: Option<String>,
    /// Why it is not native XDP.
    pub why_not_xdp: Option<String>,
    /// What is wrong, if something is.
    pub problem: Option<String>,
}

/// A pseudowire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TunnelStatus {
    /// Name.
    pub name: String,
    /// Virtual interface.
    pub interface: String,
    /// Whether everything of it is in place.
    pub up: bool,
    /// What is wrong, if something is.
    pub problem: Option<String>,
    /// Outer address of this end.
    pub local: IpAddr,
    /// Outer address of the peer.
    pub remote: IpAddr,
    /// The neighbour on the underlay that packets to the peer go to, if a route leads there.
    #[serde(default)]
    pub next_hop: Option<IpAddr>,
    /// `udp` with its ports, or `ip`.
    pub encapsulation: String,
    /// Session id in packets to this node.
    pub session_id: u32,
    /// Session id in packets to the peer.
    pub peer_session_id: u32,
    /// Length of the cookie in packets to the peer.
    pub send_cookie_bytes: usize,
    /// Length of the cookie in packets from the peer.
    pub receive_cookie_bytes: usize,
    /// `none` or `default`.
    pub sublayer: String,
    /// MTU of the virtual interface in bytes, when it is there.
    pub mtu: Option<u32>,
    /// The largest IP packet in bytes that comes through, as probes have found; none while the peer answers none.
    #[serde(default)]
    pub carries: Option<u32>,
    /// Frames received.
    pub rx_packets: u64,
    /// Bytes of the frames received.
    pub rx_bytes: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Bytes of the frames sent.
    pub tx_bytes: u64,
    /// How many milliseconds ago the last frame came, at most; none since the daemon's start when absent.
    #[serde(default)]
    pub heard_ms: Option<u64>,
    /// The adjacency over it, where OSPF runs over it and has heard a neighbour; of several, the best.
    #[serde(default)]
    pub ospf: Option<NeighborState>,
    /// The same of the instance that routes IPv4.
    #[serde(default)]
    pub ospf_ipv4: Option<NeighborState>,
    /// Where BFD watches a neighbour over it, its state; of several, the worst.
    #[serde(default)]
    pub bfd: Option<State>,
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
    /// Whether it is advertised with the highest metric only, for one of the reasons below.
    #[serde(default)]
    pub last_resort: bool,
    /// Whether it is the last resort by `l2ha drain --service`.
    #[serde(default)]
    pub drained: bool,
    /// What its checks say, where it has some.
    #[serde(default)]
    pub health: Option<ServiceHealth>,
}

/// What the checks of a service say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceHealth {
    /// All together.
    pub state: HealthState,
    /// For how many milliseconds that has been so.
    pub since_ms: u64,
    /// Why, where a check does not pass.
    pub reason: Option<String>,
    /// Number of that check, from 1.
    pub check: Option<usize>,
    /// How many checks there are.
    pub checks: usize,
}

/// The state of a service's checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HealthState {
    /// They have not yet all passed since the start.
    Waiting,
    /// All pass.
    Passing,
    /// One fails.
    Failed,
}

impl ServiceStatus {
    /// Its state in a few words, with the reason.
    #[must_use]
    pub fn state(&self) -> String {
        let word = match (self.advertised, self.last_resort) {
            (true, false) => "advertised",
            (true, true) => "last resort",
            (false, _) => "NOT ADVERTISED",
        };
        let drained = if self.drained { ", drained" } else { "" };
        let why = self.health.as_ref().and_then(ServiceHealth::why);
        let why = why.map_or_else(String::new, |why| format!(", {why}"));
        format!("{word}{drained}{why}")
    }
}

impl ServiceHealth {
    /// Why a check does not pass, since when, and which.
    #[must_use]
    pub fn why(&self) -> Option<String> {
        let reason = match (self.state, &self.reason) {
            (HealthState::Passing, _) => return None,
            (_, Some(reason)) => reason.as_str(),
            (_, None) => "its check has not passed yet",
        };
        let check = self.check.map_or_else(String::new, |check| {
            format!(", by check {check} of {}", self.checks)
        });
        Some(format!("{reason}, since {} s{check}", self.since_ms / 1000))
    }
}

/// What the kernel programs count for the node as a whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DataplaneStatus {
    /// Packets by what became of them.
    pub reasons: BTreeMap<String, u64>,
    /// Sessions that share the last bits of their id with another one, and take a second look to be found.
    #[serde(default)]
    pub sessions_without_row: usize,
}
