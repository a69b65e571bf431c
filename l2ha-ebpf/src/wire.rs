//! Header views: what lies on the wire, byte for byte, and the few constants that name it.
//!
//! Every view has alignment 1 and no padding, so it can be laid over any place in a packet.

use bytemuck::{Pod, Zeroable};

/// Length of an Ethernet header without a VLAN tag.
pub const ETHERNET: usize = 14;
/// Length of an IPv4 header without options.
pub const IPV4: usize = 20;
/// Length of an IPv6 header without extension headers.
pub const IPV6: usize = 40;
/// Length of a UDP header.
pub const UDP: usize = 8;
/// Length of flags, version and reserved bits before the session id, over UDP only
/// (RFC 3931 4.1.2.1).
pub const L2TP_FLAGS: usize = 4;
/// Length of a session id.
pub const SESSION_ID: usize = 4;
/// Length of the default L2-specific sublayer (RFC 3931 4.6).
pub const SUBLAYER: usize = 4;

/// Ethertype of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// Ethertype of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// Ethertype of an IEEE 802.1Q tag.
pub const ETHERTYPE_VLAN: u16 = 0x8100;
/// EtherType of a service VLAN tag (IEEE 802.1ad).
pub const ETHERTYPE_SERVICE_VLAN: u16 = 0x88a8;

/// IP protocol of UDP.
pub const PROTOCOL_UDP: u8 = 17;
/// IPv6 next header of a fragment (RFC 8200 4.5).
pub const PROTOCOL_FRAGMENT: u8 = 44;
/// IP protocol of L2TPv3 without UDP (RFC 3931 4.1.1).
pub const PROTOCOL_L2TP: u8 = 115;

/// Set in the first byte of a control message over UDP (RFC 3931 4.1.2.1).
pub const CONTROL_BIT: u8 = 0x80;
/// The version of L2TPv3, in the low half of the second byte.
pub const VERSION: u8 = 3;

/// An Ethernet header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Ethernet {
    /// Destination address.
    pub destination: [u8; 6],
    /// Source address.
    pub source: [u8; 6],
    ethertype: [u8; 2],
}

impl Ethernet {
    /// What follows the header.
    #[inline(always)]
    #[must_use]
    pub const fn ethertype(&self) -> u16 {
        u16::from_be_bytes(self.ethertype)
    }
}

/// An IPv4 header without options (RFC 791 3.1).
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Ipv4 {
    version_ihl: u8,
    tos: u8,
    total_length: [u8; 2],
    identification: [u8; 2],
    fragment: [u8; 2],
    ttl: u8,
    /// What follows the header.
    pub protocol: u8,
    checksum: [u8; 2],
    /// Source address.
    pub source: [u8; 4],
    /// Destination address.
    pub destination: [u8; 4],
}

impl Ipv4 {
    /// Version: 4.
    #[inline(always)]
    #[must_use]
    pub const fn version(&self) -> u8 {
        self.version_ihl >> 4
    }

    /// Length of the header with its options in bytes: 0 to 60.
    #[inline(always)]
    #[must_use]
    pub const fn header_length(&self) -> usize {
        ((self.version_ihl & 0x0f) as usize) << 2
    }

    /// Length of header and payload in bytes.
    #[inline(always)]
    #[must_use]
    pub const fn total_length(&self) -> usize {
        u16::from_be_bytes(self.total_length) as usize
    }

    /// Whether this is a fragment, the first one included.
    #[inline(always)]
    #[must_use]
    pub const fn is_fragment(&self) -> bool {
        // More Fragments and the 13-bit offset; Don't Fragment and the reserved bit do not count.
        u16::from_be_bytes(self.fragment) & 0x3fff != 0
    }
}

/// An IPv6 header (RFC 8200 3).
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Ipv6 {
    version_class_label: [u8; 4],
    payload_length: [u8; 2],
    /// What follows the header.
    pub next_header: u8,
    hop_limit: u8,
    /// Source address.
    pub source: [u8; 16],
    /// Destination address.
    pub destination: [u8; 16],
}

impl Ipv6 {
    /// Version: 6.
    #[inline(always)]
    #[must_use]
    pub const fn version(&self) -> u8 {
        self.version_class_label[0] >> 4
    }

    /// Length of what follows the header in bytes.
    #[inline(always)]
    #[must_use]
    pub const fn payload_length(&self) -> usize {
        u16::from_be_bytes(self.payload_length) as usize
    }
}

/// A UDP header (RFC 768).
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Udp {
    /// Source port, big-endian.
    pub source: [u8; 2],
    /// Destination port, big-endian.
    pub destination: [u8; 2],
    length: [u8; 2],
    checksum: [u8; 2],
}

impl Udp {
    /// Length of header and payload in bytes.
    #[inline(always)]
    #[must_use]
    pub const fn length(&self) -> usize {
        u16::from_be_bytes(self.length) as usize
    }
}

/// The start of an L2TPv3 message over UDP (RFC 3931 4.1.2.1).
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct L2tpUdp {
    flags: u8,
    version: u8,
    reserved: [u8; 2],
    /// Session id of the receiver; in a control message, control connection id.
    pub session: [u8; 4],
}

impl L2tpUdp {
    /// Whether this is a control message.
    #[inline(always)]
    #[must_use]
    pub const fn is_control(&self) -> bool {
        self.flags & CONTROL_BIT != 0
    }

    /// The version; every other bit is ignored on receive (RFC 3931 4.1.2.1).
    #[inline(always)]
    #[must_use]
    pub const fn version(&self) -> u8 {
        self.version & 0x0f
    }
}

/// Adds a 16-bit number to an Internet checksum that is not folded yet (RFC 1071).
#[inline(always)]
#[must_use]
pub const fn checksum_finish(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}

/// The sum of big-endian 16-bit words, not folded (RFC 1071); an odd last byte is ignored.
#[must_use]
pub fn checksum_sum(bytes: &[u8]) -> u32 {
    bytes
        .chunks_exact(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_are_as_long_as_their_headers() {
        assert_eq!(size_of::<Ethernet>(), ETHERNET);
        assert_eq!(size_of::<Ipv4>(), IPV4);
        assert_eq!(size_of::<Ipv6>(), IPV6);
        assert_eq!(size_of::<Udp>(), UDP);
        assert_eq!(size_of::<L2tpUdp>(), L2TP_FLAGS + SESSION_ID);
    }

    #[test]
    fn ipv4_fields() {
        // A kernel peer's header: 1000 bytes, DF, TTL 64, UDP.
        let bytes = [
            0x46, 0, 0x03, 0xe8, 0, 1, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
        ];
        let header: &Ipv4 = bytemuck::from_bytes(&bytes);
        assert_eq!(header.version(), 4);
        assert_eq!(header.header_length(), 24);
        assert_eq!(header.total_length(), 1000);
        assert!(!header.is_fragment());
        for fragment in [[0x20, 0], [0, 1], [0x1f, 0xff]] {
            let mut bytes = bytes;
            bytes[6..8].copy_from_slice(&fragment);
            assert!(bytemuck::from_bytes::<Ipv4>(&bytes).is_fragment());
        }
    }

    #[test]
    fn checksum_of_the_known_example() {
        // The header of RFC 1071's common worked example (Wikipedia, "IPv4 header checksum").
        let header = [
            0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0x00,
            0x01, 0xc0, 0xa8, 0x00, 0xc7,
        ];
        assert_eq!(checksum_finish(checksum_sum(&header)), 0xb861);
    }
}
