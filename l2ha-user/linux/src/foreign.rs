//! Routes that are not of a routing protocol: for redistribution, and to leave them alone.

use std::net::IpAddr;

use rtnetlink::packet_route::route::{
    RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteType,
};

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

/// A unicast route that is not OSPF's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRoute {
    /// Destination prefix.
    pub destination: IpAddr,
    /// Length of the destination prefix in bits.
    pub prefix_len: u8,
    /// Whether the destination is on the link: the prefix of an interface's address, or one that
    /// routers or DHCP have announced as such.
    pub connected: bool,
    /// The neighbours it leads through.
    pub gateways: Vec<IpAddr>,
}

/// What a host has of its own, and what OSPF's routes must not take the place of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostRoutes {
    /// Unicast routes of other protocols than `ospf`, except those over interfaces without carrier.
    pub routes: Vec<HostRoute>,
    /// The host's own addresses.
    pub addresses: Vec<IpAddr>,
}

impl Netlink {
    /// What the host has in the main table and in `table`, and its addresses.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub async fn host_routes(&self, table: u32) -> Result<HostRoutes, Error> {
        let mut host = HostRoutes::default();
        for message in self.all_routes().await? {
            let route = KernelRoute::from_message(&message);
            let kind = message.header.kind;
            let is_ours = message.header.protocol == RouteProtocol::Ospf;
            let tables = [table, u32::from(RouteHeader::RT_TABLE_MAIN)];
            if kind == RouteType::Local {
                if route.prefix_len == host_length(route.destination) {
                    host.addresses.push(route.destination);
                }
            } else if kind == RouteType::Unicast
                && !is_ours
                && tables.contains(&route.table)
                && !leads_nowhere(&message)
            {
                let hops = route.nexthops.iter();
                let gateways: Vec<IpAddr> = hops.filter_map(|hop| hop.gateway).collect();
                host.routes.push(HostRoute {
                    destination: route.destination,
                    prefix_len: route.prefix_len,
                    connected: gateways.is_empty() && is_on_link(message.header.protocol),
                    gateways,
                });
            }
        }
        Ok(host)
    }

    /// The routes in `table` that routing daemons have written, except those of protocol `ospf` that lead out of
    /// `own` interfaces alone: of each, the name of its protocol, as ip-route shows it, and its metric.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub async fn routes_of_daemons(
        &self,
        table: u32,
        own: &[u32],
    ) -> Result<Vec<(&'static str, u32)>, Error> {
        let mut found = Vec::new();
        for message in self.all_routes().await? {
            let Some(protocol) = daemon(message.header.protocol) else {
                continue;
            };
            let route = KernelRoute::from_message(&message);
            let ours = message.header.protocol == RouteProtocol::Ospf
                && route
                    .nexthops
                    .iter()
                    .all(|hop| own.contains(&hop.interface));
            if route.table == table && !ours {
                found.push((protocol, route.priority));
            }
        }
        Ok(found)
    }

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
    if header.kind != RouteType::Unicast || leads_nowhere(message) {
        return None;
    }
    Some((source, KernelRoute::from_message(message)))
}

/// The name of a routing daemon's protocol, as in /etc/iproute2/rt_protos.
fn daemon(protocol: RouteProtocol) -> Option<&'static str> {
    Some(match protocol {
        RouteProtocol::Zebra => "zebra",
        RouteProtocol::Bird => "bird",
        RouteProtocol::Xorp => "xorp",
        RouteProtocol::Babel => "babel",
        RouteProtocol::Bgp => "bgp",
        RouteProtocol::Isis => "isis",
        RouteProtocol::Ospf => "ospf",
        RouteProtocol::Rip => "rip",
        RouteProtocol::Eigrp => "eigrp",
        _ => return None,
    })
}

/// Whether its interface has no carrier.
fn leads_nowhere(message: &RouteMessage) -> bool {
    let flags = message.header.flags;
    flags.intersects(RouteFlags::Dead | RouteFlags::Linkdown)
}

/// Whether a protocol says what is on a link.
fn is_on_link(protocol: RouteProtocol) -> bool {
    matches!(
        protocol,
        RouteProtocol::Kernel | RouteProtocol::Ra | RouteProtocol::Dhcp
    )
}

/// Length of the prefix that is one address.
fn host_length(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}
