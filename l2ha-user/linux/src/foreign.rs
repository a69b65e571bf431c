//! Routes that people and the kernel itself have put into a table.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rtnetlink::packet_route::{
    AddressFamily,
    route::{RouteAttribute, RouteFlags, RouteMessage, RouteProtocol, RouteType},
};

use crate::{
    netlink::{Error, Netlink},
    route::ip,
};

/// Where a route comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteSource {
    /// The kernel: the prefix of an interface's address (protocol `kernel`).
    Connected,
    /// A person or a program of theirs (protocols `static` and `boot`, which `ip route` gives).
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
    /// The IPv6 and IPv4 unicast routes in `table` that are the kernel's or people's, those over interfaces
    /// without carrier excepted.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub async fn foreign_routes(&self, table: u32) -> Result<Vec<ForeignRoute>, Error> {
        let messages = self.all_routes().await?;
        let routes = messages.iter().filter(|message| in_table(message, table));
        Ok(routes.filter_map(read).collect())
    }
}

fn in_table(message: &RouteMessage, table: u32) -> bool {
    let attribute = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Table(table) => Some(*table),
            _ => None,
        });
    attribute.unwrap_or(message.header.table.into()) == table
}

fn read(message: &RouteMessage) -> Option<ForeignRoute> {
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
    let destination = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Destination(address) => ip(address),
            _ => None,
        });
    let interface = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Oif(index) => Some(*index),
            _ => None,
        });
    Some(ForeignRoute {
        destination: destination.unwrap_or(match header.address_family {
            AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            _ => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        }),
        prefix_len: header.destination_prefix_length,
        source,
        interface,
    })
}
