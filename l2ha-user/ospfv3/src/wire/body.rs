//! The bodies of the LSAs, RFC 5340 A.4.3 to A.4.10.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::{Grace, LsaType, Options, Prefix, PrefixEntry, PrefixOptions};

/// The W, V, E and B bits of a Router-LSA.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct RouterBits {
    /// V: an endpoint of a virtual link.
    pub virtual_link: bool,
    /// E: an AS boundary router.
    pub external: bool,
    /// B: an area border router.
    pub border: bool,
}

/// What a Router-LSA's link leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkKind {
    /// Type 1.
    PointToPoint,
    /// Type 2.
    Transit,
    /// Type 4.
    Virtual,
    /// A type this crate does not know: kept, and not followed.
    Other(u8),
}

impl LinkKind {
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::PointToPoint => 1,
            Self::Transit => 2,
            Self::Virtual => 4,
            Self::Other(code) => code,
        }
    }

    pub(super) const fn from_code(code: u8) -> Self {
        match code {
            1 => Self::PointToPoint,
            2 => Self::Transit,
            4 => Self::Virtual,
            other => Self::Other(other),
        }
    }
}

/// One link of a Router-LSA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
pub struct RouterLink {
    /// What it leads to.
    pub kind: LinkKind,
    /// Cost of sending over it.
    pub metric: u16,
    /// The originator's Interface ID.
    pub interface_id: u32,
    /// The neighbour's Interface ID, or the Designated Router's on a transit network.
    pub neighbor_interface_id: u32,
    /// The neighbour's Router ID, or the Designated Router's.
    pub neighbor_router_id: Ipv4Addr,
}

impl RouterLink {
    /// Bytes on the wire.
    pub(crate) const LEN: usize = 16;
}

/// Router-LSA, A.4.3.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Router {
    /// What kind of router.
    pub bits: RouterBits,
    /// Options of the router.
    pub options: Options,
    /// Its links within the area.
    pub links: Vec<RouterLink>,
}

/// Network-LSA, A.4.4.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Network {
    /// The union of the attached routers' options.
    pub options: Options,
    /// The routers fully adjacent to the Designated Router, itself included.
    pub attached: Vec<Ipv4Addr>,
}

/// Inter-Area-Prefix-LSA, A.4.5.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct InterAreaPrefix {
    /// 24-bit cost.
    pub metric: u32,
    /// The destination.
    pub prefix: Prefix,
    /// Its capabilities.
    pub options: PrefixOptions,
}

/// Inter-Area-Router-LSA, A.4.6.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct InterAreaRouter {
    /// Options of the described router.
    pub options: Options,
    /// 24-bit cost.
    pub metric: u32,
    /// The AS boundary router described.
    pub destination: Ipv4Addr,
}

/// AS-External-LSA, A.4.7.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct AsExternal {
    /// E: the metric is not comparable with costs inside the AS.
    pub type2: bool,
    /// 24-bit cost.
    pub metric: u32,
    /// The destination.
    pub prefix: Prefix,
    /// Its capabilities.
    pub options: PrefixOptions,
    /// Where to send instead of the originator.
    pub forwarding: Option<IpAddr>,
    /// External route tag.
    pub tag: Option<u32>,
    /// LS type and Link State ID of an LSA with more to say; its originator is the same.
    pub referenced: Option<(LsaType, u32)>,
}

/// Link-LSA, A.4.9.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct LinkBody {
    /// The originator's Router Priority on this link.
    pub priority: u8,
    /// What it would like in the Network-LSA.
    pub options: Options,
    /// Its link-local address: the next hop. In an IPv4 instance its IPv4 address, 0.0.0.0 if it has
    /// none there (RFC 5838 2.5).
    pub link_local: IpAddr,
    /// Prefixes it wants associated with the link.
    pub prefixes: Vec<PrefixEntry>,
}

/// Intra-Area-Prefix-LSA, A.4.10.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct IntraAreaPrefix {
    /// Router-LSA or Network-LSA.
    pub referenced_type: LsaType,
    /// 0 for a router, the Designated Router's Interface ID for a network.
    pub referenced_id: u32,
    /// The router, or the Designated Router.
    pub referenced_router: Ipv4Addr,
    /// The prefixes that hang off it.
    pub prefixes: Vec<PrefixEntry>,
}

/// The body of an LSA.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LsaBody {
    /// 0x2001
    Router(Router),
    /// 0x2002
    Network(Network),
    /// 0x2003
    InterAreaPrefix(InterAreaPrefix),
    /// 0x2004
    InterAreaRouter(InterAreaRouter),
    /// 0x4005
    AsExternal(AsExternal),
    /// 0x0008
    Link(LinkBody),
    /// 0x2009
    IntraAreaPrefix(IntraAreaPrefix),
    /// 0x000b
    Grace(Grace),
    /// Any other type: kept and flooded, not understood.
    Unknown(Vec<u8>),
}
