//! The services' addresses and the node's own on the loopback: which are in place, and which are on their way out.
//!
//! A service is in place when a route look-up for its address says `local`, and is not advertised
//! before. The address alone is not enough: the kernel acknowledges a new IPv6 address and installs
//! its local route up to some milliseconds later, in a work queue; until then packets for it would
//! be sent on along another server's route, or refused.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Error as AnyError, Result};
use config::{Config, Service};
use control::ServiceStatus;
use linux::{Address, Error, Netlink};
use tokio::time::sleep;

use crate::{
    gates::{Gate, Gates},
    journal::AddressEntry,
    repair::Kind,
    snapshot::Snapshot,
    tools::Tools,
};

/// The interface of the services' addresses.
pub(crate) const LOOPBACK: &str = "lo";
/// How long a pass waits for the local routes of addresses that it has added.
const LOCAL_ROUTE_WAIT: Duration = Duration::from_millis(200);
/// How long it pauses between two look-ups.
const LOOKUP_PAUSE: Duration = Duration::from_millis(1);
/// When the next pass is due if a local route is still missing then.
const LOCAL_ROUTE_RETRY: Duration = Duration::from_millis(500);

/// The state of the services.
#[derive(Debug, Default)]
pub(crate) struct Services {
    /// Names of those in place.
    in_place: BTreeSet<String>,
    /// Names of those whose address is there without its local route.
    not_local: BTreeSet<String>,
    /// The addresses that this node's own connections come from, as far as the kernel has them.
    sources: Vec<IpAddr>,
    /// Why an address could not be put in place.
    refused: Option<String>,
    /// When to look for missing local routes again.
    retry: Option<Instant>,
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
        self.retry = None;
        let added = if config.services.is_empty() && config.own_addresses.is_empty() {
            Ok(false)
        } else {
            add_missing(config, tools, kernel).await
        };
        self.refused = added.as_ref().err().map(|error| format!("{error:#}"));
        let wait = match added {
            Ok(true) => LOCAL_ROUTE_WAIT,
            Ok(false) | Err(_) => Duration::ZERO,
        };
        let sources = config.sources();
        let addresses = config.services.iter().map(|it| it.address);
        let addresses: Vec<IpAddr> = addresses.chain(sources.iter().copied()).collect();
        let mut not_local = wait_until_local(&tools.netlink, addresses, wait).await?;
        if self.put_again(config, tools, kernel, &not_local).await? {
            not_local = wait_until_local(&tools.netlink, not_local, LOCAL_ROUTE_WAIT).await?;
        }
        self.record(config, &not_local);
        self.sources = sources;
        self.sources.retain(|source| !not_local.contains(source));
        if added.is_ok() && !not_local.is_empty() {
            self.retry = Some(Instant::now() + LOCAL_ROUTE_RETRY);
        }
        added.map(drop)
    }

    /// Puts addresses on the loopback again whose local routes somebody has removed: the kernel makes one with the
    /// address only. Tried once; what is not local then for another reason, a routing rule say, stays so. Returns
    /// whether local routes are to come.
    async fn put_again(
        &self,
        config: &Config,
        tools: &mut Tools,
        kernel: &Snapshot,
        not_local: &[IpAddr],
    ) -> Result<bool> {
        let mut changed = false;
        let Some(loopback) = kernel.link(LOOPBACK) else {
            return Ok(false);
        };
        for service in &config.services {
            let address = Address {
                interface: loopback.index,
                address: service.address,
                prefix_len: service.prefix_len(),
                deprecated: service.address.is_ipv6(),
            };
            let was_local = self.in_place.contains(&service.name) && kernel.has(&address);
            if !was_local || !not_local.contains(&service.address) {
                continue;
            }
            let what = format!(
                "{} has no local route any more, putting it on lo again",
                service.address
            );
            tools.repairs.found(Kind::Service, &service.name, &what);
            tools.netlink.delete_address(&address).await?;
            tools.netlink.add_address(&address).await?;
            changed = true;
        }
        Ok(changed)
    }

    /// Records which services are in place. A missing local route is logged once, and its return.
    fn record(&mut self, config: &Config, not_local: &[IpAddr]) {
        let (waiting, in_place): (Vec<&Service>, Vec<&Service>) = config
            .services
            .iter()
            .partition(|service| not_local.contains(&service.address));
        let names = |services: &[&Service]| -> BTreeSet<String> {
            services.iter().map(|it| it.name.clone()).collect()
        };
        for Service { name, address, .. } in &waiting {
            if !self.not_local.contains(name) {
                tracing::warn!(
                    service = name,
                    %address,
                    "the kernel has no local route to the address: not advertised until it has"
                );
            }
        }
        for Service { name, address, .. } in &in_place {
            if self.not_local.contains(name) {
                tracing::info!(service = name, %address, "local route is there: advertised");
            }
        }
        self.not_local = names(&waiting);
        self.in_place = names(&in_place);
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
        for retry in self.retry.iter_mut().filter(|retry| **retry <= now) {
            *retry = now + LOCAL_ROUTE_RETRY;
        }
    }

    /// Why an address could not be put in place in the last pass, if one could not.
    pub(crate) fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// When the next pass is due on account of the services.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.withdrawn.values().copied().chain(self.retry).min()
    }

    /// What to advertise: what is in place and healthy, or the last resort.
    pub(crate) fn prefixes(&self, config: &Config, gates: &Gates) -> Vec<routing::HostPrefix> {
        let own = config.own_addresses.iter();
        let own = own
            .filter(|address| self.sources.contains(*address))
            .map(|address| routing::HostPrefix {
                address: *address,
                metric: 0,
            });
        let services = config.services.iter();
        services
            .filter(|service| self.in_place.contains(&service.name))
            .filter_map(|service| {
                Some(routing::HostPrefix {
                    address: service.address,
                    metric: gates.metric(service)?,
                })
            })
            .chain(own)
            .collect()
    }

    /// The addresses that this node's own connections come from, of those that the kernel has.
    pub(crate) fn sources(&self) -> Vec<IpAddr> {
        self.sources.clone()
    }

    /// The addresses of services, in place or not, the withdrawn ones, and this node's own: routes of others to
    /// them are not for this node.
    pub(crate) fn addresses(&self, config: &Config) -> Vec<IpAddr> {
        let services = config.services.iter().map(|service| service.address);
        services
            .chain(config.own_addresses.iter().copied())
            .chain(self.withdrawn.keys().map(|entry| entry.address))
            .collect()
    }

    /// For `l2ha status`.
    pub(crate) fn status(
        &self,
        config: &Config,
        routing: bool,
        gates: &Gates,
    ) -> Vec<ServiceStatus> {
        let services = config.services.iter();
        services
            .map(|service| {
                let gate = gates.gate(service);
                let in_place = routing && self.in_place.contains(&service.name);
                ServiceStatus {
                    name: service.name.clone(),
                    address: service.address,
                    advertised: in_place && gate != Gate::Closed,
                    last_resort: in_place && gate == Gate::LastResort,
                    drained: gates.is_drained(service),
                    health: gates.health(service),
                }
            })
            .collect()
    }
}

