//! Whether a TCP socket listens at an address of this host, asked by socket diagnosis (sock_diag(7)).

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const AF_NETLINK: i32 = 16;
const NETLINK_SOCK_DIAG: i32 = 4;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const IPPROTO_TCP: u8 = 6;
/// The state of a listening socket (`TCP_LISTEN`).
const LISTEN: u8 = 10;
/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// `struct inet_diag_req_v2`.
const REQUEST: usize = 56;
/// The kernel answers before the question's system call returns.
const PATIENCE: Duration = Duration::from_millis(100);

/// A socket to ask the kernel by.
pub(crate) struct Listeners(Socket);

impl Listeners {
    /// Opens one; no privilege is needed.
    pub(crate) fn open() -> io::Result<Self> {
        let protocol = Protocol::from(NETLINK_SOCK_DIAG);
        let socket = Socket::new(Domain::from(AF_NETLINK), Type::RAW, Some(protocol))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(socket))
    }

    /// Whether a socket listens there, or on the wildcard address with this port.
    pub(crate) fn has(&self, address: SocketAddr) -> io::Result<bool> {
        (&self.0).write_all(&request(address))?;
        let mut answer = [0; 4096];
        let length = (&self.0).read(&mut answer)?;
        let answer = &answer[..length];
        let two = |at: usize| Some(u16::from_ne_bytes([*answer.get(at)?, *answer.get(at + 1)?]));
        match two(4) {
            // struct inet_diag_msg: family, then state.
            Some(SOCK_DIAG_BY_FAMILY) => Ok(answer.get(HEADER + 1) == Some(&LISTEN)),
            Some(NLMSG_ERROR) => {
                let number = answer.get(HEADER..HEADER + 4);
                let number = number.and_then(|it| it.try_into().ok());
                let error =
                    io::Error::from_raw_os_error(-i32::from_ne_bytes(number.unwrap_or([0; 4])));
                match error.kind() {
                    io::ErrorKind::NotFound => Ok(false),
                    _ => Err(error),
                }
            }
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// Asks for the socket that would take a connection from nowhere to this address.
fn request(address: SocketAddr) -> [u8; HEADER + REQUEST] {
    let mut request = [0; HEADER + REQUEST];
    let length = u32::try_from(HEADER + REQUEST).unwrap_or_default();
    request[..4].copy_from_slice(&length.to_ne_bytes());
    request[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request[6..8].copy_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    let body = &mut request[HEADER..];
    body[1] = IPPROTO_TCP;
    body[4..8].copy_from_slice(&u32::MAX.to_ne_bytes());
    // struct inet_diag_sockid: source and destination port, then the addresses.
    body[8..10].copy_from_slice(&address.port().to_be_bytes());
    match address.ip() {
        IpAddr::V4(ip) => {
            body[0] = AF_INET;
            body[12..16].copy_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            body[0] = AF_INET6;
            body[12..28].copy_from_slice(&ip.octets());
        }
    }
    // No cookie (INET_DIAG_NOCOOKIE).
    body[48..56].fill(0xff);
    request
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_listener_is_seen_until_it_is_closed() {
        let listeners = Listeners::open().unwrap();
        for (bound, asked) in [
            ("127.0.0.1:0", "127.0.0.1"),
            ("0.0.0.0:0", "127.0.0.1"),
            ("[::]:0", "::1"),
            ("[::]:0", "127.0.0.1"),
        ] {
            let Ok(listener) = TcpListener::bind(bound) else {
                assert!(bound.starts_with('['), "this host has IPv4");
                continue;
            };
            let port = listener.local_addr().unwrap().port();
            let address = SocketAddr::new(asked.parse().unwrap(), port);
            assert!(listeners.has(address).unwrap(), "{bound} {asked}");
            drop(listener);
            assert!(!listeners.has(address).unwrap(), "{bound} {asked}");
        }
    }
}
