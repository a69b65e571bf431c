//! Sockets in tokio's event loop.

use std::{io, os::fd::AsRawFd as _};

use nix::libc;
use socket2::{SockAddr, SockAddrStorage, Socket};
use tokio::io::unix::AsyncFd;

/// Registers a non-blocking socket with the event loop of the current runtime.
///
/// # Errors
///
/// When the event loop cannot watch it.
pub fn watch(socket: Socket) -> io::Result<AsyncFd<Socket>> {
    // SAFETY: the socket owns its file descriptor and is owned by the returned value, which gives
    // it out only by shared reference; so the descriptor stays open and the same until the event
    // loop has let go of it.
    unsafe { AsyncFd::register(socket) }.map_err(io::Error::from)
}

/// Lets a raw ICMPv6 socket receive messages of one type only (RFC 3542 3.2).
pub fn receive_only_icmp_v6(socket: &Socket, kind: u8) -> io::Result<()> {
    /// `ICMPV6_FILTER` of linux/icmpv6.h.
    const FILTER: libc::c_int = 1;
    // A bit for each type that is blocked.
    let mut blocked = [u32::MAX; 8];
    blocked[usize::from(kind >> 5)] &= !(1 << (kind & 31));
    set_option(socket, libc::IPPROTO_ICMPV6, FILTER, &blocked)
}

/// Lets a raw ICMP socket receive messages of one type only (`ICMP_FILTER` of raw(7)). Types from 32 on cannot be told
/// apart, and are none that IPv4 has.
pub fn receive_only_icmp_v4(socket: &Socket, kind: u8) -> io::Result<()> {
    /// `SOL_RAW` of linux/socket.h, and `ICMP_FILTER` of linux/icmp.h.
    const RAW: libc::c_int = 255;
    const FILTER: libc::c_int = 1;
    set_option(socket, RAW, FILTER, &[!(1_u32 << (kind & 31))])
}

/// How a socket deals with the MTU of the way (`IP_MTU_DISCOVER` of ip(7), `IPV6_MTU_DISCOVER` of ipv6(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathMtu {
    /// It sends what the interface takes, whole, whatever the kernel believes of the way.
    Probe,
    /// The same; and ICMP errors about its packets teach the kernel nothing of the way.
    Ignore,
}

/// Sets how a socket of a family deals with the MTU of the way.
pub fn set_path_mtu(socket: &Socket, v6: bool, how: PathMtu) -> io::Result<()> {
    let (level, option) = match v6 {
        true => (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER),
        false => (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER),
    };
    let value = match (how, v6) {
        (PathMtu::Probe, true) => libc::IPV6_PMTUDISC_PROBE,
        (PathMtu::Probe, false) => libc::IP_PMTUDISC_PROBE,
        (PathMtu::Ignore, true) => libc::IPV6_PMTUDISC_INTERFACE,
        (PathMtu::Ignore, false) => libc::IP_PMTUDISC_INTERFACE,
    };
    set_option(socket, level, option, &[value.cast_unsigned()])
}

/// Sets whether a UDP socket accepts packets over IPv6 that carry no checksum (RFC 6935, `UDP_NO_CHECK6_RX` of
/// udp(7)).
pub fn accept_zero_checksum(socket: &Socket, accept: bool) -> io::Result<()> {
    /// linux/udp.h.
    const UDP_NO_CHECK6_RX: libc::c_int = 102;
    let value = [u32::from(accept)];
    set_option(socket, libc::IPPROTO_UDP, UDP_NO_CHECK6_RX, &value)
}

fn set_option(
    socket: &Socket,
    level: libc::c_int,
    option: libc::c_int,
    value: &[u32],
) -> io::Result<()> {
    // SAFETY: the value is read during the call only, and is as long as is said.
    let answer = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            value.as_ptr().cast(),
            size_of_val(value) as libc::socklen_t,
        )
    };
    if answer == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error())
}

/// The address of an interface for a packet socket, which sends whole frames to it.
///
/// # Errors
///
/// When there cannot be such an index.
pub fn link_address(ifindex: u32) -> io::Result<SockAddr> {
    let index = i32::try_from(ifindex).map_err(io::Error::other)?;
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: a sockaddr_ll fits into a sockaddr_storage, which is aligned for every address, and
    // all zeros are a valid one.
    let link = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    link.sll_family = libc::AF_PACKET as u16;
    link.sll_ifindex = index;
    let length = size_of::<libc::sockaddr_ll>() as u32;
    // SAFETY: the storage holds a sockaddr_ll, of that family and length.
    Ok(unsafe { SockAddr::new(storage, length) })
}
