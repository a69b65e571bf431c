//! The path itself, asked by ICMPv6 (RFC 4443 4): the peer's kernel answers, however starved or
//! stopped its daemon is.

use std::{
    io,
    net::{Ipv6Addr, SocketAddrV6},
    os::fd::{AsFd, BorrowedFd},
};

use linux::sockets;
use socket2::{Domain, Protocol, Socket, Type};

/// RFC 4443 4.1.
const ECHO_REQUEST: u8 = 128;
/// RFC 4443 4.2.
const ECHO_REPLY: u8 = 129;
/// Internetwork control (RFC 2474 4.2.2.2, class selector 6), as BFD's own packets.
const TRAFFIC_CLASS: u32 = 0xc0;
/// Type, code, checksum, identifier, sequence number, and what tells our questions from others'.
const LENGTH: usize = 16;
/// Answers read at a time.
const AT_ONCE: usize = 16;

/// Asks one neighbour on one interface.
pub(super) struct Echo {
    socket: Socket,
    secret: [u8; 8],
}

impl Echo {
    /// Opens the socket; `secret` is what an answer has to carry, and cannot be guessed.
    pub(super) fn open(
        interface: &str,
        index: u32,
        local: Ipv6Addr,
        remote: Ipv6Addr,
        secret: u64,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
        socket.set_nonblocking(true)?;
        sockets::receive_only_icmp_v6(&socket, ECHO_REPLY)?;
        socket.bind_device(Some(interface.as_bytes()))?;
        socket.set_tclass_v6(TRAFFIC_CLASS)?;
        socket.bind(&SocketAddrV6::new(local, 0, 0, index).into())?;
        socket.connect(&SocketAddrV6::new(remote, 0, 0, index).into())?;
        Ok(Self {
            socket,
            secret: secret.to_be_bytes(),
        })
    }

    /// What to wait on.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Asks, without waiting.
    pub(super) fn ask(&self) -> io::Result<()> {
        let mut request = [0; LENGTH];
        request[0] = ECHO_REQUEST;
        // The kernel writes the checksum (RFC 3542 3.1).
        request[8..].copy_from_slice(&self.secret);
        self.socket.send(&request).map(drop)
    }

    /// Whether an answer has come since it was last asked for.
    pub(super) fn is_answered(&self) -> bool {
        let mut answered = false;
        for _ in 0..AT_ONCE {
            let mut reply = [0; LENGTH + 1];
            match io::Read::read(&mut &self.socket, &mut reply) {
                Ok(length) => answered |= length == LENGTH && self.is_ours(&reply),
                Err(_) => break,
            }
        }
        answered
    }

    fn is_ours(&self, reply: &[u8]) -> bool {
        reply.first() == Some(&ECHO_REPLY) && reply.get(8..LENGTH) == Some(&self.secret)
    }
}
