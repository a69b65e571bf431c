//! Where packets that leave an interface go first.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::TryStreamExt as _;
use rtnetlink::{
    RouteMessageBuilder,
    packet_route::route::{RouteAttribute, RouteMessage},
};

use crate::{
    netlink::{Asked as _, Error, Netlink},
    route::KernelRoute,
};

impl Netlink {
    /// The gateways of all default routes out of an interface, in every table.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub async fn default_gateways(&self, interface: u32) -> Result<Vec<IpAddr>, Error> {
        let routes = self.all_routes().await?;
        let defaults = routes
            .iter()
            .filter(|route| route.header.destination_prefix_length == 0);
        let mut gateways: Vec<IpAddr> = defaults
            .flat_map(|route| gateways(route, interface))
            .collect();
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
        let gateway = route.and_then(|route| gateways(&route, interface).next());
        Ok(gateway.unwrap_or(address))
    }
}

/// The gateways of a route out of an interface.
fn gateways(route: &RouteMessage, interface: u32) -> impl Iterator<Item = IpAddr> + use<> {
    KernelRoute::from_message(route)
        .nexthops
        .into_iter()
        .filter(move |hop| hop.interface == interface)
        .filter_map(|hop| hop.gateway)
}
