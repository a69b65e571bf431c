//! Services: anycast addresses on the loopback.

use std::{collections::HashSet, net::IpAddr};

use config::{Config, Service};
use ospfv3::Family;

use crate::daemon::MadeAddress;

/// An anycast address is a host route (RFC 5340 A.4.1.1, LA bit).
pub(crate) const fn prefix_len(address: IpAddr) -> u8 {
    Family::of(address).bits()
}

/// How a service's address is written down as made.
pub(crate) fn made(service: &Service) -> MadeAddress {
    MadeAddress {
        interface: "lo".to_owned(),
        address: service.address,
        prefix_len: prefix_len(service.address),
    }
}

/// Whether an address that was made is a service's.
pub(crate) fn is_service(made: &MadeAddress) -> bool {
    made.interface == "lo"
}

/// What the configuration wants of the addresses that the daemon makes.
pub(crate) struct Wanted {
    interfaces: HashSet<String>,
    addresses: HashSet<(String, IpAddr, u8)>,
}

impl Wanted {
    /// Of a configuration.
    pub(crate) fn of(config: &Config) -> Self {
        let services = config.services.iter().map(|service| {
            (
                "lo".to_owned(),
                service.address,
                prefix_len(service.address),
            )
        });
        let tunnels = config.tunnels.iter().flat_map(|tunnel| {
            tunnel
                .addresses
                .iter()
                .map(|net| (tunnel.interface.clone(), net.addr(), net.prefix_len()))
        });
        Self {
            interfaces: config
                .tunnels
                .iter()
                .map(|tunnel| tunnel.interface.clone())
                .collect(),
            addresses: services.chain(tunnels).collect(),
        }
    }

    /// Whether an address the daemon has made still belongs to the configuration.
    pub(crate) fn has(&self, made: &MadeAddress) -> bool {
        let link_local =
            matches!(made.address, IpAddr::V6(address) if address.is_unicast_link_local());
        let key = (made.interface.clone(), made.address, made.prefix_len);
        self.addresses.contains(&key) || (link_local && self.interfaces.contains(&made.interface))
    }
}
