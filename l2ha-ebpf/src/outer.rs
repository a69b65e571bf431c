//! The outer headers of a session: prepared once, finished for each packet.

use core::net::IpAddr;

use bytemuck::{Pod, Zeroable};

use crate::{
    abi::{Carrier, Dscp, SessionPlan},
    wire::{self, ETHERNET, IPV4, IPV6},
};

/// The shortest outer headers: Ethernet, IPv4, session id. Every other length is more by a multiple
/// of 4.
pub const OUTER_MIN: usize = ETHERNET + IPV4 + wire::SESSION_ID;
/// No outer headers are longer: with Ethernet, IPv6, UDP, L2TPv3 flags, session id, a cookie of 8
/// bytes and the sublayer they are 82 bytes. What is more is what [`OuterLength`] could say.
pub const OUTER_MAX: usize = OUTER_MIN + 4 * OuterLength::MOST_WORDS as usize;

/// Length of outer headers, in a form in which every verifier sees that it is neither 0 nor more
/// than [`OUTER_MAX`] (before Linux 6.4 a comparison with 0 taught it nothing).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct OuterLength(u8);

impl OuterLength {
    const MOST_WORDS: u8 = 15;

    /// From the length in bytes.
    const fn new(length: usize) -> Self {
        Self(((length - OUTER_MIN) / 4) as u8)
    }

    /// The length in bytes.
    #[inline(always)]
    #[must_use]
    pub const fn bytes(self) -> u32 {
        OUTER_MIN as u32 + 4 * (self.0 & Self::MOST_WORDS) as u32
    }
}

/// Destination address of the outer Ethernet header while the packet is still inside this machine:
/// the kernel's neighbour table replaces it at the underlay. Locally administered, unicast, and of
/// a value that the hidden end recognises ("l2ha").
pub const INTERNAL_DESTINATION: [u8; 6] = [0x02, 0x6c, 0x32, 0x68, 0x61, 0x01];
const INTERNAL_SOURCE: [u8; 6] = [0x02, 0x6c, 0x32, 0x68, 0x61, 0x02];

/// Don't Fragment: the virtual interface's MTU makes everything fit (and then an identification of
/// 0 is right, RFC 6864 4.1).
const DONT_FRAGMENT: u8 = 0x40;

/// The first of the ports for flows (RFC 6335 6).
const EPHEMERAL: u16 = 0xc000;
/// Azure drops what comes from this port.
const RESERVED_BY_AZURE: u16 = 65330;

/// Where the IP header starts.
const IP: usize = ETHERNET;

/// Outer headers as bytes, from the outer Ethernet header to the L2-specific sublayer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct Outer([u8; OUTER_MAX]);

