//! Where packets to an address go: to this host, or first to which neighbour.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::TryStreamExt as _;
use nix::errno::Errno;
use rtnetlink::{
    RouteMessageBuilder,
    packet_route::route::{RouteMessage, RouteType},
};

use crate::{
    netlink::{Asked as _, Error, Netlink},
    route::{KernelRoute, Nexthop},
};

impl Netlink {
    /// The gateways of all default routes out of an interface, in every table.
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

    /// How packets to an address leave this host: the interface's index, and the neighbour to which they go
    /// first, unless it is the address itself. None when they are delivered here.
    ///
    /// # Errors
    ///
    /// When there is no route, or one that rejects.
    pub async fn way(&self, address: IpAddr) -> Result<Option<Nexthop>, Error> {
        let route = self
            .handle
            .route()
            .get(lookup(address))
            .execute()
            .try_next()
            .await
            .asked(|| format!("no route to {address}"))?;
        let route = route.filter(|route| route.header.kind != RouteType::Local);
        Ok(route.and_then(|route| KernelRoute::from_message(&route).nexthops.first().copied()))
    }

    /// Whether packets to an address are delivered on this host: a route look-up says `local`. An
    /// IPv6 address may be on an interface some milliseconds before that is so.
    ///
    /// # Errors
    ///
    /// When the kernel refuses; that it has no route, or one that rejects, is no error.
    pub async fn is_local(&self, address: IpAddr) -> Result<bool, Error> {
        let route = self
            .handle
            .route()
            .get(lookup(address))
            .execute()
            .try_next()
            .await
            .asked(|| format!("cannot look up the route to {address}"));
        match route {
            Ok(route) => Ok(route.is_some_and(|it| it.header.kind == RouteType::Local)),
            // No route, then routes of type unreachable, prohibit and blackhole.
            Err(error)
                if matches!(
                    error.errno(),
                    Some(Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::EACCES | Errno::EINVAL)
                ) =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

/// Asks for the route to one address.
pub(crate) fn lookup(address: IpAddr) -> RouteMessage {
    match address {
        IpAddr::V4(address) => RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(address, 32)
            .build(),
        IpAddr::V6(address) => RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(address, 128)
            .build(),
    }
}

fn gateways(route: &RouteMessage, interface: u32) -> impl Iterator<Item = IpAddr> + use<> {
    KernelRoute::from_message(route)
        .nexthops
        .into_iter()
        .filter(move |hop| hop.interface == interface)
        .filter_map(|hop| hop.gateway)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks the kernel of whatever machine this runs on.
    #[test]
    fn the_loopback_address_is_local_and_one_for_documentation_is_not() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let netlink = Netlink::open().unwrap();
            let local = async |address: &str| netlink.is_local(address.parse().unwrap()).await;
            assert!(local("127.0.0.1").await.unwrap());
            assert!(!local("192.0.2.1").await.unwrap());
            assert!(!local("2001:db8::1").await.unwrap());
        });
    }
}
