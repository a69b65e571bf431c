//! `[[services]]`.

use std::net::IpAddr;

use crate::{
    address, check, names,
    report::{Found, Report, Unique},
    schema::OSPF,
    section::Section,
    tunnel::ReadTunnel,
    types::{Service, WhenFailed},
    underlay::ReadUnderlay,
};

/// The words of `when_failed`.
const WHEN_FAILED: &[(&str, WhenFailed)] = &[
    ("last-resort", WhenFailed::LastResort),
    ("withdraw", WhenFailed::Withdraw),
];

/// Reads `[[services]]`.
pub(crate) fn services(
    report: &Report,
    sections: &[Section<'_>],
    has_ospf: bool,
    ipv4: Option<bool>,
    tunnels: &[ReadTunnel],
    (own, underlay): (&[Found<IpAddr>], Option<&ReadUnderlay>),
) -> Vec<Service> {
    if let Some(first) = sections.first()
        && !has_ospf
    {
        let example = OSPF.key("router_id").map_or("", |key| key.example);
        first.report.error(
            &first.place,
            "services are advertised by OSPF, but there is no [ospf]",
            format!("add a line `[ospf]`, and below it `router_id = {example}`"),
        );
    }
    let mut labels = Unique::default();
    // Addresses that are in use elsewhere on this node come first.
    let mut addresses = Unique::default();
    let elsewhere = underlay
        .iter()
        .flat_map(|underlay| underlay.addresses.clone());
    let on_tunnels = tunnels.iter().flat_map(|tunnel| {
        let addresses = tunnel.addresses.iter();
        addresses.map(|found| found.with(found.value.addr()))
    });
    for found in elsewhere.chain(on_tunnels) {
        addresses.put(found);
    }
    for found in own {
        addresses.take(report, found.clone(), |_| {
            "write an address of this node's own, or remove one of the two".to_owned()
        });
    }
    sections
        .iter()
        .filter_map(|section| {
            let name = names::label(section, &mut labels, names::LONGEST_NAME);
            let address = section
                .string("address")
                .and_then(|found| address::service(section.report, &found));
            if let Some(found) = &address {
                let another = match found.value {
                    IpAddr::V6(_) => "2001:db8::81",
                    IpAddr::V4(_) => "192.0.2.81",
                };
                addresses.take(section.report, found.with(found.value), |_| {
                    format!("write another `address = \"{another}\"`, or remove one of the two")
                });
                refuse_unrouted(section.report, found, ipv4);
            }
            let metric = section
                .integer("metric", 0..=65535)
                .map_or(0, |found| found.value);
            let own = address.as_ref().map(|found| found.value);
            let checks = check::checks(section, own);
            let when_failed = section.choice("when_failed", WHEN_FAILED);
            let on_change = check::command(section, "on_change");
            Some(Service {
                name: name?,
                address: own?,
                metric,
                checks,
                when_failed: when_failed.unwrap_or_default(),
                on_change: on_change.unwrap_or_default(),
            })
        })
        .collect()
}

/// Reports an IPv4 address that OSPF would advertise, where IPv4 is switched off.
pub(crate) fn refuse_unrouted(report: &Report, found: &Found<IpAddr>, ipv4: Option<bool>) {
    if found.value.is_ipv4() && ipv4 == Some(false) {
        report.error(
            &found.place,
            format!("`{}` is IPv4, but `ipv4 = false` in [ospf]", found.value),
            "write `ipv4 = true` there, or remove that key",
        );
    }
}
