//! One raw socket per interface, for IP protocol 89.

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{Ipv6Addr, SocketAddrV6},
    os::fd::AsRawFd as _,
};

use linux::sockets;
use nix::{
    libc,
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, sendmsg, setsockopt,
        sockopt::Ipv6RecvPacketInfo,
    },
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{Interest, unix::AsyncFd};

/// OSPF's IP protocol number (RFC 5340 A.1).
const OSPF: i32 = 89;
/// AllSPFRouters (RFC 5340 A.1).
const ALL_SPF_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 5);
/// AllDRouters (RFC 5340 A.1).
const ALL_D_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 6);
/// Internetwork control, the precedence routing protocols use (RFC 2474 4.2.2.2, class selector 6).
const TRAFFIC_CLASS: u32 = 0xc0;
/// Room for received packets in bytes: a whole database may come at once.
const RECEIVE_BUFFER: usize = 1 << 20;

/// A packet as it was received.
pub(crate) struct Received {
    /// Length in the caller's buffer.
    pub(crate) length: usize,
    /// The sender's address.
    pub(crate) source: Ipv6Addr,
    /// The address it was sent to.
    pub(crate) destination: Ipv6Addr,
}

/// An OSPF socket on one interface.
pub(crate) struct OspfSocket {
    socket: AsyncFd<Socket>,
    index: u32,
}

impl OspfSocket {
    /// Opens the socket and joins AllSPFRouters.
    pub(crate) fn open(name: &str, index: u32) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::from(OSPF)))?;
        socket.set_nonblocking(true)?;
        socket.bind_device(Some(name.as_bytes()))?;
        socket.join_multicast_v6(&ALL_SPF_ROUTERS, index)?;
        socket.set_multicast_if_v6(index)?;
        socket.set_multicast_loop_v6(false)?;
        // RFC 5340 A.1: packets travel one hop only.
        socket.set_multicast_hops_v6(1)?;
        socket.set_unicast_hops_v6(1)?;
        socket.set_tclass_v6(TRAFFIC_CLASS)?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        setsockopt(&socket, Ipv6RecvPacketInfo, &true)?;
        Ok(Self {
            socket: sockets::watch(socket)?,
            index,
        })
    }

    /// Joins or leaves AllDRouters, as the Designated Router and its Backup listen there (RFC 2328
    /// 8.1).
    pub(crate) fn set_designated(&self, on: bool) -> io::Result<()> {
        let socket = self.socket.get_ref();
        let changed = if on {
            socket.join_multicast_v6(&ALL_D_ROUTERS, self.index)
        } else {
            socket.leave_multicast_v6(&ALL_D_ROUTERS, self.index)
        };
        match changed.as_ref().map_err(io::Error::kind) {
            // It is as it should be.
            Err(io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable) => Ok(()),
            _ => changed,
        }
    }

    /// Waits for a packet.
    pub(crate) async fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.socket
            .async_io(Interest::READABLE, |socket| receive(socket, buffer))
            .await
    }

    /// Sends a packet, without waiting: a full queue is an error like any other.
    pub(crate) fn send(
        &self,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        packet: &[u8],
    ) -> io::Result<()> {
        let info = libc::in6_pktinfo {
            ipi6_addr: libc::in6_addr {
                s6_addr: source.octets(),
            },
            ipi6_ifindex: self.index,
        };
        let to = SockaddrIn6::from(SocketAddrV6::new(destination, 0, 0, self.index));
        let sent = sendmsg(
            self.socket.get_ref().as_raw_fd(),
            &[IoSlice::new(packet)],
            &[ControlMessage::Ipv6PacketInfo(&info)],
            MsgFlags::MSG_DONTWAIT,
            Some(&to),
        )?;
        debug_assert_eq!(sent, packet.len());
        Ok(())
    }
}

fn receive(socket: &Socket, buffer: &mut [u8]) -> io::Result<Received> {
    let mut control = nix::cmsg_space!(libc::in6_pktinfo);
    let mut slices = [IoSliceMut::new(buffer)];
    let message = recvmsg::<SockaddrIn6>(
        socket.as_raw_fd(),
        &mut slices,
        Some(&mut control),
        MsgFlags::MSG_DONTWAIT,
    )?;
    let destination = message.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(Ipv6Addr::from(info.ipi6_addr.s6_addr)),
        _ => None,
    });
    let (Some(source), Some(destination)) = (message.address, destination) else {
        return Err(io::Error::other(
            "the kernel did not say from where to where a packet went",
        ));
    };
    Ok(Received {
        length: message.bytes,
        source: source.ip(),
        destination,
    })
}
