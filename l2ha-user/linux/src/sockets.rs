//! Sockets in tokio's event loop.

use std::{io, net::IpAddr, os::fd::AsRawFd as _};

use nix::libc;
use socket2::{Domain, SockAddr, SockAddrStorage, SockFilter, Socket, Type};
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

/// Opens a socket that receives, of the packets that an interface passes on to the kernel, the fragments of UDP and of
/// IP protocol 115 that come from one of these addresses, without their Ethernet header. Of more addresses than the
/// kernel takes it receives all.
///
/// # Errors
///
/// When the kernel refuses.
pub fn fragments(ifindex: u32, v6: bool, remotes: &[IpAddr]) -> io::Result<Socket> {
    /// linux/if_ether.h.
    const ETHERTYPES: [u16; 2] = [0x0800, 0x86dd];
    // Without a protocol it receives nothing until it is bound.
    let socket = Socket::new(Domain::PACKET, Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    if socket.attach_filter(&fragment_filter(v6, remotes)).is_err() {
        socket.attach_filter(&fragment_filter(v6, &[]))?;
    }
    socket.bind(&packet_address(ifindex, ETHERTYPES[usize::from(v6)])?)?;
    Ok(socket)
}

/// The filter of [`fragments`] (Documentation/networking/filter.rst); without addresses it takes all.
fn fragment_filter(v6: bool, remotes: &[IpAddr]) -> Vec<SockFilter> {
    // BPF_LD of a byte, a half word and a word at a place (BPF_ABS); BPF_JEQ, BPF_JSET, BPF_RET.
    const BYTE: u16 = 0x30;
    const HALF: u16 = 0x28;
    const WORD: u16 = 0x20;
    const EQUAL: u16 = 0x15;
    const ANY_BIT: u16 = 0x45;
    const RETURN: u16 = 0x06;
    const ALL: u32 = 0xffff;
    let mut code = Vec::new();
    let mut add = |what: u16, yes: u8, no: u8, value: u32| {
        code.push(SockFilter::new(what, yes, no, value));
    };
    // Where the protocol behind the fragment's header is, and where the source address.
    let (protocol, source) = match v6 {
        false => {
            add(HALF, 0, 0, 6);
            add(ANY_BIT, 1, 0, 0x3fff);
            (9, 12)
        }
        true => {
            add(BYTE, 0, 0, 6);
            add(EQUAL, 1, 0, 44);
            (40, 8)
        }
    };
    add(RETURN, 0, 0, 0);
    add(BYTE, 0, 0, protocol);
    add(EQUAL, 2, 0, 17);
    add(EQUAL, 1, 0, 115);
    add(RETURN, 0, 0, 0);
    for remote in remotes {
        let words: Vec<u32> = match remote {
            IpAddr::V4(address) => vec![address.to_bits()],
            IpAddr::V6(address) => {
                let bits = address.to_bits();
                [96, 64, 32, 0].map(|shift| (bits >> shift) as u32).to_vec()
            }
        };
        for (at, word) in words.iter().enumerate() {
            // To behind the return, if it is another one.
            let rest = (words.len() - at) * 2 - 1;
            add(WORD, 0, 0, source + 4 * at as u32);
            add(EQUAL, 0, rest as u8, *word);
        }
        add(RETURN, 0, 0, ALL);
    }
    add(RETURN, 0, 0, if remotes.is_empty() { ALL } else { 0 });
    code
}

/// The address of an interface for a packet socket, which sends whole frames to it.
///
/// # Errors
///
/// When there cannot be such an index.
pub fn link_address(ifindex: u32) -> io::Result<SockAddr> {
    packet_address(ifindex, 0)
}

/// The address of packets of an EtherType on an interface, for a packet socket to be bound to.
///
/// # Errors
///
/// When there cannot be such an index.
pub fn packet_address(ifindex: u32, ethertype: u16) -> io::Result<SockAddr> {
    let index = i32::try_from(ifindex).map_err(io::Error::other)?;
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: a sockaddr_ll fits into a sockaddr_storage, which is aligned for every address, and
    // all zeros are a valid one.
    let link = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    link.sll_family = libc::AF_PACKET as u16;
    link.sll_ifindex = index;
    link.sll_protocol = ethertype.to_be();
    let length = size_of::<libc::sockaddr_ll>() as u32;
    // SAFETY: the storage holds a sockaddr_ll, of that family and length.
    Ok(unsafe { SockAddr::new(storage, length) })
}