impl Outer {
    /// Prepares the headers of a session and says how long they are; `None` when the addresses are
    /// of different families. Lengths are 0, and the IPv4 checksum field holds the (folded, not
    /// inverted) sum of all else.
    pub(crate) fn new(plan: &SessionPlan<'_>, cookie: &[u8]) -> Option<(Self, OuterLength)> {
        let mut outer = [0; OUTER_MAX];
        let mut length = 0;
        let mut put = |bytes: &[u8]| {
            outer[length..length + bytes.len()].copy_from_slice(bytes);
            length += bytes.len();
        };
        put(&INTERNAL_DESTINATION);
        put(&INTERNAL_SOURCE);
        let class = match plan.form.dscp {
            Dscp::Fixed(dscp) => dscp << 2,
            Dscp::Copy => 0,
        };
        let protocol = match plan.ports {
            Some(_) => wire::PROTOCOL_UDP,
            None => wire::PROTOCOL_L2TP,
        };
        match (plan.local, plan.remote) {
            (IpAddr::V4(local), IpAddr::V4(remote)) => {
                put(&wire::ETHERTYPE_IPV4.to_be_bytes());
                let mut header = [0; IPV4];
                header[0] = 0x45;
                header[6] = DONT_FRAGMENT;
                header[1] = class;
                header[8] = plan.form.ttl;
                header[9] = protocol;
                header[12..16].copy_from_slice(&local.octets());
                header[16..20].copy_from_slice(&remote.octets());
                let sum = !wire::checksum_finish(wire::checksum_sum(&header));
                header[10..12].copy_from_slice(&sum.to_be_bytes());
                put(&header);
            }
            (IpAddr::V6(local), IpAddr::V6(remote)) => {
                put(&wire::ETHERTYPE_IPV6.to_be_bytes());
                put(&[
                    0x60 | class >> 4,
                    class << 4,
                    0,
                    0,
                    0,
                    0,
                    protocol,
                    plan.form.ttl,
                ]);
                put(&local.octets());
                put(&remote.octets());
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return None,
        }
        if let Some((local, remote)) = plan.ports {
            put(&local.to_be_bytes());
            put(&remote.to_be_bytes());
            put(&[0; 4]);
            put(&[0, wire::VERSION, 0, 0]);
        }
        put(&plan.peer_session_id.to_be_bytes());
        put(cookie);
        if plan.sublayer {
            // S bit and sequence number 0: a kernel peer that sees the S bit starts sequencing.
            put(&[0; wire::SUBLAYER]);
        }
        Some((Self(outer), OuterLength::new(length)))
    }

    /// Writes the lengths and the IPv4 checksum. `ip_length` is what follows the outer Ethernet
    /// header, in bytes. A super-packet may exceed what the fields can say: segmentation writes
    /// them anew then.
    #[inline(always)]
    pub fn finish(&mut self, carrier: Carrier, ip_length: u32) {
        let capped = |length: u32| -> [u8; 2] {
            let length = if length > 0xffff { 0xffff } else { length };
            (length as u16).to_be_bytes()
        };
        let bytes = &mut self.0;
        let ip_header = if carrier.is_v6() {
            let length = capped(ip_length - IPV6 as u32);
            bytes[IP + 4] = length[0];
            bytes[IP + 5] = length[1];
            IPV6
        } else {
            let length = capped(ip_length);
            bytes[IP + 2] = length[0];
            bytes[IP + 3] = length[1];
            let prepared = u16::from_be_bytes([bytes[IP + 10], bytes[IP + 11]]);
            let sum = u32::from(prepared) + u32::from(u16::from_be_bytes(length));
            let checksum = wire::checksum_finish(sum).to_be_bytes();
            bytes[IP + 10] = checksum[0];
            bytes[IP + 11] = checksum[1];
            IPV4
        };
        if carrier.is_udp() {
            let length = capped(ip_length - ip_header as u32);
            bytes[IP + ip_header + 4] = length[0];
            bytes[IP + ip_header + 5] = length[1];
        }
    }

    /// Puts bits into the traffic class that were prepared as 0, before [`Self::finish`].
    #[inline(always)]
    pub fn add_class(&mut self, carrier: Carrier, class: u8) {
        let bytes = &mut self.0;
        if carrier.is_v6() {
            bytes[IP] |= class >> 4;
            bytes[IP + 1] |= class << 4;
        } else {
            bytes[IP + 1] |= class;
            let prepared = u16::from_be_bytes([bytes[IP + 10], bytes[IP + 11]]);
            let sum = !wire::checksum_finish(u32::from(prepared) + u32::from(class));
            let sum = sum.to_be_bytes();
            bytes[IP + 10] = sum[0];
            bytes[IP + 11] = sum[1];
        }
    }

    /// Writes a UDP source port of 49152 to 65535 that follows from the hash of a flow.
    #[inline(always)]
    pub fn set_flow_port(&mut self, carrier: Carrier, hash: u32) {
        let spread = (hash ^ hash >> 16) as u16;
        let port = match EPHEMERAL | spread {
            RESERVED_BY_AZURE => EPHEMERAL,
            port => port,
        };
        let at = IP + if carrier.is_v6() { IPV6 } else { IPV4 };
        let [high, low] = port.to_be_bytes();
        self.0[at] = high;
        self.0[at + 1] = low;
    }

    /// The bytes; only as many as the session's headers are long mean something.
    #[inline(always)]
    #[must_use]
    pub const fn bytes(&self) -> &[u8; OUTER_MAX] {
        &self.0
    }
}
