//! Where packets that leave an interface go first.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::TryStreamExt as _;
use rtnetlink::{
    RouteMessageBuilder,
    packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteVia},
};

use crate::netlink::{Asked as _, Error, Netlink};

impl Netlink {
    /// The gateways of all default routes out of an interface, in every table.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub async fn default_gateways(&self, interface: u32) -> Result<Vec<IpAddr>, Error> {
        let mut gateways = Vec::new();
        for request in [
            RouteMessageBuilder::<Ipv4Addr>::new().build(),
            RouteMessageBuilder::<Ipv6Addr>::new().build(),
        ] {
            let routes: Vec<RouteMessage> = self
                .handle
                .route()
                .get(request)
                .execute()
                .try_collect()
                .await
                .asked(|| "cannot list the routes".into())?;
            gateways.extend(
                routes
                    .iter()
                    .filter(|route| route.header.destination_prefix_length == 0)
                    .flat_map(|route| via(route, interface)),
            );
        }
        gateways.sort_unstable();
        gateways.dedup();
        Ok(gateways)
    }

    /// The neighbour to which packets for an address go out of an interface: a gateway, or the
    /// address itself.
    ///
    /// # Errors
    ///
    /// When there is no such route.
    pub async fn next_hop(&self, interface: u32, address: IpAddr) -> Result<IpAddr, Error> {
        let mut request = match address {
            IpAddr::V4(address) => RouteMessageBuilder::<Ipv4Addr>::new()
                .destination_prefix(address, 32)
                .build(),
            IpAddr::V6(address) => RouteMessageBuilder::<Ipv6Addr>::new()
                .destination_prefix(address, 128)
                .build(),
        };
        request.attributes.push(RouteAttribute::Oif(interface));
        let route = self
            .handle
            .route()
            .get(request)
            .execute()
            .try_next()
            .await
            .asked(|| format!("cannot find the way to {address}"))?;
        let gateway = route.and_then(|route| via(&route, interface).first().copied());
        Ok(gateway.unwrap_or(address))
    }
}

/// The gateways of a route out of an interface.
fn via(route: &RouteMessage, interface: u32) -> Vec<IpAddr> {
    let mut found = Vec::new();
    let leaves = |attribute: &RouteAttribute| *attribute == RouteAttribute::Oif(interface);
    if route.attributes.iter().any(leaves) {
        found.extend(route.attributes.iter().filter_map(gateway));
    }
    for attribute in &route.attributes {
        if let RouteAttribute::MultiPath(hops) = attribute {
            let hops = hops.iter().filter(|hop| hop.interface_index == interface);
            found.extend(hops.flat_map(|hop| hop.attributes.iter().filter_map(gateway)));
        }
    }
    found
}

fn gateway(attribute: &RouteAttribute) -> Option<IpAddr> {
    match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(address))
        | RouteAttribute::Via(RouteVia::Inet(address)) => Some((*address).into()),
        RouteAttribute::Gateway(RouteAddress::Inet6(address))
        | RouteAttribute::Via(RouteVia::Inet6(address)) => Some((*address).into()),
        _ => None,
    }
}
