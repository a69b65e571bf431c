//! One raw socket per interface, for IP protocol 89.

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{Ipv6Addr, SocketAddrV6},
    os::fd::AsRawFd as _,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use linux::sockets;
use nix::{
    libc,
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, sendmsg, setsockopt,
        sockopt::Ipv6RecvPacketInfo,
    },
};
use ospfv3::{
    Transmit,
    wire::{ALL_D_ROUTERS, ALL_SPF_ROUTERS},
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::mpsc,
    task::JoinHandle,
    time::sleep,
};

use crate::{
    types::Interface,
    wire::{Packet, Port, Wire},
};

/// OSPF's IP protocol number (RFC 5340 A.1).
const OSPF: i32 = 89;
/// Internetwork control, the precedence routing protocols use (RFC 2474 4.2.2.2, class selector 6).
const TRAFFIC_CLASS: u32 = 0xc0;
/// Room for received packets in bytes: a whole database may come at once.
const RECEIVE_BUFFER: usize = 1 << 20;

/// Where a packet is read into, one at a time: a buffer for each of a thousand sockets would be 64 MB.
type Room = Arc<Mutex<Box<[u8]>>>;

/// The wire of this network namespace.
pub(crate) struct RawSockets {
    room: Room,
}

impl RawSockets {
    /// Without a socket yet.
    pub(crate) fn new() -> Self {
        let room = vec![0; usize::from(u16::MAX)].into_boxed_slice();
        Self {
            room: Arc::new(Mutex::new(room)),
        }
    }
}

impl Wire for RawSockets {
    fn open(
        &mut self,
        interface: &Interface,
        packets: mpsc::Sender<Packet>,
    ) -> io::Result<Box<dyn Port>> {
        let socket = Arc::new(OspfSocket::open(&interface.name, interface.index)?);
        let (name, room) = (interface.name.clone(), Arc::clone(&self.room));
        let reader = tokio::spawn(read(Arc::clone(&socket), name, room, packets));
        Ok(Box::new(OpenPort { socket, reader }))
    }
}

/// A socket and the task that reads it.
struct OpenPort {
    socket: Arc<OspfSocket>,
    reader: JoinHandle<()>,
}

impl Port for OpenPort {
    fn send(&self, packet: &Transmit) -> io::Result<()> {
        self.socket
            .send(packet.source, packet.destination, &packet.bytes)
    }

    fn set_designated(&self, on: bool) -> io::Result<()> {
        self.socket.set_designated(on)
    }
}

impl Drop for OpenPort {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Reads one socket into the queue.
async fn read(
    socket: Arc<OspfSocket>,
    interface: String,
    room: Room,
    packets: mpsc::Sender<Packet>,
) {
    loop {
        match socket.receive(&room).await {
            Ok(packet) => {
                if packets.send(packet).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::debug!(interface, %error, "cannot read an OSPF packet");
                // A vanished interface answers at once, again and again, until it is removed.
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// An OSPF socket on one interface.
struct OspfSocket {
    socket: AsyncFd<Socket>,
    index: u32,
}

impl OspfSocket {
    /// Opens the socket and joins AllSPFRouters.
    fn open(name: &str, index: u32) -> io::Result<Self> {
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

    fn set_designated(&self, on: bool) -> io::Result<()> {
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
    async fn receive(&self, room: &Room) -> io::Result<Packet> {
        let receive = |socket: &Socket| {
            let mut room = room.lock().unwrap_or_else(PoisonError::into_inner);
            receive(socket, self.index, &mut room)
        };
        self.socket.async_io(Interest::READABLE, receive).await
    }

    fn send(&self, source: Ipv6Addr, destination: Ipv6Addr, packet: &[u8]) -> io::Result<()> {
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

fn receive(socket: &Socket, interface: u32, room: &mut [u8]) -> io::Result<Packet> {
    let mut control = nix::cmsg_space!(libc::in6_pktinfo);
    let mut slices = [IoSliceMut::new(room)];
    let message = recvmsg::<SockaddrIn6>(
        socket.as_raw_fd(),
        &mut slices,
        Some(&mut control),
        MsgFlags::MSG_DONTWAIT,
    )?;
    let length = message.bytes;
    let source = message.address;
    let destination = message.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(Ipv6Addr::from(info.ipi6_addr.s6_addr)),
        _ => None,
    });
    let (Some(source), Some(destination)) = (source, destination) else {
        return Err(io::Error::other(
            "the kernel did not say from where to where a packet went",
        ));
    };
    Ok(Packet {
        interface,
        source: source.ip(),
        destination,
        bytes: room.get(..length).unwrap_or_default().to_vec(),
    })
}
