//! What routers on the way say about packets of the tunnels that were too large: ICMP "fragmentation needed" (RFC 1191)
//! and ICMPv6 "packet too big" (RFC 4443 3.2). Anybody can send these, so they are hints only.
//!
//! The ports' sockets ignore them, so that the kernel does not believe them either.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::AsRawFd as _,
};

use linux::sockets;
use nix::sys::socket::{MsgFlags, recv};
use socket2::{Domain, Protocol, Socket, Type};

/// Destination unreachable (RFC 792), with the code for what is too large.
const UNREACHABLE: u8 = 3;
const FRAGMENTATION_NEEDED: u8 = 4;
/// RFC 4443 3.2.
const PACKET_TOO_BIG: u8 = 2;
/// An IPv4 header with all options, ICMP's, and as much of the packet as RFC 792 asks for; or ICMPv6's and an IPv6
/// header.
const ROOM: usize = 60 + 8 + 60 + 8;
/// Messages read at a time, of each family.
const AT_ONCE: usize = 64;
/// IP protocols of the tunnels' packets.
const CARRIERS: [u8; 2] = [17, 115];

/// A router says that a packet was too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooBig {
    /// Source of the packet.
    pub(crate) local: IpAddr,
    /// Its destination.
    pub(crate) remote: IpAddr,
    /// What would fit, in bytes of the outer packet; 0 where the router does not say.
    pub(crate) mtu: u32,
}

/// Hears them.
#[derive(Debug)]
pub(crate) struct Errors {
    sockets: Vec<(bool, Socket)>,
}

impl Errors {
    /// Opens the sockets. A family that the kernel lacks has none.
    pub(crate) fn open() -> Self {
        let mut sockets = Vec::new();
        for v6 in [false, true] {
            match open(v6) {
                Ok(socket) => sockets.push((v6, socket)),
                Err(error) => {
                    tracing::debug!(%error, v6, "ICMP errors about the tunnels' packets are not heard");
                }
            }
        }
        Self { sockets }
    }

    /// Some of those that wait.
    pub(crate) fn waiting(&self) -> Vec<TooBig> {
        let mut found = Vec::new();
        for (v6, socket) in &self.sockets {
            for _ in 0..AT_ONCE {
                let mut bytes = [0; ROOM];
                let Ok(length) = recv(socket.as_raw_fd(), &mut bytes, MsgFlags::empty()) else {
                    break;
                };
                let bytes = &bytes[..length.min(ROOM)];
                found.extend(if *v6 { icmp_v6(bytes) } else { icmp_v4(bytes) });
            }
        }
        found
    }
}

fn open(v6: bool) -> io::Result<Socket> {
    let (domain, protocol) = match v6 {
        true => (Domain::IPV6, Protocol::ICMPV6),
        false => (Domain::IPV4, Protocol::ICMPV4),
    };
    let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
    socket.set_nonblocking(true)?;
    match v6 {
        true => sockets::receive_only_icmp_v6(&socket, PACKET_TOO_BIG)?,
        false => sockets::receive_only_icmp_v4(&socket, UNREACHABLE)?,
    }
    Ok(socket)
}

/// Reads a message behind its IPv4 header.
fn icmp_v4(packet: &[u8]) -> Option<TooBig> {
    let icmp = packet.get(ipv4_length(packet)?..)?;
    if icmp.get(..2)? != [UNREACHABLE, FRAGMENTATION_NEEDED] {
        return None;
    }
    let mtu = u16::from_be_bytes([*icmp.get(6)?, *icmp.get(7)?]);
    let quoted = icmp.get(8..)?;
    ipv4_length(quoted)?;
    let address = |at: usize| {
        let octets: [u8; 4] = quoted.get(at..at + 4)?.try_into().ok()?;
        Some(IpAddr::V4(Ipv4Addr::from(octets)))
    };
    CARRIERS.contains(quoted.get(9)?).then_some(TooBig {
        local: address(12)?,
        remote: address(16)?,
        mtu: mtu.into(),
    })
}

