//! `[ospf]`.

use std::net::{IpAddr, Ipv4Addr};

use ospfv3::Family;

use crate::{
    accept, address, bfd, redistribute,
    report::{Found, Report},
    section::Section,
    types::{Ospf, OspfNetwork, Service, TunnelOspf},
};

/// Cost of an interface where nothing else is said.
pub(crate) const DEFAULT_COST: u16 = 10;
/// Seconds between Hellos where nothing else is said.
const DEFAULT_HELLO: u16 = 1;
/// What Hello intervals can be: the dead interval, of 16 bits too, is longer.
const HELLO_INTERVALS: std::ops::RangeInclusive<i128> = 1..=65534;
/// Hello intervals that make a default dead interval.
const DEAD_PER_HELLO: u16 = 4;
/// Router Priority where nothing else is said as FRR and BIRD have it.
pub(crate) const DEFAULT_PRIORITY: u8 = 1;
/// Seconds for which neighbours are asked to wait for a restart. It is only a bound: a restart takes
/// a second or two, and says when it is over. FRR and BIRD have the same.
const DEFAULT_GRACE: u16 = 120;
/// Table of the kernel that `ip route` shows (RT_TABLE_MAIN).
const MAIN_TABLE: u32 = 254;
/// Table of the kernel that has its own addresses (RT_TABLE_LOCAL).
const LOCAL_TABLE: u32 = 255;

/// What costs can be: 0 would mean a transit link that is free (RFC 5340 section 4.4.3.2 wants
/// more).
pub(crate) const COSTS: std::ops::RangeInclusive<i128> = 1..=65535;

/// Instance IDs of IPv4 unicast (RFC 5838 section 2.1).
const IPV4_INSTANCES: std::ops::RangeInclusive<i128> = 64..=95;
/// Instance IDs of multicast and IPv4.
const OTHER_FAMILIES: std::ops::RangeInclusive<u8> = 32..=127;

/// `[ospf]` as far as it could be read.
pub(crate) struct ReadOspf {
    /// For interfaces that say nothing.
    pub(crate) defaults: TunnelOspf,
    /// Whether IPv4 shall be routed, if anything is said about it.
    pub(crate) ipv4: Option<bool>,
    ipv4_instance: u8,
    ospf: Option<Ospf>,
}

impl ReadOspf {
    /// The whole, if it could be read. IPv4 is routed where a service or the node's own addresses need it.
    pub(crate) fn value(self, services: &[Service], own: &[Found<IpAddr>]) -> Option<Ospf> {
        let services = services.iter().map(|service| service.address);
        let mut all = services.chain(own.iter().map(|found| found.value));
        let needed = || all.any(|address| address.is_ipv4());
        let ipv4 = self
            .ipv4
            .unwrap_or_else(needed)
            .then_some(self.ipv4_instance);
        Some(Ospf { ipv4, ..self.ospf? })
    }
}

