//! IPv6 routes of protocol `ospf` in one kernel table.

use std::net::{IpAddr, Ipv6Addr};

use futures_util::TryStreamExt as _;
use nix::errno::Errno;
use rtnetlink::{
    RouteMessageBuilder, RouteNextHopBuilder,
    packet_route::route::{
        RouteAddress, RouteAttribute, RouteMessage, RouteNextHop, RouteProtocol,
    },
};

use super::{Asked as _, Error, Netlink};

/// Where a route leads: out of an interface, through a neighbour's link-local address if not
/// directly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nexthop {
    /// Index of the outgoing interface.
    pub interface: u32,
    /// The neighbour's link-local address.
    pub gateway: Option<Ipv6Addr>,
}

/// A route as the kernel has it or shall have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelRoute {
    /// Destination prefix.
    pub destination: Ipv6Addr,
    /// Length of the destination prefix in bits.
    pub prefix_len: u8,
    /// Kernel table.
    pub table: u32,
    /// Kernel priority (`metric` in ip-route); lower wins.
    pub priority: u32,
    /// One or, for equal-cost paths, more; sorted.
    pub nexthops: Vec<Nexthop>,
}

impl Netlink {
    /// The IPv6 routes of protocol `ospf` in `table`.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub async fn ospf_routes(&self, table: u32) -> Result<Vec<KernelRoute>, Error> {
        let request = RouteMessageBuilder::<Ipv6Addr>::new().build();
        let messages: Vec<RouteMessage> = self
            .handle
            .route()
            .get(request)
            .execute()
            .try_collect()
            .await
            .asked(|| "cannot list the routes".into())?;
        Ok(messages
            .iter()
            .filter(|message| message.header.protocol == RouteProtocol::Ospf)
            .map(KernelRoute::from_message)
            .filter(|route| route.table == table)
            .collect())
    }

    /// Installs a route, in place of one with the same destination, table and priority.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub async fn replace_route(&self, route: &KernelRoute) -> Result<(), Error> {
        let request = self.handle.route().add(route.message(true)).replace();
        request.execute().await.asked(|| {
            format!(
                "cannot install the route to {}/{}",
                route.destination, route.prefix_len
            )
        })
    }

    /// Removes a route with all its next hops.
    ///
    /// # Errors
    ///
    /// When the kernel refuses; that it is gone already is no error.
    pub async fn delete_route(&self, route: &KernelRoute) -> Result<(), Error> {
        let request = self.handle.route().del(route.message(false));
        let deleted = request.execute().await.asked(|| {
            format!(
                "cannot remove the route to {}/{}",
                route.destination, route.prefix_len
            )
        });
        match deleted {
            Err(error) if error.errno() == Some(Errno::ESRCH) => Ok(()),
            other => other,
        }
    }
}

impl KernelRoute {
    fn message(&self, with_nexthops: bool) -> RouteMessage {
        let mut builder = RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(self.destination, self.prefix_len)
            .table_id(self.table)
            .protocol(RouteProtocol::Ospf)
            .priority(self.priority);
        if with_nexthops {
            if let [only] = self.nexthops.as_slice() {
                builder = builder.output_interface(only.interface);
                if let Some(gateway) = only.gateway {
                    builder = builder.gateway(gateway);
                }
            } else {
                builder = builder.multipath(self.nexthops.iter().map(multipath).collect());
            }
        }
        builder.build()
    }

    fn from_message(message: &RouteMessage) -> Self {
        let mut route = Self {
            destination: Ipv6Addr::UNSPECIFIED,
            prefix_len: message.header.destination_prefix_length,
            table: u32::from(message.header.table),
            priority: 0,
            nexthops: Vec::new(),
        };
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(RouteAddress::Inet6(address)) => {
                    route.destination = *address;
                }
                RouteAttribute::Table(table) => route.table = *table,
                RouteAttribute::Priority(priority) => route.priority = *priority,
                RouteAttribute::MultiPath(hops) => {
                    let hops = hops
                        .iter()
                        .map(|hop| nexthop(Some(hop.interface_index), &hop.attributes));
                    route.nexthops.extend(hops.flatten());
                }
                _ => {}
            }
        }
        route.nexthops.extend(nexthop(None, &message.attributes));
        route.nexthops.sort_unstable();
        route
    }
}

/// Reads one next hop out of a route's or a multipath entry's attributes.
fn nexthop(interface: Option<u32>, attributes: &[RouteAttribute]) -> Option<Nexthop> {
    let oif = attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    });
    let gateway = attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet6(address)) => Some(*address),
        _ => None,
    });
    Some(Nexthop {
        interface: interface.or(oif)?,
        gateway,
    })
}

fn multipath(nexthop: &Nexthop) -> RouteNextHop {
    let builder = RouteNextHopBuilder::new_ipv6().interface(nexthop.interface);
    match nexthop.gateway {
        Some(gateway) => builder
            .via(IpAddr::V6(gateway))
            .expect("an IPv6 gateway for an IPv6 route")
            .build(),
        None => builder.build(),
    }
}
