//! Many requests for the kernel in one message, carried out when the call returns.

use std::io;

use nix::errno::Errno;
use rtnetlink::{
    packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE},
    packet_route::RouteNetlinkMessage,
    sys::protocols::NETLINK_ROUTE,
};

use crate::{
    blocking::{Connection, Request},
    netlink::Error,
    nexthop::{Found, NexthopObject},
    route::KernelRoute,
};

/// Of nexthop objects, include/uapi/linux/rtnetlink.h.
const RTM_NEWNEXTHOP: u16 = 104;
const RTM_DELNEXTHOP: u16 = 105;
const RTM_GETNEXTHOP: u16 = 106;
const RTM_GETNEXTHOPBUCKET: u16 = 118;
/// Requests sent at once: the kernel's answers, if it refuses all of them, fit in a socket.
const MAX_REQUESTS: usize = 128;

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
    fn request(&self) -> Request {
        let nexthop = |kind, flags, body| Request { kind, flags, body };
        match self {
            Self::PutRoute(route) => {
                let message = RouteNetlinkMessage::NewRoute(route.message(true));
                Request::new(&message, NLM_F_CREATE | NLM_F_REPLACE)
            }
            Self::DropRoute(route) => {
                Request::new(&RouteNetlinkMessage::DelRoute(route.message(false)), 0)
            }
            Self::AddNexthop(object) => {
                nexthop(RTM_NEWNEXTHOP, NLM_F_CREATE | NLM_F_EXCL, object.body())
            }
            Self::TurnNexthop(object) => nexthop(RTM_NEWNEXTHOP, NLM_F_REPLACE, object.body()),
            Self::DropNexthop(id) => nexthop(RTM_DELNEXTHOP, 0, NexthopObject::name(Some(*id))),
        }
    }

    fn is_moot(&self, errno: Errno) -> bool {
        match self {
            Self::DropRoute(_) => errno == Errno::ESRCH,
            Self::DropNexthop(_) => errno == Errno::ENOENT,
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
pub struct Batch(Connection);

impl Batch {
    /// Opens the socket.
    pub fn open() -> io::Result<Self> {
        Connection::open(NETLINK_ROUTE).map(Self)
    }

    /// Carries out requests in their order, whatever becomes of those before. Gives those refused, by
    /// their place in `orders`.
    ///
    /// # Errors
    ///
    /// When the socket fails: what has become of the requests is not known then.
    pub fn carry_out(&mut self, orders: &[Order]) -> io::Result<Vec<(usize, Error)>> {
        let mut refused = Vec::new();
        for (part, orders) in orders.chunks(MAX_REQUESTS).enumerate() {
            let requests: Vec<Request> = orders.iter().map(Order::request).collect();
            for (place, refusal) in self.0.carry_out(&requests, |_, _| Ok(()))? {
                if let Some(order) = orders.get(place)
                    && !order.is_moot(refusal.errno())
                {
                    let error = Error::refused(order.describe(), &refusal);
                    refused.push((part * MAX_REQUESTS + place, error));
                }
            }
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

    /// Whether the kernel has resilient groups (Linux 5.13): their buckets came with them.
    ///
    /// # Errors
    ///
    /// When it has not, or cannot be asked.
    pub fn resilience(&mut self) -> io::Result<()> {
        self.list(RTM_GETNEXTHOPBUCKET, |_| ())
    }

    fn list(&mut self, kind: u16, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        let request = Request {
            kind,
            flags: NLM_F_DUMP,
            body: NexthopObject::name(None),
        };
        self.0.ask(request, |_, body| {
            take(body);
            Ok(())
        })
    }
}
