//! Routes of protocol `ospf` in one kernel table.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::TryStreamExt as _;
use rtnetlink::{
    RouteMessageBuilder, RouteNextHopBuilder,
    packet_route::{
        AddressFamily,
        route::{
            RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteNextHop, RouteProtocol,
            RouteScope, RouteVia,
        },
    },
};

use crate::netlink::{Asked as _, Error, Netlink};

/// Where a route leads: an address and how many bits of it count.
pub type Destination = (IpAddr, u8);

/// Where a route leads: out of an interface, through a neighbour's address if not directly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nexthop {
    /// Index of the outgoing interface.
    pub interface: u32,
    /// The neighbour's address. Of an IPv4 route it may be an IPv6 one (`via inet6` in ip-route).
    pub gateway: Option<IpAddr>,
}

/// A route as the kernel has it or shall have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelRoute {
    /// Destination prefix.
    pub destination: IpAddr,
    /// Length of the destination prefix in bits.
    pub prefix_len: u8,
    /// Kernel table.
    pub table: u32,
    /// Kernel priority (`metric` in ip-route); lower wins.
    pub priority: u32,
    /// The address that what this host sends there comes from, unless a socket says otherwise (RTA_PREFSRC); one of
    /// its own.
    pub source: Option<IpAddr>,
    /// The nexthop object it uses.
    pub object: Option<u32>,
    /// The MTU of packets that take it, in bytes, where that is less than what the interface takes.
    pub mtu: Option<u32>,
    /// Without an object: one or, for equal-cost paths, more; sorted. With one, what it led to when
    /// the kernel was asked.
    pub nexthops: Vec<Nexthop>,
}

impl Netlink {
    /// The IPv6 and IPv4 routes of protocol `ospf` in `table`.
    pub async fn ospf_routes(&self, table: u32) -> Result<Vec<KernelRoute>, Error> {
        Ok(self
            .all_routes()
            .await?
            .iter()
            .filter(|message| message.header.protocol == RouteProtocol::Ospf)
            .map(KernelRoute::from_message)
            .filter(|route| route.table == table)
            .collect())
    }

    /// Every IPv6 and IPv4 route of every table.
    pub(crate) async fn all_routes(&self) -> Result<Vec<RouteMessage>, Error> {
        let mut messages: Vec<RouteMessage> = Vec::new();
        for request in [
            RouteMessageBuilder::<Ipv6Addr>::new().build(),
            RouteMessageBuilder::<Ipv4Addr>::new().build(),
        ] {
            let mut found: Vec<RouteMessage> = self
                .handle
                .route()
                .get(request)
                .execute()
                .try_collect()
                .await
                .asked(|| "cannot list the routes".into())?;
            messages.append(&mut found);
        }
        Ok(messages)
    }
}

impl Netlink {
    /// Sets the MTU of packets to the network of an IPv4 address that is on an interface: the kernel has no MTU of IPv4
    /// alone for an interface, and its own route to that network is what can have one. `None` takes it away again. An
    /// address without a network of its own has no such route.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub async fn set_network_mtu(
        &self,
        interface: u32,
        (address, prefix_len): (Ipv4Addr, u8),
        mtu: Option<u32>,
    ) -> Result<(), Error> {
        let bits = 32_u32.saturating_sub(prefix_len.into());
        if bits == 0 {
            return Ok(());
        }
        let network = address.to_bits() & u32::MAX.checked_shl(bits).unwrap_or(0);
        let mut message = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(network.into(), prefix_len)
            .output_interface(interface)
            .protocol(RouteProtocol::Kernel)
            .scope(RouteScope::Link)
            .pref_source(address)
            .build();
        message.attributes.extend(mtu.map(metrics));
        self.handle
            .route()
            .add(message)
            .replace()
            .execute()
            .await
            .asked(|| format!("cannot set the MTU of the route to {address}/{prefix_len}"))
    }
}

fn metrics(mtu: u32) -> RouteAttribute {
    RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)])
}

