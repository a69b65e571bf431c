//! The wire as routing uses it: links that carry OSPF packets.

use std::{io, net::Ipv6Addr};

use ospfv3::Transmit;
use tokio::sync::mpsc;

use crate::types::Interface;

/// A packet that has come, on its way to the speakers.
pub(crate) struct Packet {
    /// Index of the interface it came in by.
    pub(crate) interface: u32,
    /// The sender's address.
    pub(crate) source: Ipv6Addr,
    /// The address it was sent to.
    pub(crate) destination: Ipv6Addr,
    /// The packet, without its IPv6 header.
    pub(crate) bytes: Vec<u8>,
}

/// What connects this node with its neighbours.
pub(crate) trait Wire {
    /// Opens an interface. What comes in there goes into `packets`, until the port is dropped.
    fn open(
        &mut self,
        interface: &Interface,
        packets: mpsc::Sender<Packet>,
    ) -> io::Result<Box<dyn Port>>;
}

/// An interface that is open.
pub(crate) trait Port {
    /// Sends a packet, without waiting: a full queue is an error like any other.
    fn send(&self, packet: &Transmit) -> io::Result<()>;

    /// Joins or leaves AllDRouters, as the Designated Router and its Backup listen there (RFC 2328
    /// 8.1).
    fn set_designated(&self, on: bool) -> io::Result<()>;
}
