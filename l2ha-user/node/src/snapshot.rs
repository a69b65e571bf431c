//! A snapshot of the kernel's interfaces and addresses.
//!
//! A pass takes one and keeps it up to date with what it changes: listing them again for each tunnel
//! would take hours with thousands of tunnels.

use std::{collections::HashMap, net::IpAddr};

use linux::{Address, Error, Link, Netlink};

/// What the kernel had when it was asked, and what the pass has changed since.
pub(crate) struct Snapshot {
    links: HashMap<String, Link>,
    addresses: HashMap<u32, Vec<Address>>,
}

impl Snapshot {
    /// Asks the kernel.
    pub(crate) async fn read(netlink: &Netlink) -> Result<Self, Error> {
        let mut kernel = Self {
            links: HashMap::new(),
            addresses: HashMap::new(),
        };
        for link in netlink.links().await? {
            kernel.links.insert(link.name.clone(), link);
        }
        for address in netlink.addresses().await? {
            kernel.add_address(address);
        }
        Ok(kernel)
    }

    /// Asks again for these interfaces, which have just been made, changed or removed.
    pub(crate) async fn refresh(&mut self, netlink: &Netlink, names: &[&str]) -> Result<(), Error> {
        for name in names {
            if let Some(before) = self.links.remove(*name) {
                let now = netlink.link(name).await?;
                if now.as_ref().map(|now| now.index) != Some(before.index) {
                    self.addresses.remove(&before.index);
                }
                self.links.extend(now.map(|now| (now.name.clone(), now)));
            } else if let Some(now) = netlink.link(name).await? {
                self.links.insert(now.name.clone(), now);
            }
        }
        Ok(())
    }

    /// Records an address that has been put on an interface.
    pub(crate) fn add_address(&mut self, address: Address) {
        self.addresses
            .entry(address.interface)
            .or_default()
            .push(address);
    }

    /// All interfaces.
    pub(crate) fn links(&self) -> impl Iterator<Item = &Link> {
        self.links.values()
    }

    /// The interface of this name.
    pub(crate) fn link(&self, name: &str) -> Option<&Link> {
        self.links.get(name)
    }

    /// The name of the interface with this index.
    pub(crate) fn name_of(&self, index: u32) -> Option<&str> {
        let mut links = self.links.values();
        let link = links.find(|link| link.index == index)?;
        Some(&link.name)
    }

    /// Whether an interface has an address.
    pub(crate) fn has(&self, wanted: &Address) -> bool {
        self.on(wanted.interface).contains(wanted)
    }

    /// Whether an interface has an address, whatever the length of its prefix.
    pub(crate) fn holds(&self, interface: u32, address: IpAddr) -> bool {
        self.on(interface)
            .iter()
            .any(|held| held.address == address)
    }

    /// The global addresses of an interface, with their prefix lengths.
    pub(crate) fn global(&self, interface: u32) -> Vec<(IpAddr, u8)> {
        let is_global = |address: IpAddr| match address {
            IpAddr::V6(address) => !address.is_unicast_link_local(),
            IpAddr::V4(address) => !address.is_link_local(),
        };
        self.on(interface)
            .iter()
            .filter(|held| is_global(held.address))
            .map(|held| (held.address, held.prefix_len))
            .collect()
    }

    fn on(&self, interface: u32) -> &[Address] {
        self.addresses
            .get(&interface)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }
}
