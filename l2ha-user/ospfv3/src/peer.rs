//! The name of a neighbour.

use std::net::Ipv4Addr;

use serde::Serialize;

/// A neighbour, by the interface it is on and its Router ID (RFC 5340 2.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Peer {
    /// Interface ID of ours.
    pub interface: u32,
    /// Its Router ID.
    pub router_id: Ipv4Addr,
}

impl Peer {
    /// The neighbour with this Router ID on this interface.
    pub const fn new(interface: u32, router_id: Ipv4Addr) -> Self {
        Self {
            interface,
            router_id,
        }
    }
}
