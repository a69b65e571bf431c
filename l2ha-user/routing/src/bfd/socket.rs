//! The sockets of one session, RFC 5881 4 and 5.

use std::{
    io::{self, IoSliceMut},
    net::{Ipv6Addr, SocketAddrV6},
    os::fd::{AsFd, AsRawFd as _, BorrowedFd},
};

use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, setsockopt, sockopt::Ipv6RecvHopLimit,
};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Where control packets go (RFC 5881 4).
const PORT: u16 = 3784;
/// Source ports (RFC 5881 4); each session has one of its own.
const SOURCE_PORTS: std::ops::RangeInclusive<u16> = 49152..=65535;
/// The hop limit that a packet from the neighbour itself has (RFC 5881 5, RFC 5082).
const HOP_LIMIT: i32 = 255;
/// Internetwork control (RFC 2474 4.2.2.2, class selector 6).
const TRAFFIC_CLASS: u32 = 0xc0;

/// What came in.
pub(super) struct Received {
    pub(super) length: usize,
    pub(super) source: Ipv6Addr,
    /// Whether it came from the neighbour itself and not over a router.
    pub(super) one_hop: bool,
}

/// A receiving and a sending socket.
pub(super) struct Sockets {
    receiver: Socket,
    sender: Socket,
    to: SockAddr,
}

impl Sockets {
    /// Opens both; `number` chooses the source port.
    pub(super) fn open(
        interface: &str,
        index: u32,
        local: Ipv6Addr,
        remote: Ipv6Addr,
        number: u32,
    ) -> io::Result<Self> {
        let socket = || {
            let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
            socket.set_nonblocking(true)?;
            socket.set_only_v6(true)?;
            socket.bind_device(Some(interface.as_bytes()))?;
            io::Result::Ok(socket)
        };
        let receiver = socket()?;
        receiver.set_reuse_address(true)?;
        receiver.bind(&SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, PORT, 0, 0).into())?;
        setsockopt(&receiver, Ipv6RecvHopLimit, &true)?;
        let sender = socket()?;
        sender.set_unicast_hops_v6(HOP_LIMIT as u32)?;
        sender.set_tclass_v6(TRAFFIC_CLASS)?;
        let ports = u32::from(SOURCE_PORTS.end() - SOURCE_PORTS.start()) + 1;
        let bound = (0..16).find_map(|again| {
            let port = SOURCE_PORTS.start() + ((number + again * 997) % ports) as u16;
            let from = SocketAddrV6::new(local, port, 0, index);
            match sender.bind(&from.into()) {
                Ok(()) => Some(Ok(())),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => None,
                Err(error) => Some(Err(error)),
            }
        });
        bound.unwrap_or_else(|| Err(io::ErrorKind::AddrInUse.into()))?;
        Ok(Self {
            receiver,
            sender,
            to: SocketAddrV6::new(remote, PORT, 0, index).into(),
        })
    }

    /// What to wait on.
    pub(super) fn receiver(&self) -> BorrowedFd<'_> {
        self.receiver.as_fd()
    }

    /// The next packet, if there is one.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<Received>> {
        let mut control = nix::cmsg_space!(i32);
        let mut slices = [IoSliceMut::new(buffer)];
        let message = match recvmsg::<SockaddrIn6>(
            self.receiver.as_raw_fd(),
            &mut slices,
            Some(&mut control),
            MsgFlags::MSG_DONTWAIT,
        ) {
            Ok(message) => message,
            Err(nix::errno::Errno::EAGAIN) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let one_hop = message
            .cmsgs()?
            .any(|message| matches!(message, ControlMessageOwned::Ipv6HopLimit(HOP_LIMIT)));
        let source = message.address.ok_or(io::ErrorKind::InvalidData)?.ip();
        Ok(Some(Received {
            length: message.bytes,
            source,
            one_hop,
        }))
    }

    /// Sends a packet, without waiting.
    pub(super) fn send(&self, packet: &[u8]) -> io::Result<()> {
        self.sender.send_to(packet, &self.to).map(drop)
    }
}
