//! What is answered about OSPF.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ospfv3::{Counters, Family, InterfaceView, PathKind, Prefix, Refusal, RestartView};
use serde::{Deserialize, Serialize};

/// An entry of a list, and the family of the instance that it is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFamily<T> {
    /// The family.
    pub family: Family,
    /// The entry.
    #[serde(flatten)]
    pub entry: T,
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OspfInterface {
    /// What OSPF says of it.
    #[serde(flatten)]
    pub view: InterfaceView,
    /// How often adjacencies were lost there.
    pub adjacencies_lost: u64,
    /// What was refused there, the latest first.
    pub refused: Vec<OspfRefused>,
}

/// What neighbours say that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OspfRefused {
    /// Why.
    pub reason: Refusal,
    /// Who said it last.
    pub source: Ipv6Addr,
    /// For a mismatch, what we have configured.
    pub ours: Option<u32>,
    /// For a mismatch, what the packet says.
    pub theirs: Option<u32>,
    /// How often.
    pub count: u64,
    /// How many milliseconds ago the last time was.
    pub ago_ms: u64,
    /// Whether it passes by itself.
    pub transient: bool,
}

/// A route as OSPF has computed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OspfRoute {
    /// The destination.
    pub prefix: Prefix,
    /// Its cost.
    pub metric: u32,
    /// Its kind.
    pub kind: PathKind,
    /// Next hops of equal cost.
    pub nexthops: Vec<OspfNexthop>,
    /// The routers that advertise the destination at this cost.
    pub routers: Vec<Ipv4Addr>,
    /// Why the kernel does not get it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_installed: Option<NotInstalled>,
}

/// Why a route that OSPF has computed is kept out of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotInstalled {
    /// A default route, or a part of one, that nobody has asked for.
    Default,
    /// Addresses that are nobody's (RFC 6890).
    Martian,
    /// Addresses of the loopback.
    Loopback,
    /// Link-local addresses.
    LinkLocal,
    /// Groups.
    Multicast,
    /// An address of this host.
    Own,
    /// A network that this host is connected to.
    Connected,
    /// It would lead the host's packets to a tunnel's remote into the tunnel.
    Underlay,
    /// `accept` does not have it.
    NotAccepted,
}

impl NotInstalled {
    /// In words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Default => "a default route, and `accept_default` is not set",
            Self::Martian => "no address of a host",
            Self::Loopback => "a loopback address",
            Self::LinkLocal => "link-local",
            Self::Multicast => "multicast",
            Self::Own => "an address of this host",
            Self::Connected => "this host is connected to it",
            Self::Underlay => "this host's packets to a tunnel's remote would follow it",
            Self::NotAccepted => "not in `accept`",
        }
    }

    /// Whether the configuration asks for that, or it is usual where routers share a network: nobody has
    /// to mend it.
    #[must_use]
    pub const fn is_ordinary(self) -> bool {
        match self {
            Self::Default | Self::Connected | Self::NotAccepted => true,
            Self::Martian
            | Self::Loopback
            | Self::LinkLocal
            | Self::Multicast
            | Self::Own
            | Self::Underlay => false,
        }
    }
}

/// A route that is kept out of the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptOut {
    /// The destination.
    pub prefix: Prefix,
    /// Why.
    pub reason: NotInstalled,
    /// The routers that advertise it.
    pub routers: Vec<Ipv4Addr>,
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OspfNexthop {
    /// Name of the interface, if it is still there.
    pub interface: Option<String>,
    /// Address on the link; none if the destination is on the link itself.
    pub address: Option<IpAddr>,
}

/// OSPF as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OspfStatus {
    /// Router ID.
    pub router_id: Ipv4Addr,
    /// How many interfaces it runs on.
    pub interfaces: usize,
    /// How many detours the data plane has.
    pub detours: usize,
    /// Other routers with this Router ID, as long as there is a sign of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub twins: Vec<Twin>,
    /// Router IDs that two neighbours have, as long as there is a sign of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doubled_router_ids: Vec<DoubledRouterId>,
    /// Its routes in the kernel.
    pub kernel: KernelRoutes,
    /// Routes that neighbours have advertised and the kernel did not get, by reason; since the start.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub not_installed: BTreeMap<NotInstalled, u64>,
    /// Some of those that there are now, without what is ordinary ([`NotInstalled::is_ordinary`]).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept_out: Vec<KeptOut>,
    /// Sends that the kernel refused, by interface name.
    pub send_errors: BTreeMap<String, u64>,
    /// The instance of IPv6.
    #[serde(flatten)]
    pub ipv6: OspfInstance,
    /// That of IPv4, if IPv4 is routed.
    pub ipv4: Option<OspfInstance>,
}

/// Another router with our Router ID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Twin {
    /// Name of the interface that it is heard on; none if it is behind a neighbour.
    pub interface: Option<String>,
    /// Its address there; addresses that it advertises if it is behind a neighbour.
    pub addresses: Vec<IpAddr>,
    /// Router IDs of the routers that it is adjacent to, if it is behind a neighbour.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub neighbors: Vec<Ipv4Addr>,
}

/// A Router ID that two neighbours have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoubledRouterId {
    /// The Router ID.
    pub router_id: Ipv4Addr,
    /// Where they are heard: names of interfaces, and the addresses there.
    pub neighbors: Vec<(String, Ipv6Addr)>,
}

/// An instance of OSPF.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OspfInstance {
    /// Instance ID.
    pub instance_id: u8,
    /// The areas and what kind each is.
    pub areas: BTreeMap<Ipv4Addr, String>,
    /// Whether it is an area border router.
    pub area_border: bool,
    /// How many prefixes it advertises as lying outside of the AS.
    pub redistributed: usize,
    /// How many neighbours are Full.
    pub neighbors_full: usize,
    /// How many routes it has computed.
    pub routes: usize,
    /// The graceful restart of ours that goes on.
    pub graceful_restart: Option<RestartView>,
    /// Its counters.
    pub counters: Counters,
}

/// What was done to the kernel's routes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KernelRoutes {
    /// Nexthop objects that routes use.
    pub nexthops: usize,
    /// Of these, groups.
    pub groups: usize,
    /// Whether groups are resilient.
    pub resilient: bool,
    /// Failures of neighbours at which routes were switched before any calculation.
    pub switches: u64,
    /// Nexthop objects turned at these.
    pub switched: u64,
    /// Routes written to the kernel.
    pub written: u64,
    /// Routes written without an object because the kernel refused one.
    pub plain: u64,
    /// Requests that the kernel refused.
    pub refused: u64,
}
