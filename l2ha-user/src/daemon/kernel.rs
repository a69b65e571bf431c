//! One look at the kernel: interfaces and addresses at the same moment.

use std::net::{IpAddr, Ipv6Addr};

use crate::netlink::{Address, Error, Link, Netlink};

/// What the kernel had when it was asked.
pub(super) struct Kernel {
    links: Vec<Link>,
    addresses: Vec<Address>,
}

impl Kernel {
    /// Asks the kernel.
    pub(super) async fn read(netlink: &Netlink) -> Result<Self, Error> {
        Ok(Self {
            links: netlink.links().await?,
            addresses: netlink.addresses().await?,
        })
    }

    /// The interface of this name.
    pub(super) fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }

    /// Whether an interface has an address.
    pub(super) fn has(&self, wanted: &Address) -> bool {
        self.addresses.contains(wanted)
    }

    /// Whether an interface has an address, whatever the length of its prefix.
    pub(super) fn holds(&self, interface: u32, address: IpAddr) -> bool {
        self.addresses
            .iter()
            .any(|held| held.interface == interface && held.address == address)
    }

    /// The global IPv6 addresses of an interface, with their prefix lengths.
    pub(super) fn global_ipv6(&self, interface: u32) -> Vec<(Ipv6Addr, u8)> {
        self.addresses
            .iter()
            .filter(|held| held.interface == interface)
            .filter_map(|held| match held.address {
                IpAddr::V6(address) if !address.is_unicast_link_local() => {
                    Some((address, held.prefix_len))
                }
                _ => None,
            })
            .collect()
    }
}
