//! What of the kernel's interfaces and addresses is this node's. A host changes others all day, for its containers
//! say: that is no reason for a pass.

use std::{collections::HashSet, net::IpAddr};

use config::Config;
use linux::Change;

use crate::{services::LOOPBACK, snapshot::Snapshot};

/// What is this node's, or shall be.
#[derive(Debug)]
pub(crate) struct Possessions {
    /// Indexes of the interfaces, also of those of others that bear one of the names.
    interfaces: HashSet<u32>,
    names: HashSet<String>,
    /// Those on the underlay and on the loopback, and the peers', on whatever interface they appear.
    addresses: HashSet<IpAddr>,
}

impl Possessions {
    /// As the configuration has it, and the kernel at the end of a pass.
    pub(crate) fn new(config: &Config, kernel: &Snapshot) -> Self {
        let pairs = config.tunnels.iter();
        let pairs = pairs.flat_map(|tunnel| [&tunnel.interface, &tunnel.hidden]);
        let names = pairs.chain([&config.underlay.interface]).cloned();
        let names: HashSet<String> = names.chain([LOOPBACK.to_owned()]).collect();
        let links = names.iter().filter_map(|name| kernel.link(name));
        let services = config.services.iter().map(|service| service.address);
        let ends = config.tunnels.iter();
        let ends = ends.flat_map(|tunnel| [tunnel.local, tunnel.remote]);
        let addresses = services
            .chain(ends)
            .chain(config.own_addresses.iter().copied())
            .chain(config.underlay.addresses.iter().copied());
        Self {
            interfaces: links.map(|link| link.index).collect(),
            addresses: addresses.collect(),
            names,
        }
    }

    /// Whether a change may be about any of it. What does not say where it is may be.
    pub(crate) fn concerns(&self, change: &Change) -> bool {
        let is_ours = |interface: &Option<u32>| {
            interface.is_none_or(|interface| self.interfaces.contains(&interface))
        };
        let has = |address: &IpAddr| self.addresses.contains(address);
        match change {
            Change::Link { interface, name } => {
                self.interfaces.contains(interface) || self.names.contains(name)
            }
            Change::Address { interface, address } => {
                is_ours(interface) || address.as_ref().is_none_or(has)
            }
            Change::Route {
                interface,
                destination,
            } => is_ours(interface) || has(destination),
            Change::TrafficControl(interface) => self.interfaces.contains(interface),
            Change::Setting(interface) => is_ours(interface),
            Change::OspfRoute(_) | Change::Rule | Change::Nexthop | Change::Overrun => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn possessions() -> Possessions {
        Possessions {
            interfaces: HashSet::from([1, 2, 7]),
            names: ["lo", "eth0", "l2-a", "l2h-a"].map(str::to_owned).into(),
            addresses: HashSet::from(["192.0.2.80".parse().unwrap()]),
        }
    }

    #[test]
    fn what_others_change_on_interfaces_of_their_own_is_theirs() {
        let address: IpAddr = "172.17.0.1".parse().unwrap();
        let theirs = [
            Change::Link {
                interface: 9,
                name: "docker0".to_owned(),
            },
            Change::Address {
                interface: Some(9),
                address: Some(address),
            },
            Change::Route {
                interface: Some(9),
                destination: address,
            },
            Change::TrafficControl(9),
            Change::Setting(Some(9)),
        ];
        for change in theirs {
            assert!(!possessions().concerns(&change), "{change:?}");
        }
    }

    #[test]
    fn what_may_be_ours_is_looked_at() {
        let (ours, other) = ("192.0.2.80".parse().unwrap(), "10.9.9.9".parse().unwrap());
        let link = |interface, name: &str| Change::Link {
            interface,
            name: name.to_owned(),
        };
        let address = |interface, address| Change::Address { interface, address };
        let route = |interface, destination| Change::Route {
            interface,
            destination,
        };
        let changes = [
            // Renamed by somebody; made anew; in the place of ours.
            link(7, "other"),
            link(9, "l2h-a"),
            link(2, "eth0"),
            address(Some(7), Some(other)),
            // A service's address, elsewhere too: the kernel may prefer that one.
            address(Some(9), Some(ours)),
            address(None, Some(other)),
            address(Some(9), None),
            route(Some(2), other),
            route(Some(9), ours),
            // Out of several interfaces, or none.
            route(None, other),
            Change::OspfRoute(Some(9)),
            Change::Rule,
            Change::Nexthop,
            Change::TrafficControl(2),
            Change::Setting(None),
            Change::Setting(Some(1)),
            Change::Overrun,
        ];
        for change in changes {
            assert!(possessions().concerns(&change), "{change:?}");
        }
    }
}
