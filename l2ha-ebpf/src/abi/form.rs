//! What of the outer headers can be chosen.

use bytemuck::{Pod, Zeroable};

use crate::congestion::{DSCP, ECN};

/// The differentiated services code point of outer headers (RFC 2983).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dscp {
    /// The same for all, 0 to 63 (pipe model).
    Fixed(u8),
    /// That of the inner IP header; 0 for frames without one (uniform model).
    Copy,
}

/// What of the outer headers can be chosen for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OuterForm {
    /// TTL or hop limit, not 0.
    pub ttl: u8,
    /// Differentiated services code point.
    pub dscp: Dscp,
    /// Whether congestion marks are brought from the inner to the outer header and back (RFC 6040
    /// normal mode), as has to be agreed with the peer. If not, the outer ECN field is 0 (RFC 9601 4,
    /// compatibility mode).
    pub ecn: bool,
    /// Whether UDP over IPv6 carries a checksum; zero has to be agreed with the peer (RFC 6936).
    pub udp_checksum: bool,
    /// Whether the UDP source port is of the inner flow, in both directions, so that receivers
    /// spread the flows of a tunnel.
    pub flow_ports: bool,
    /// Whether sent packets are numbered (RFC 3931 4.6); needs the default L2-specific sublayer.
    pub send_sequence: bool,
    /// Whether received packets must be numbered, and old ones are dropped.
    pub receive_sequence: bool,
}

impl Default for OuterForm {
    fn default() -> Self {
        Self {
            ttl: 64,
            dscp: Dscp::Fixed(0),
            ecn: false,
            udp_checksum: true,
            flow_ports: false,
            send_sequence: false,
            receive_sequence: false,
        }
    }
}

/// What the programs have to know of an [`OuterForm`] for each packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub(crate) struct Flags(u8);

impl Flags {
    const CHECKSUM: u8 = 1;
    const CUT: u8 = 2;
    const FLOW_PORTS: u8 = 4;
    const NUMBERED: u8 = 8;
    const COPY_ECN: u8 = 16;
    const COPY_DSCP: u8 = 32;

    pub(crate) fn new(form: OuterForm, v6: bool, udp: bool) -> Self {
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        let checksum = udp && v6 && form.udp_checksum;
        Self(
            flag(checksum, Self::CHECKSUM)
                | flag(checksum || !udp || form.send_sequence, Self::CUT)
                | flag(udp && form.flow_ports, Self::FLOW_PORTS)
                | flag(form.send_sequence, Self::NUMBERED)
                | flag(form.ecn, Self::COPY_ECN)
                | flag(form.dscp == Dscp::Copy, Self::COPY_DSCP),
        )
    }

    #[inline(always)]
    pub(crate) const fn checksum(self) -> bool {
        self.0 & Self::CHECKSUM != 0
    }

    #[inline(always)]
    pub(crate) const fn cut(self) -> bool {
        self.0 & Self::CUT != 0
    }

    #[inline(always)]
    pub(crate) const fn flow_ports(self) -> bool {
        self.0 & Self::FLOW_PORTS != 0
    }

    /// The bits of the traffic class that are the inner header's.
    #[inline(always)]
    pub(crate) const fn copied(self) -> u8 {
        let ecn = if self.0 & Self::COPY_ECN == 0 { 0 } else { ECN };
        let dscp = if self.0 & Self::COPY_DSCP == 0 {
            0
        } else {
            DSCP
        };
        ecn | dscp
    }

    #[inline(always)]
    pub(crate) const fn numbered(self) -> bool {
        self.0 & Self::NUMBERED != 0
    }
}
