//! Services: anycast addresses on the loopback.

use std::net::IpAddr;

use crate::{
    config::{Config, Service},
    daemon::MadeAddress,
};

/// An anycast address is a host route (RFC 5340 A.4.1.1, LA bit).
pub(crate) const PREFIX_LEN: u8 = 128;

/// How a service's address is written down as made.
pub(crate) fn made(service: &Service) -> MadeAddress {
    MadeAddress {
        interface: "lo".to_owned(),
        address: IpAddr::V6(service.address),
        prefix_len: PREFIX_LEN,
    }
}

/// Whether an address the daemon has made still belongs to the configuration.
pub(crate) fn is_wanted(config: &Config, made: &MadeAddress) -> bool {
    if made.interface == "lo" {
        return config
            .services
            .iter()
            .any(|service| made.address == IpAddr::V6(service.address));
    }
    config.tunnels.iter().any(|tunnel| {
        let configured = tunnel
            .addresses
            .iter()
            .any(|net| net.addr() == made.address && net.prefix_len() == made.prefix_len);
        let link_local =
            matches!(made.address, IpAddr::V6(address) if address.is_unicast_link_local());
        tunnel.interface == made.interface && (configured || link_local)
    })
}
