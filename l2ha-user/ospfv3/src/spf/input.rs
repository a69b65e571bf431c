//! What the calculation works on: our own links, and an area's database.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crate::config::Time;
use crate::lsdb::Lsdb;
use crate::peer::Peer;
use crate::wire::{Family, Network, RouterLink};

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
    /// Routers at the edge, through which nothing goes, whatever they say of themselves.
    pub(crate) edges: Arc<BTreeSet<Ipv4Addr>>,
    pub(crate) database: &'a Lsdb,
    pub(crate) now: Time,
}

/// Finds the address a router on a link of ours has in its Link-LSA, by its Interface ID.
pub(crate) type LinkLocal<'a> = &'a dyn Fn(Peer, u32) -> Option<IpAddr>;
