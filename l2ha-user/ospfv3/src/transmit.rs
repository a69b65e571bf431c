//! Packets to send.

use std::net::Ipv6Addr;

/// A packet to send, hop limit 1 (RFC 5340 A.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Interface to send it out of.
    pub interface: u32,
    /// Our link-local address there.
    pub source: Ipv6Addr,
    /// AllSPFRouters, or a neighbour's link-local address.
    pub destination: Ipv6Addr,
    /// The OSPF packet, checksum filled in.
    pub bytes: Vec<u8>,
}