pub(crate) fn ospf(section: &Section<'_>) -> ReadOspf {
    let seconds = 1..=65535;
    let router_id = section
        .text_or("router_id", dotted_id)
        .and_then(|found| router_id(section.report, &found));
    let area = match section.text_or("area", address::dotted) {
        Some(found) => address::area(section, &found, address::dotted),
        None => Some(Ipv4Addr::UNSPECIFIED),
    };
    let hello = section.integer::<u16>("hello_interval", HELLO_INTERVALS);
    let hello_interval = hello.as_ref().map_or(DEFAULT_HELLO, |found| found.value);
    let is_longer = |dead| dead > i128::from(hello_interval);
    let dead = section.integer_where::<u16>("dead_interval", seconds.clone(), is_longer);
    let usual_dead = hello_interval.saturating_mul(DEAD_PER_HELLO);
    let dead_interval = dead.as_ref().map_or(usual_dead, |found| found.value);
    if dead_interval <= hello_interval {
        let place = dead
            .map(|found| found.place)
            .or(hello.map(|found| found.place));
        section.report.error(
            &place.unwrap_or_else(|| section.place.clone()),
            format!(
                "a neighbour would be dead after {dead_interval} s, but is heard every \
                 {hello_interval} s only"
            ),
            format!("write `dead_interval = {usual_dead}`"),
        );
    }
    let cost = section
        .integer("cost", COSTS)
        .map_or(DEFAULT_COST, |found| found.value);
    let bfd = bfd::bfd(section).flatten();
    let table = section.integer::<u32>("table", 1..=i128::from(u32::MAX));
    if let Some(table) = &table
        && table.value == LOCAL_TABLE
    {
        section.report.error(
            &table.place,
            "255 is the kernel's own table of local addresses",
            format!("write `table = {MAIN_TABLE}`, the main table"),
        );
    }
    let read = |router_id| Ospf {
        router_id,
        area: area.unwrap_or(Ipv4Addr::UNSPECIFIED),
        hello_interval,
        dead_interval,
        cost,
        bfd,
        instance_id: instance_id(section),
        ipv4: None,
        retransmit_interval: section
            .integer("retransmit_interval", seconds)
            .map_or(5, |found| found.value),
        table: table.map_or(MAIN_TABLE, |found| found.value),
        route_metric: section
            .integer("route_metric", 1..=i128::from(u32::MAX))
            .map_or(20, |found| found.value),
        redistribute: redistribute::redistribute(section),
        accept_default: section
            .boolean("accept_default")
            .is_some_and(|found| found.value),
        accept: accept::entries(section, "accept"),
        graceful_restart: section
            .integer("graceful_restart", 0..=1800)
            .map_or(DEFAULT_GRACE, |found| found.value),
        graceful_helper: section
            .boolean("graceful_helper")
            .is_none_or(|found| found.value),
        graceful_strict: section
            .boolean("graceful_strict")
            .is_none_or(|found| found.value),
    };
    // All keys are read, whatever the router id is, so that all mistakes are found.
    let ospf = read(router_id.unwrap_or(Ipv4Addr::UNSPECIFIED));
    ReadOspf {
        ipv4: section.boolean("ipv4").map(|found| found.value),
        ipv4_instance: section
            .integer("ipv4_instance_id", IPV4_INSTANCES)
            .map_or(Family::Ipv4.instance(), |found| found.value),
        defaults: TunnelOspf {
            area: area.unwrap_or(Ipv4Addr::UNSPECIFIED),
            network: OspfNetwork::default(),
            priority: DEFAULT_PRIORITY,
            cost,
            bfd,
        },
        ospf: router_id.map(|_| ospf),
    }
}

/// The Instance ID for IPv6, which must not be one that stands for another family.
fn instance_id(section: &Section<'_>) -> u8 {
    let of_ipv6 = |id| u8::try_from(id).is_ok_and(|id| !OTHER_FAMILIES.contains(&id));
    let Some(found) = section.integer_where::<u8>("instance_id", 0..=255, of_ipv6) else {
        return Family::Ipv6.instance();
    };
    if OTHER_FAMILIES.contains(&found.value) {
        let remedy = match IPV4_INSTANCES.contains(&found.value.into()) {
            true => format!(
                "write `instance_id = 0`, and `ipv4_instance_id = {}` for IPv4",
                found.value
            ),
            false => "write `instance_id = 0`".to_owned(),
        };
        let what = format!(
            "{} stands for another address family than IPv6 unicast (RFC 5838)",
            found.value
        );
        section.report.error(&found.place, what, remedy);
    }
    found.value
}

/// A router id that is written as one number.
pub(crate) fn dotted_id(number: &str) -> Option<String> {
    address::dotted(number).filter(|id| id != "0.0.0.0")
}

/// The Router ID that is written here.
pub(crate) fn router_id(report: &Report, found: &Found<&str>) -> Option<Ipv4Addr> {
    let (what, good) = match found.value.trim().parse::<Ipv4Addr>() {
        Ok(Ipv4Addr::UNSPECIFIED) => (
            "`0.0.0.0` is no router id".to_owned(),
            "10.0.0.1".to_owned(),
        ),
        Ok(id) => return Some(id),
        Err(_) => (
            format!("`{}` is not four numbers with dots", found.value),
            dotted_id(found.value).unwrap_or("10.0.0.1".to_owned()),
        ),
    };
    report.error(
        &found.place,
        what,
        format!("write `router_id = \"{good}\"`, with a value that no other router has"),
    );
    None
}
