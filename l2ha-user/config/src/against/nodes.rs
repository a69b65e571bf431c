//! Two nodes, whether or not a tunnel joins them: what no two may have, and what the servers of one service should
//! say alike.

use std::net::IpAddr;

use super::{
    files::NodeFile,
    misfit::{Misfits, Says},
};
use crate::types::{Service, WhenFailed};

/// Adds what two nodes have that only one may have.
pub(super) fn compare(found: &mut Misfits, one: &NodeFile, other: &NodeFile) {
    if one.name() == other.name() {
        let what = format!("both nodes are named `{}`", one.name());
        twice(
            found,
            "name",
            (one, "node.name"),
            (other, "node.name"),
            what,
        );
    }
    let id = |file: &NodeFile| file.config().ospf.as_ref().map(|ospf| ospf.router_id);
    if let (Some(id), true) = (id(one), id(one) == id(other)) {
        let what = format!(
            "{} and {} both have the router id {id}, so that no third node can tell them apart",
            one.name(),
            other.name()
        );
        let key = "ospf.router_id";
        twice(found, "router-id", (one, key), (other, key), what);
    }
    addresses(found, one, other);
    services(found, one, other);
}

fn twice(
    found: &mut Misfits,
    id: &'static str,
    (one, key): (&NodeFile, &str),
    (other, other_key): (&NodeFile, &str),
    what: String,
) {
    let name = key.rsplit(['.', ' ']).next().unwrap_or_default();
    let remedy = format!(
        "write another `{}` in one of them",
        name.split('[').next().unwrap_or_default()
    );
    found.add(
        id,
        [one.spot(&[key]), other.spot(&[other_key])],
        what,
        remedy,
    );
}

/// The addresses of one node alone, and the key of each.
fn own(file: &NodeFile) -> Vec<(IpAddr, String)> {
    let config = file.config();
    let numbered = |path: &str, addresses: &[IpAddr]| -> Vec<(IpAddr, String)> {
        let addresses = addresses.iter().enumerate();
        let own = addresses.map(|(index, address)| (*address, format!("{path}[{index}]")));
        own.collect()
    };
    let mut own = numbered("underlay.addresses", &config.underlay.addresses);
    own.extend(numbered("node.addresses", &config.own_addresses));
    for (index, tunnel) in config.tunnels.iter().enumerate() {
        let addresses: Vec<IpAddr> = tunnel.addresses.iter().map(|net| net.addr()).collect();
        own.extend(numbered(&format!("tunnels[{index}].addresses"), &addresses));
    }
    own
}

fn addresses(found: &mut Misfits, one: &NodeFile, other: &NodeFile) {
    let (ours, theirs) = (own(one), own(other));
    for (address, key) in &ours {
        let same = theirs.iter().find(|(other, _)| other == address);
        if let Some((_, other_key)) = same {
            let what = format!("{} and {} both have {address}", one.name(), other.name());
            let places = ((one, key.as_str()), (other, other_key.as_str()));
            twice(found, "address", places.0, places.1, what);
        }
    }
    for (file, own, services) in [(one, &ours, other), (other, &theirs, one)] {
        for (index, service) in services.config().services.iter().enumerate() {
            let same = own.iter().find(|(own, _)| *own == service.address);
            if let Some((address, key)) = same {
                let what = format!(
                    "{address} is the service {} at {}, but {}'s own address",
                    service.name,
                    services.name(),
                    file.name()
                );
                let there = format!("services[{index}].address");
                twice(found, "address", (file, key), (services, &there), what);
            }
        }
    }
}

/// A service of a node, and its index.
type Numbered<'a> = (usize, &'a Service);

fn services(found: &mut Misfits, one: &NodeFile, other: &NodeFile) {
    for ours in one.config().services.iter().enumerate() {
        for theirs in other.config().services.iter().enumerate() {
            let (same_name, same_address) = (
                ours.1.name == theirs.1.name,
                ours.1.address == theirs.1.address,
            );
            if same_address {
                service(found, (one, ours), (other, theirs));
            } else if same_name {
                let says = |file, (index, service): Numbered<'_>| Says {
                    file,
                    places: vec![format!("services[{index}].address")],
                    key: "address",
                    value: format!("\"{}\"", service.address),
                };
                let subject = format!("service {}", ours.1.name);
                let said = (says(one, ours), says(other, theirs));
                found.same("service-address", &subject, said.0, said.1);
            }
        }
    }
}

/// Two servers of one address.
fn service(
    found: &mut Misfits,
    (one, (index, ours)): (&NodeFile, Numbered<'_>),
    (other, (other_index, theirs)): (&NodeFile, Numbered<'_>),
) {
    let address = ours.address;
    let says = |file, index: usize, key: &'static str, value: String| Says {
        file,
        places: vec![format!("services[{index}].{key}")],
        key,
        value,
    };
    let name =
        |file, index, service: &Service| says(file, index, "name", format!("\"{}\"", service.name));
    found.same(
        "service-name",
        &format!("service {address}"),
        name(one, index, ours),
        name(other, other_index, theirs),
    );
    let when_failed = |file, index, service: &Service| {
        let word = match service.when_failed {
            WhenFailed::LastResort => "\"last-resort\"",
            WhenFailed::Withdraw => "\"withdraw\"",
        };
        says(file, index, "when_failed", word.to_owned())
    };
    let subject = format!("service {}", ours.name);
    found.same(
        "service-when-failed",
        &subject,
        when_failed(one, index, ours),
        when_failed(other, other_index, theirs),
    );
    if ours.checks != theirs.checks {
        let places = [(one, index), (other, other_index)]
            .map(|(file, index)| file.spot(&[format!("services[{index}].check")]));
        let what = format!(
            "{subject}: {} and {} decide by different checks whether {address} is advertised",
            one.name(),
            other.name()
        );
        let remedy = format!(
            "write the same `check` in {} and {}",
            one.path().display(),
            other.path().display()
        );
        found.add("service-check", places, what, remedy);
    }
}
