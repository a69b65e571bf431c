//! Destinations and the ways to them.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::wire::Options;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
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
