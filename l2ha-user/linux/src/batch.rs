//! Many requests for the kernel in one message, carried out when the call returns.

use std::{io, num::NonZeroI32};

use nix::{errno::Errno, libc};
use rtnetlink::{
    packet_core::{
        Emitable as _, ErrorMessage, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL,
        NLM_F_REPLACE, NLM_F_REQUEST,
    },
    sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE},
};

use crate::{
    netlink::Error,
    nexthop::{Found, NexthopObject},
    route::KernelRoute,
};

/// Length of `struct nlmsghdr`, to which messages are aligned anyway.
const HEADER: usize = 16;
/// `NLMSG_ERROR` and `NLMSG_DONE`, include/uapi/linux/netlink.h.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// Of nexthop objects, include/uapi/linux/rtnetlink.h.
const RTM_NEWNEXTHOP: u16 = 104;
const RTM_DELNEXTHOP: u16 = 105;
const RTM_GETNEXTHOP: u16 = 106;
const RTM_GETNEXTHOPBUCKET: u16 = 118;
/// Requests in one message: the kernel's answers, if it refuses all of them, fit in a socket.
const MOST: usize = 128;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Install a route, in place of one with the same destination, table and priority.
    PutRoute(KernelRoute),
    /// Remove a route; that it is gone already is no error.
    DropRoute(KernelRoute),
    /// Make a nexthop object, which must not be there.
    AddNexthop(NexthopObject),
    /// Have a nexthop object that is there lead elsewhere, and with it all routes that use it.
    TurnNexthop(NexthopObject),
    /// Remove a nexthop object; that it is gone already is no error. Routes that use it go with it.
    DropNexthop(u32),
}

impl Order {
    /// Message type, flags and body.
    fn message(&self) -> (u16, u16, Vec<u8>) {
        let route = |route: &KernelRoute, with_nexthops| {
            let message = route.message(with_nexthops);
            let mut body = vec![0; message.buffer_len()];
            message.emit(&mut body);
            body
        };
        match self {
            Self::PutRoute(put) => {
                let flags = NLM_F_CREATE | NLM_F_REPLACE;
                (libc::RTM_NEWROUTE, flags, route(put, true))
            }
            Self::DropRoute(gone) => (libc::RTM_DELROUTE, 0, route(gone, false)),
            Self::AddNexthop(object) => {
                let flags = NLM_F_CREATE | NLM_F_EXCL;
                (RTM_NEWNEXTHOP, flags, object.body())
            }
            Self::TurnNexthop(object) => (RTM_NEWNEXTHOP, NLM_F_REPLACE, object.body()),
            Self::DropNexthop(id) => (RTM_DELNEXTHOP, 0, NexthopObject::name(Some(*id))),
        }
    }

    fn is_moot(&self, errno: i32) -> bool {
        match self {
            Self::DropRoute(_) => errno == libc::ESRCH,
            Self::DropNexthop(_) => errno == libc::ENOENT,
            _ => false,
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::PutRoute(route) => {
                format!(
                    "cannot install the route to {}/{}",
                    route.destination, route.prefix_len
                )
            }
            Self::DropRoute(route) => {
                format!(
                    "cannot remove the route to {}/{}",
                    route.destination, route.prefix_len
                )
            }
            Self::AddNexthop(object) => format!("cannot make the nexthop object {}", object.id),
            Self::TurnNexthop(object) => format!("cannot change the nexthop object {}", object.id),
            Self::DropNexthop(id) => format!("cannot remove the nexthop object {id}"),
        }
    }
}

/// A socket of its own for such requests, in the network namespace of the thread that opened it.
pub struct Batch {
    socket: Socket,
    sequence: u32,
}