/// What shall be on the loopback, as the journal has it: the services' addresses and this node's own.
pub(crate) fn entries(config: &Config) -> impl Iterator<Item = AddressEntry> {
    let services = config.services.iter().map(|service| service.address);
    let addresses = services.chain(config.own_addresses.iter().copied());
    addresses.map(entry)
}

fn entry(address: IpAddr) -> AddressEntry {
    AddressEntry {
        interface: LOOPBACK.to_owned(),
        address,
        prefix_len: if address.is_ipv4() { 32 } else { 128 },
    }
}

/// Adds the addresses that are missing on the loopback; returns whether local routes are to come.
async fn add_missing(config: &Config, tools: &mut Tools, kernel: &Snapshot) -> Result<bool> {
    let mut changed = false;
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
        changed = true;
    }
    // One that the kernel refuses is not in the way of the others.
    let mut refused: Option<AnyError> = None;
    let services = config.services.iter();
    // Answers to an anycast address may reach another server. IPv4 knows no preference among addresses.
    let services = services.map(|it| {
        let deprecated = it.address.is_ipv6();
        (Kind::Service, it.name.as_str(), it.address, deprecated)
    });
    let own = config.own_addresses.iter();
    let own = own.map(|address| (Kind::Address, LOOPBACK, *address, false));
    for (kind, whose, address, deprecated) in services.chain(own) {
        let entry = entry(address);
        let wanted = Address {
            interface: loopback.index,
            address,
            prefix_len: entry.prefix_len,
            deprecated,
        };
        if kernel.has(&wanted) {
            continue;
        }
        let what = match kernel.holds(loopback.index, address) {
            true => format!("{address} on lo has another lifetime, setting it"),
            false => format!("{address} is missing on lo, adding it"),
        };
        tools.repairs.found(kind, whose, &what);
        tools.journal.add(Vec::new(), vec![entry]);
        match tools.netlink.add_address(&wanted).await {
            Ok(()) => changed = true,
            Err(error) => refused = refused.or_else(|| Some(error.into())),
        }
    }
    refused.map_or(Ok(changed), Err)
}

/// Waits until all addresses are local, at most this long. Returns those that are not.
async fn wait_until_local(
    netlink: &Netlink,
    addresses: Vec<IpAddr>,
    wait: Duration,
) -> Result<Vec<IpAddr>, Error> {
    let until = Instant::now() + wait;
    let mut waiting = addresses;
    loop {
        let mut still = Vec::new();
        for address in waiting {
            if !netlink.is_local(address).await? {
                still.push(address);
            }
        }
        if still.is_empty() || Instant::now() >= until {
            return Ok(still);
        }
        waiting = still;
        sleep(LOOKUP_PAUSE).await;
    }
}
