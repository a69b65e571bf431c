//! Probes of the way through a tunnel: ICMPv6 Echo (RFC 4443 4) to all nodes behind the virtual interface, which every
//! peer's kernel answers, whatever runs there.
//!
//! An answer says that the probe has come through. Where the way back carries less, the peer cuts its answer as soon
//! as it has found that out (a Linux peer sends IPv6 fragments then), so both directions have an MTU of their own.

use std::{
    io,
    net::{Ipv6Addr, SocketAddrV6},
    os::fd::AsRawFd as _,
};

use linux::sockets::{self, PathMtu};
use nix::sys::socket::{MsgFlags, recv};
use socket2::{Domain, Protocol, Socket, Type};

use super::search::SMALLEST;

/// RFC 4443 4.1.
const ECHO_REQUEST: u8 = 128;
/// RFC 4443 4.2.
const ECHO_REPLY: u8 = 129;
/// All nodes of the link (RFC 4291 2.7.1): no address has to be known.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Bytes of an IPv6 header.
const IPV6: u16 = 40;
/// Type, code, checksum, identifier, sequence number (the packet's size here), and what cannot be guessed.
const KNOWN: usize = 16;
/// Answers read at a time.
const AT_ONCE: usize = 64;

const _: () = assert!(SMALLEST as usize >= IPV6 as usize + KNOWN);

/// Probes the way behind one virtual interface.
#[derive(Debug)]
pub(crate) struct Echo {
    socket: Socket,
    interface: u32,
    secret: [u8; 8],
}

impl Echo {
    /// Opens the socket; `secret` is what an answer has to carry.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub(crate) fn open(name: &str, interface: u32, secret: u64) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
        socket.set_nonblocking(true)?;
        sockets::receive_only_icmp_v6(&socket, ECHO_REPLY)?;
        // Larger ones than are believed to fit, too.
        sockets::set_path_mtu(&socket, true, PathMtu::Probe)?;
        socket.bind_device(Some(name.as_bytes()))?;
        // This host is one of the nodes of the link.
        socket.set_multicast_loop_v6(false)?;
        Ok(Self {
            socket,
            interface,
            secret: secret.to_be_bytes(),
        })
    }

    /// Sends a packet of this size in bytes, from [`SMALLEST`] up to the interface's MTU.
    ///
    /// # Errors
    ///
    /// The kernel's, and `InvalidInput` for less.
    pub(crate) fn ask(&self, size: u16) -> io::Result<()> {
        if size < SMALLEST {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut request = vec![0; usize::from(size - IPV6)];
        request[0] = ECHO_REQUEST;
        // The kernel writes the checksum (RFC 3542 3.1).
        request[6..8].copy_from_slice(&size.to_be_bytes());
        request[8..KNOWN].copy_from_slice(&self.secret);
        let to = SocketAddrV6::new(ALL_NODES, 0, 0, self.interface);
        self.socket.send_to(&request, &to.into()).map(drop)
    }

    /// The sizes of the probes that were answered, of some that wait.
    pub(crate) fn answers(&self) -> Vec<u16> {
        let mut sizes = Vec::new();
        for _ in 0..AT_ONCE {
            let mut reply = [0; KNOWN];
            // With this the length is that of the packet.
            match recv(self.socket.as_raw_fd(), &mut reply, MsgFlags::MSG_TRUNC) {
                Ok(length) => sizes.extend(self.size(&reply, length)),
                Err(_) => break,
            }
        }
        sizes
    }

    /// The size of the probe that this is the answer to, if it is one of ours.
    fn size(&self, reply: &[u8; KNOWN], length: usize) -> Option<u16> {
        let size = u16::from_be_bytes([reply[6], reply[7]]);
        let whole = length + usize::from(IPV6) == usize::from(size);
        (reply[0] == ECHO_REPLY && reply[8..] == self.secret && whole).then_some(size)
    }
}
