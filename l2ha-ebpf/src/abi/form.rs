//! What of the outer headers can be chosen.

use bytemuck::{Pod, Zeroable};

/// What of the outer headers can be chosen for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OuterForm {
    /// TTL or hop limit, not 0.
    pub ttl: u8,
    /// Differentiated services code point, 0 to 63. The ECN field is 0: the peer would not bring a
    /// mark into the inner packet (RFC 9601 4, compatibility mode).
    pub dscp: u8,
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
            dscp: 0,
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

    pub(crate) fn new(form: OuterForm, v6: bool, udp: bool) -> Self {
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        let checksum = udp && v6 && form.udp_checksum;
        Self(
            flag(checksum, Self::CHECKSUM)
                | flag(checksum || !udp || form.send_sequence, Self::CUT)
                | flag(udp && form.flow_ports, Self::FLOW_PORTS)
                | flag(form.send_sequence, Self::NUMBERED),
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

    #[inline(always)]
    pub(crate) const fn numbered(self) -> bool {
        self.0 & Self::NUMBERED != 0
    }
}