impl Batch {
    /// Opens the socket.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // Answers without a copy of the request.
        socket.set_cap_ack(true)?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// Carries out requests in their order, whatever becomes of those before. Gives those refused, by
    /// their place in `orders`.
    ///
    /// # Errors
    ///
    /// When the socket fails: what has become of the requests is not known then.
    pub fn carry_out(&mut self, orders: &[Order]) -> io::Result<Vec<(usize, Error)>> {
        let mut refused = Vec::new();
        for (part, orders) in orders.chunks(MOST).enumerate() {
            let first = self.sequence.wrapping_add(1);
            let mut bytes = Vec::new();
            for (place, order) in orders.iter().enumerate() {
                let (ty, flags, body) = order.message();
                let last = place + 1 == orders.len();
                let flags = flags | NLM_F_REQUEST | if last { NLM_F_ACK } else { 0 };
                self.append(&mut bytes, ty, flags, &body);
            }
            let last = self.sequence;
            self.socket.send(&bytes, 0)?;
            self.answers(|_, sequence, errno| {
                let place = sequence.wrapping_sub(first) as usize;
                if let (Some(order), Some(code)) = (orders.get(place), NonZeroI32::new(errno))
                    && !order.is_moot(-errno)
                {
                    let mut message = ErrorMessage::default();
                    message.code = Some(code);
                    let error = Error {
                        what: order.describe(),
                        source: rtnetlink::Error::NetlinkError(message),
                    };
                    refused.push((part * MOST + place, error));
                }
                Ok(sequence == last)
            })?;
        }
        Ok(refused)
    }

    /// All nexthop objects.
    ///
    /// # Errors
    ///
    /// When the kernel refuses, because it is too old (before 5.3) for instance.
    pub fn nexthops(&mut self) -> io::Result<Vec<Found>> {
        let mut found = Vec::new();
        self.list(RTM_GETNEXTHOP, |body| found.extend(Found::read(body)))?;
        Ok(found)
    }

    /// Whether the kernel has resilient groups (Linux 5.13): it came to know their buckets with them.
    ///
    /// # Errors
    ///
    /// When it has not, or cannot be asked.
    pub fn resilience(&mut self) -> io::Result<()> {
        self.list(RTM_GETNEXTHOPBUCKET, |_| ())
    }

    fn list(&mut self, ty: u16, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        let mut bytes = Vec::new();
        let flags = NLM_F_REQUEST | NLM_F_DUMP;
        self.append(&mut bytes, ty, flags, &NexthopObject::name(None));
        self.socket.send(&bytes, 0)?;
        self.answers(|body, _, errno| {
            if errno != 0 {
                return Err(Errno::from_raw(-errno).into());
            }
            body.map(&mut take);
            Ok(body.is_none())
        })
    }

    fn append(&mut self, to: &mut Vec<u8>, ty: u16, flags: u16, body: &[u8]) {
        self.sequence = self.sequence.wrapping_add(1);
        let length = u32::try_from(HEADER + body.len()).expect("requests are small");
        to.extend(length.to_ne_bytes());
        to.extend(ty.to_ne_bytes());
        to.extend(flags.to_ne_bytes());
        to.extend(self.sequence.to_ne_bytes());
        to.extend([0; 4]);
        to.extend(body);
        to.resize(to.len().next_multiple_of(4), 0);
    }

    /// Reads until `take`, which is given each message (its body unless it is an answer, sequence
    /// number, negative error number) says that it was the last.
    fn answers(
        &self,
        mut take: impl FnMut(Option<&[u8]>, u32, i32) -> io::Result<bool>,
    ) -> io::Result<()> {
        loop {
            let (bytes, _) = self.socket.recv_from_full()?;
            let mut rest = bytes.as_slice();
            while let Some((header, _)) = rest.split_at_checked(HEADER) {
                let length = usize::try_from(word(header, 0)).unwrap_or(usize::MAX);
                let ty = u16::from_ne_bytes([header[4], header[5]]);
                let sequence = word(header, 8);
                let Some(body) = rest.get(HEADER..length) else {
                    return Err(io::Error::other("a netlink message that is cut off"));
                };
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
                let errno = match ty {
                    NLMSG_ERROR | NLMSG_DONE if body.len() >= 4 => word(body, 0).cast_signed(),
                    _ => 0,
                };
                let body = (!matches!(ty, NLMSG_ERROR | NLMSG_DONE)).then_some(body);
                if take(body, sequence, errno)? {
                    return Ok(());
                }
            }
        }
    }
}

/// The word at an offset, in the machine's byte order.
fn word(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
    word.map_or(0, u32::from_ne_bytes)
}
