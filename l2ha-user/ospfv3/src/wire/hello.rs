//! The Hello packet, RFC 5340 A.3.2.

use std::net::Ipv4Addr;

use super::{Decoded, Options, Reader, Write};

/// Body of a Hello packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The sender's number for its end of the link.
    pub interface_id: u32,
    /// For the election of a Designated Router; 0 means never.
    pub priority: u8,
    /// Optional capabilities.
    pub options: Options,
    /// Seconds between the sender's Hellos.
    pub hello_interval: u16,
    /// Seconds of silence after which the sender is down.
    pub dead_interval: u16,
    /// Router ID of the Designated Router, 0.0.0.0 for none.
    pub designated_router: Ipv4Addr,
    /// Router ID of the Backup Designated Router, 0.0.0.0 for none.
    pub backup_router: Ipv4Addr,
    /// Router IDs of those the sender has heard within the dead interval.
    pub neighbors: Vec<Ipv4Addr>,
}

impl Hello {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.interface_id);
        out.put_u8(self.priority);
        out.put_u24(self.options.bits());
        out.put_u16(self.hello_interval);
        out.put_u16(self.dead_interval);
        out.put(&self.designated_router.octets());
        out.put(&self.backup_router.octets());
        for neighbor in &self.neighbors {
            out.put(&neighbor.octets());
        }
    }

    pub(crate) fn decode(r: &mut Reader<'_>) -> Decoded<Self> {
        let mut hello = Self {
            interface_id: r.u32()?,
            priority: r.u8()?,
            options: Options::from_bits(r.u24()?),
            hello_interval: r.u16()?,
            dead_interval: r.u16()?,
            designated_router: r.ipv4()?,
            backup_router: r.ipv4()?,
            neighbors: Vec::with_capacity(r.remaining() / 4),
        };
        while r.remaining() > 0 {
            hello.neighbors.push(r.ipv4()?);
        }
        Ok(hello)
    }
}
