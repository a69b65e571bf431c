//! The route calculation, RFC 5340 4.8: pure functions of databases and our own links.

mod alternate;
mod calculation;
mod claims;
mod external;
mod inter_area;
mod schedule;
mod table;
#[cfg(test)]
mod tests;
mod tree;
mod ways;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use serde::Serialize;

use crate::config::Time;
use crate::lsdb::Lsdb;
use crate::wire::{Family, Network, Options, RouterLink};

pub use alternate::Alternates;
pub(crate) use alternate::Neighborhood;
pub(crate) use calculation::{Calculation, Input, demands_trees};
pub(crate) use schedule::Schedule;

/// LSInfinity, RFC 2328 B: not reachable.
pub(crate) const INFINITY: u32 = 0x00ff_ffff;

/// Where to send a packet next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Nexthop {
    /// Out of which interface.
    pub interface: u32,
    /// To which address on the link; nothing if the destination is on the link itself. A link-local
    /// one, or, on the way to an IPv4 prefix, the neighbour's IPv4 address if it has one there.
    pub address: Option<IpAddr>,
}

/// How good a kind of path is: the lesser wins whatever the metric (RFC 2328 11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PathKind {
    /// Within an area.
    IntraArea,
    /// Through another area.
    InterArea,
    /// Out of the AS.
    External,
}

/// A way to a destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Route {
    /// Its cost; for an external route of type 2, the cost to the router that advertises it.
    pub metric: u32,
    /// The advertised cost of an external route of type 2.
    pub type2_metric: Option<u32>,
    /// Its kind.
    pub kind: PathKind,
    /// Next hops of equal cost, sorted.
    pub nexthops: Vec<Nexthop>,
    /// The routers that advertise the destination at this cost, sorted.
    pub routers: Vec<Ipv4Addr>,
    /// The areas the way leads through, sorted; none for an external route.
    pub areas: Vec<Ipv4Addr>,
}

/// The way to a router that leads out of the AS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BoundaryRoute {
    pub(crate) kind: PathKind,
    pub(crate) cost: u32,
    pub(crate) nexthops: Arc<BTreeSet<Nexthop>>,
    /// The areas the way leads through.
    pub(crate) areas: BTreeSet<Ipv4Addr>,
    /// The router's own options.
    pub(crate) options: Options,
}

/// A link of ours, with the next hop already known if it is point-to-point.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RootLink {
    pub(crate) interface: u32,
    pub(crate) link: RouterLink,
    pub(crate) address: Option<IpAddr>,
}

/// What the calculation of one area works on.
pub(crate) struct AreaInput<'a> {
    /// What is routed.
    pub(crate) family: Family,
    pub(crate) area: Ipv4Addr,
    /// Whether its summaries count: in every area for an internal router, in the backbone alone for
    /// a border router that has a neighbour there (RFC 2328 16.2, RFC 3509 2.2).
    pub(crate) summaries: bool,
    /// Whether AS-external LSAs are flooded through it.
    pub(crate) transit_external: bool,
    pub(crate) root: Ipv4Addr,
    pub(crate) links: Vec<RootLink>,
    /// Whether a link of ours counts although the neighbour's Router-LSA does not tell of it.
    pub(crate) one_way: bool,
    /// Networks we are Designated Router of, by our Interface ID.
    pub(crate) networks: Vec<(u32, Network)>,
    pub(crate) database: &'a Lsdb,
    pub(crate) now: Time,
}

/// Finds the address a router has in its Link-LSA: interface of ours, its Router ID, its
/// Interface ID.
pub(crate) type LinkLocal<'a> = &'a dyn Fn(u32, Ipv4Addr, u32) -> Option<IpAddr>;
