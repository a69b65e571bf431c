//! What is compared: names, and how each is set up.

use std::fmt;

/// One way to get a packet from one host to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// No tunnel.
    Plain,
    /// The kernel's VXLAN.
    Vxlan,
    /// L2TPv3 over UDP and IPv4.
    L2ha,
    /// The same with both programs on tc.
    L2haTc,
    /// L2TPv3 over UDP and IPv6.
    L2haUdp6,
    /// L2TPv3 over IP protocol 115.
    L2haIp,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Plain => "plain",
            Self::Vxlan => "vxlan",
            Self::L2ha => "l2ha",
            Self::L2haTc => "l2ha-tc",
            Self::L2haUdp6 => "l2ha-udp6",
            Self::L2haIp => "l2ha-ip",
        })
    }
}
