//! Taking away what the journal has: what is no longer configured, or everything.

use std::{collections::HashSet, net::IpAddr};

use anyhow::{Context as _, Result};
use config::Config;
use linux::Address;

use crate::{
    identity,
    journal::{AddressEntry, RoutesEntry, VethEntry},
    pair,
    repair::Kind,
    services::{self, Services},
    snapshot::Snapshot,
    tools::Tools,
};

/// Removes the veth pairs that are no longer configured.
pub(crate) async fn remove_old_pairs(config: &Config, tools: &mut Tools) -> Result<()> {
    let interfaces: HashSet<&str> = config
        .tunnels
        .iter()
        .map(|tunnel| tunnel.interface.as_str())
        .collect();
    let pairs = tools.journal.pairs().iter();
    let pairs: Vec<VethEntry> = pairs
        .filter(|pair| !interfaces.contains(pair.visible.as_str()))
        .cloned()
        .collect();
    for pair in &pairs {
        tools.repairs.found(
            Kind::Leftover,
            &pair.visible,
            "virtual interface is no longer configured, removing it",
        );
    }
    pair::remove(&pairs, tools).await
}

/// Removes the addresses that are no longer configured; with `routing`, those of services after a
/// while.
pub(crate) async fn remove_old_addresses(
    config: &Config,
    services: &mut Services,
    routing: bool,
    tools: &mut Tools,
) -> Result<()> {
    let addresses = services.removable(unwanted(config, tools), routing);
    for entry in &addresses {
        tools.repairs.found(
            Kind::Leftover,
            &entry.interface,
            &format!("{} is no longer configured, removing it", entry.address),
        );
    }
    remove_addresses(&addresses, tools).await?;
    services.removed(&addresses);
    Ok(())
}

/// Adds the configured table and priority to the journal, before routes are installed there.
pub(crate) fn note_routes(config: &Config, tools: &mut Tools) {
    if let Some(place) = place(config) {
        tools.journal.add_routes(place);
    }
}

/// Where the configuration wants its routes.
fn place(config: &Config) -> Option<RoutesEntry> {
    config.ospf.as_ref().map(|ospf| RoutesEntry {
        table: ospf.table,
        priority: ospf.route_metric,
    })
}

/// Removes the routes of another table or priority than the configured ones. Those of a routing thread
/// that moves or removes them are its own (`settled`).
pub(crate) async fn remove_old_routes(
    config: &Config,
    settled: bool,
    tools: &mut Tools,
) -> Result<()> {
    note_routes(config, tools);
    if !settled {
        return Ok(());
    }
    let wanted = place(config);
    for entry in tools.journal.routes().clone() {
        if Some(&entry) != wanted.as_ref() {
            routing::remove_routes(&tools.netlink, entry.table, entry.priority).await?;
            tools.journal.drop_routes(&entry);
        }
    }
    Ok(())
}

/// Removes everything that was made, the programs included, and then the journal. Routing has
/// removed its routes by now.
pub(crate) async fn remove_all(mut tools: Tools) -> Result<()> {
    let pairs: Vec<VethEntry> = tools.journal.pairs().iter().cloned().collect();
    let visible: HashSet<&str> = pairs.iter().map(|pair| pair.visible.as_str()).collect();
    let addresses = tools.journal.addresses().iter();
    let elsewhere = addresses.filter(|it| !visible.contains(it.interface.as_str()));
    let addresses: Vec<AddressEntry> = elsewhere.cloned().collect();
    remove_addresses(&addresses, &mut tools).await?;
    let detached = tools.plane.detach_underlay();
    detached.context("cannot take the program off the underlay")?;
    // With their addresses and programs, all at once: one by one takes 20 ms each.
    pair::remove(&pairs, &mut tools).await?;
    tools.plane.unload().context("cannot remove the programs")?;
    let kernel = Snapshot::read(&tools.netlink).await?;
    let clsact = tools.journal.clsact().iter();
    for link in clsact.filter_map(|name| kernel.link(name)) {
        linux::tc::remove_unused_clsact(link.index)?;
    }
    tools.journal.remove_file();
    Ok(())
}

/// Takes addresses off their interfaces.
async fn remove_addresses(addresses: &[AddressEntry], tools: &mut Tools) -> Result<()> {
    if addresses.is_empty() {
        return Ok(());
    }
    let kernel = Snapshot::read(&tools.netlink).await?;
    for entry in addresses {
        if let Some(link) = kernel.link(&entry.interface) {
            let address = Address {
                interface: link.index,
                address: entry.address,
                prefix_len: entry.prefix_len,
                deprecated: false,
            };
            tools.netlink.delete_address(&address).await?;
        }
    }
    tools.journal.drop_addresses(addresses);
    Ok(())
}

/// The addresses in the journal that the configuration does not have.
fn unwanted(config: &Config, tools: &Tools) -> Vec<AddressEntry> {
    let loopback = services::entries(config);
    let tunnels = config.tunnels.iter().flat_map(|tunnel| {
        tunnel.addresses.iter().map(|net| AddressEntry {
            interface: tunnel.interface.clone(),
            address: net.addr(),
            prefix_len: net.prefix_len(),
        })
    });
    // One of another node name, or of another `local`, is not wanted any more.
    let link_locals = config.tunnels.iter().map(|tunnel| AddressEntry {
        interface: tunnel.interface.clone(),
        address: IpAddr::V6(identity::link_local(identity::mac(config, tunnel))),
        prefix_len: 64,
    });
    let wanted: HashSet<AddressEntry> = loopback.chain(tunnels).chain(link_locals).collect();
    let entries = tools.journal.addresses().iter();
    entries
        .filter(|entry| !wanted.contains(entry))
        .cloned()
        .collect()
}
