//! The services' addresses on the loopback: which are in place, and which are on their way out.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Instant,
};

use anyhow::{Context as _, Result};
use config::{Config, Service};
use control::ServiceStatus;
use linux::Address;

use crate::{journal::AddressEntry, repair::Kind, snapshot::Snapshot, tools::Tools};

/// The loopback.
const LOOPBACK: &str = "lo";

/// The state of the services.
#[derive(Debug, Default)]
pub(crate) struct Services {
    /// Names of those in place.
    in_place: BTreeSet<String>,
    /// Addresses that are withdrawn because no service has them any more, and until when they stay
    /// for neighbours that still send to them.
    withdrawn: BTreeMap<AddressEntry, Instant>,
}

impl Services {
    /// Puts the services' addresses on the loopback and finds out which services are in place.
    pub(crate) async fn ensure(
        &mut self,
        config: &Config,
        tools: &mut Tools,
        kernel: &Snapshot,
    ) -> Result<()> {
        if !config.services.is_empty() {
            add_missing(config, tools, kernel).await?;
        }
        let services = config.services.iter();
        self.in_place = services.map(|it| it.name.clone()).collect();
        Ok(())
    }

    /// Of the addresses in the journal that are no longer configured (`unwanted`), those that are to
    /// be removed now. A service's is withdrawn first, if it is advertised (`routing`), and stays
    /// while neighbours still send to it.
    pub(crate) fn removable(
        &mut self,
        unwanted: Vec<AddressEntry>,
        routing: bool,
    ) -> Vec<AddressEntry> {
        self.withdrawn.retain(|entry, _| unwanted.contains(entry));
        let now = Instant::now();
        let mut removable = unwanted;
        removable.retain(|entry| {
            if !routing || entry.interface != LOOPBACK {
                return true;
            }
            let until = self.withdrawn.entry(entry.clone()).or_insert_with(|| {
                tracing::info!(address = %entry.address, "no longer a service: withdrawn");
                now + routing::STOP_GRACE
            });
            *until <= now
        });
        removable
    }

    /// Forgets withdrawn addresses that are removed.
    pub(crate) fn removed(&mut self, addresses: &[AddressEntry]) {
        self.withdrawn.retain(|entry, _| !addresses.contains(entry));
    }

    /// At the end of a pass: what was due and could not be done is due again later.
    pub(crate) fn postpone_overdue(&mut self) {
        let now = Instant::now();
        for until in self.withdrawn.values_mut().filter(|until| **until <= now) {
            *until = now + routing::STOP_GRACE;
        }
    }

    /// When the next pass is due on account of the services.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.withdrawn.values().copied().min()
    }

    /// What to advertise.
    pub(crate) fn prefixes(&self, config: &Config) -> Vec<routing::HostPrefix> {
        let services = config.services.iter();
        services
            .filter(|service| self.in_place.contains(&service.name))
            .map(|service| routing::HostPrefix {
                address: service.address,
                metric: service.metric,
            })
            .collect()
    }

    /// The addresses of services, in place or not, and the withdrawn ones: routes of others to them
    /// are not for this node.
    pub(crate) fn addresses(&self, config: &Config) -> Vec<IpAddr> {
        let services = config.services.iter().map(|service| service.address);
        services
            .chain(self.withdrawn.keys().map(|entry| entry.address))
            .collect()
    }

    /// For `l2ha status`.
    pub(crate) fn status(&self, config: &Config, routing: bool) -> Vec<ServiceStatus> {
        let services = config.services.iter();
        services
            .map(|service| ServiceStatus {
                name: service.name.clone(),
                address: service.address,
                advertised: routing && self.in_place.contains(&service.name),
            })
            .collect()
    }
}

/// A service's address in the journal.
pub(crate) fn entry(service: &Service) -> AddressEntry {
    AddressEntry {
        interface: LOOPBACK.to_owned(),
        address: service.address,
        prefix_len: service.prefix_len(),
    }
}

/// Adds the addresses that are missing on the loopback.
async fn add_missing(config: &Config, tools: &mut Tools, kernel: &Snapshot) -> Result<()> {
    let loopback = kernel
        .link(LOOPBACK)
        .context("this namespace has no interface lo")?;
    if !loopback.up {
        tools.repairs.found(
            Kind::Service,
            LOOPBACK,
            "the loopback is down, setting it up",
        );
        tools.netlink.set_up(loopback).await?;
    }
    for service in &config.services {
        let address = Address {
            interface: loopback.index,
            address: service.address,
            prefix_len: service.prefix_len(),
        };
        if kernel.has(&address) {
            continue;
        }
        let what = format!("{} is missing on lo, adding it", service.address);
        tools.repairs.found(Kind::Service, &service.name, &what);
        tools.journal.add(Vec::new(), vec![entry(service)])?;
        tools.netlink.add_address(&address).await?;
    }
    Ok(())
}
