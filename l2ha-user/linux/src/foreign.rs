//! Routes of the kernel itself and of administrators, for redistribution.

use std::net::IpAddr;

use rtnetlink::packet_route::route::{RouteFlags, RouteMessage, RouteProtocol, RouteType};

use crate::{
    netlink::{Error, Netlink},
    route::KernelRoute,
};

/// Where a route comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteSource {
    /// The kernel: the prefix of an interface's address (protocol `kernel`).
    Connected,
    /// An administrator (protocols `static` and `boot`, which `ip route` sets).
    Static,
}

/// A unicast route that is not of a routing protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignRoute {
    /// Destination prefix.
    pub destination: IpAddr,
    /// Length of the destination prefix in bits.
    pub prefix_len: u8,
    /// Where it comes from.
    pub source: RouteSource,
    /// Index of the outgoing interface, if it has one.
    pub interface: Option<u32>,
}

impl Netlink {
    /// The IPv6 and IPv4 unicast routes in `table` that are the kernel's or an administrator's, except
    /// those over interfaces without carrier.
    pub async fn foreign_routes(&self, table: u32) -> Result<Vec<ForeignRoute>, Error> {
        let messages = self.all_routes().await?;
        let routes = messages.iter().filter_map(read);
        Ok(routes
            .filter(|(_, route)| route.table == table)
            .map(|(source, route)| ForeignRoute {
                destination: route.destination,
                prefix_len: route.prefix_len,
                source,
                interface: match route.nexthops.as_slice() {
                    [only] => Some(only.interface),
                    _ => None,
                },
            })
            .collect())
    }
}

fn read(message: &RouteMessage) -> Option<(RouteSource, KernelRoute)> {
    let header = &message.header;
    let source = match header.protocol {
        RouteProtocol::Kernel => RouteSource::Connected,
        RouteProtocol::Boot | RouteProtocol::Static => RouteSource::Static,
        _ => return None,
    };
    let leads_nowhere = header
        .flags
        .intersects(RouteFlags::Dead | RouteFlags::Linkdown);
    if header.kind != RouteType::Unicast || leads_nowhere {
        return None;
    }
    Some((source, KernelRoute::from_message(message)))
}