/// The length of an IPv4 header.
fn ipv4_length(packet: &[u8]) -> Option<usize> {
    let first = *packet.first()?;
    let length = usize::from(first & 0xf) * 4;
    (first >> 4 == 4 && length >= 20).then_some(length)
}

/// Reads a message; the kernel gives these without the IPv6 header.
fn icmp_v6(icmp: &[u8]) -> Option<TooBig> {
    if icmp.get(..2)? != [PACKET_TOO_BIG, 0] {
        return None;
    }
    let mtu: [u8; 4] = icmp.get(4..8)?.try_into().ok()?;
    let quoted = icmp.get(8..)?;
    let address = |at: usize| {
        let octets: [u8; 16] = quoted.get(at..at + 16)?.try_into().ok()?;
        Some(IpAddr::V6(Ipv6Addr::from(octets)))
    };
    let carried = *quoted.first()? >> 4 == 6 && CARRIERS.contains(quoted.get(6)?);
    carried.then_some(TooBig {
        local: address(8)?,
        remote: address(24)?,
        mtu: u32::from_be_bytes(mtu),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From a router, about a packet of ours to port 1701.
    fn message_v4() -> Vec<u8> {
        let mut bytes = vec![
            0x45, 0, 0, 56, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 0, 254, 10, 77, 0, 1,
        ];
        bytes.extend([UNREACHABLE, FRAGMENTATION_NEEDED, 0, 0, 0, 0, 0x05, 0x78]);
        bytes.extend([0x45, 0, 5, 220, 0, 0, 0x40, 0, 63, 17, 0, 0]);
        bytes.extend([10, 77, 0, 1, 10, 77, 0, 2]);
        bytes.extend([0x06, 0xa5, 0x06, 0xa5, 5, 200, 0, 0]);
        bytes
    }

    fn message_v6() -> Vec<u8> {
        let mut bytes = vec![PACKET_TOO_BIG, 0, 0, 0, 0, 0, 0x05, 0x78];
        bytes.extend([0x60, 0, 0, 0, 5, 180, 115, 63]);
        let address = |last: u16| Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, last).octets();
        bytes.extend(address(1));
        bytes.extend(address(2));
        bytes
    }

    #[test]
    fn a_message_names_the_tunnel_and_what_fits() {
        let found = icmp_v4(&message_v4()).unwrap();
        assert_eq!(found.local, "10.77.0.1".parse::<IpAddr>().unwrap());
        assert_eq!(found.remote, "10.77.0.2".parse::<IpAddr>().unwrap());
        assert_eq!(found.mtu, 1400);
        let found = icmp_v6(&message_v6()).unwrap();
        assert_eq!(found.local, "fd77::1".parse::<IpAddr>().unwrap());
        assert_eq!(found.remote, "fd77::2".parse::<IpAddr>().unwrap());
        assert_eq!(found.mtu, 1400);
    }

    #[test]
    fn what_is_cut_or_about_something_else_is_none() {
        let whole = message_v4();
        // The ports are not needed.
        for length in 0..whole.len() - 8 {
            assert_eq!(icmp_v4(&whole[..length]), None, "{length}");
        }
        let whole_v6 = message_v6();
        for length in 0..whole_v6.len() {
            assert_eq!(icmp_v6(&whole_v6[..length]), None, "{length}");
        }
        // A port that is closed; TCP; a header shorter than it can be.
        for (at, value) in [(21, 3), (37, 6), (28, 0x44), (0, 0x4f), (0, 0x60)] {
            let mut other = whole.clone();
            other[at] = value;
            assert_eq!(icmp_v4(&other), None, "{at}");
        }
        for (at, value) in [(0, 1), (1, 1), (8, 0x45), (14, 6)] {
            let mut other = whole_v6.clone();
            other[at] = value;
            assert_eq!(icmp_v6(&other), None, "{at}");
        }
    }
}
