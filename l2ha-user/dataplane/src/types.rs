//! What the data plane is told, in plain types of its own.

use std::net::IpAddr;

use l2ha_ebpf::{
    abi::OuterForm,
    plan::{Cookie, Encapsulation, Sublayer},
};

/// Where decapsulation is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Native XDP.
    Xdp,
    /// tc ingress.
    Tc,
}

impl Hook {
    /// The name that status shows.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Xdp => "xdp",
            Self::Tc => "tc",
        }
    }
}

/// How the attachment to the underlay went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The hook in use.
    pub hook: Hook,
    /// Why it is not native XDP, where that was wanted.
    pub why_not_xdp: Option<String>,
    /// Whether an earlier daemon's attachment was taken over without a gap.
    pub adopted: bool,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The id that the peer puts on the wire towards this node; unique on it, not 0.
    pub session_id: u32,
    /// The id that this node puts on the wire.
    pub peer_session_id: u32,
    /// Outer address of this node.
    pub local: IpAddr,
    /// Outer address of the peer, of the same family.
    pub remote: IpAddr,
    /// UDP or IP protocol 115.
    pub encapsulation: Encapsulation,
    /// What the peer expects.
    pub send_cookie: Cookie,
    /// What this node expects.
    pub receive_cookie: Cookie,
    /// What the peer's packets carried before, while that is still accepted.
    pub previous_cookie: Option<Cookie>,
    /// The L2-specific sublayer, the same in both directions.
    pub sublayer: Sublayer,
    /// What of the outer headers can be chosen.
    pub form: OuterForm,
    /// Index of the virtual interface.
    pub visible_ifindex: u32,
    /// Index of its hidden other end.
    pub hidden_ifindex: u32,
    /// Index of the interface that carries the outer packets.
    pub underlay_ifindex: u32,
    /// The neighbour on that interface that the outer packets go to: a gateway, or the peer itself. Without one
    /// they are dropped and counted.
    pub next_hop: Option<IpAddr>,
}

/// A local address, and what on it is the data plane's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The outer address.
    pub address: IpAddr,
    /// A UDP port, or protocol 115.
    pub kind: EndpointKind,
}

/// What on an address is the data plane's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointKind {
    /// A UDP port.
    Udp {
        /// The port.
        port: u16,
    },
    /// IP protocol 115.
    Ip,
}
