//! Router IDs and addresses of the nodes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ospfv3::{Prefix, StubPrefix};

use super::links::End;

/// Interface ID of every node's loopback.
pub(crate) const LOOPBACK: u32 = 1;

pub(crate) fn router_id(node: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a00_0001 + node as u32)
}

/// The address only this node has.
pub(crate) fn own_prefix(node: usize) -> Prefix {
    Prefix::host(Ipv6Addr::from_bits(0x2001_0db8 << 96 | (node as u128 + 1)))
}

pub(crate) fn anycast() -> Prefix {
    Prefix::host(Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 1))
}

pub(crate) fn local(prefix: Prefix) -> StubPrefix {
    StubPrefix {
        prefix,
        metric: 0,
        local: true,
    }
}

/// The same as a next hop.
pub(crate) fn hop(end: End) -> IpAddr {
    IpAddr::V6(link_local(end))
}

pub(crate) fn link_local(end: End) -> Ipv6Addr {
    let id = (end.node as u128 + 1) << 16 | u128::from(end.interface);
    Ipv6Addr::from_bits(0xfe80 << 112 | id)
}