impl KernelRoute {
    /// Its destination.
    pub fn key(&self) -> Destination {
        (self.destination, self.prefix_len)
    }

    pub(crate) fn message(&self, with_nexthops: bool) -> RouteMessage {
        let mut builder = RouteMessageBuilder::<IpAddr>::new()
            .destination_prefix(self.destination, self.prefix_len)
            .expect("no prefix is longer than its address")
            .table_id(self.table)
            .protocol(RouteProtocol::Ospf)
            .priority(self.priority);
        match self.nexthops.as_slice() {
            // For IPv4 this means any scope; with another than the route's the kernel finds no route.
            _ if !with_nexthops => builder = builder.scope(RouteScope::NoWhere),
            _ if self.object.is_some() => {}
            [only] => {
                builder = builder.output_interface(only.interface);
                if let Some(gateway) = only.gateway {
                    builder = builder
                        .gateway(gateway)
                        .expect("only IPv6 leads to both families");
                }
            }
            several => {
                let to_ipv4 = self.destination.is_ipv4();
                let hops = several.iter().map(|hop| multipath(to_ipv4, hop));
                builder = builder.multipath(hops.collect());
            }
        }
        let mut message = builder.build();
        if let Some(source) = self.source.filter(|_| with_nexthops) {
            let source = RouteAddress::from(source);
            message.attributes.push(RouteAttribute::PrefSource(source));
        }
        if let Some(object) = self.object.filter(|_| with_nexthops) {
            message.attributes.push(RouteAttribute::NhId(object));
        }
        // An IPv4 route with an object and without metrics would get those of any other route with that object
        // (fib_create_info() of net/ipv4/fib_semantics.c): 0 is for none.
        let unlike_others = self.object.is_some() && self.destination.is_ipv4();
        let mtu = self.mtu.or(unlike_others.then_some(0));
        message
            .attributes
            .extend(mtu.filter(|_| with_nexthops).map(metrics));
        message
    }

    pub(crate) fn from_message(message: &RouteMessage) -> Self {
        let mut route = Self {
            destination: match message.header.address_family {
                AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                _ => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            },
            prefix_len: message.header.destination_prefix_length,
            table: u32::from(message.header.table),
            priority: 0,
            source: None,
            object: None,
            mtu: None,
            nexthops: Vec::new(),
        };
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(address) => {
                    if let Some(address) = ip(address) {
                        route.destination = address;
                    }
                }
                RouteAttribute::Table(table) => route.table = *table,
                RouteAttribute::Priority(priority) => route.priority = *priority,
                RouteAttribute::PrefSource(address) => route.source = ip(address),
                RouteAttribute::NhId(object) => route.object = Some(*object),
                RouteAttribute::Metrics(metrics) => {
                    route.mtu = metrics.iter().find_map(|metric| match metric {
                        RouteMetric::Mtu(mtu) => Some(*mtu).filter(|mtu| *mtu > 0),
                        _ => None,
                    });
                }
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
        RouteAttribute::Gateway(address) => ip(address),
        RouteAttribute::Via(RouteVia::Inet6(address)) => Some(IpAddr::V6(*address)),
        RouteAttribute::Via(RouteVia::Inet(address)) => Some(IpAddr::V4(*address)),
        _ => None,
    });
    Some(Nexthop {
        interface: interface.or(oif)?,
        gateway,
    })
}

/// The address in an attribute.
fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        _ => None,
    }
}

fn multipath(to_ipv4: bool, nexthop: &Nexthop) -> RouteNextHop {
    let builder = match to_ipv4 {
        true => RouteNextHopBuilder::new_ipv4(),
        false => RouteNextHopBuilder::new_ipv6(),
    };
    let builder = builder.interface(nexthop.interface);
    match nexthop.gateway {
        Some(gateway) => builder
            .via(gateway)
            .expect("only IPv6 leads to both families")
            .build(),
        None => builder.build(),
    }
}
