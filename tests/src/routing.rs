//! What the lab asks of any OSPFv3 router, ours or another's, and what it compares.

use std::net::{Ipv4Addr, Ipv6Addr};

/// An interface a router speaks OSPF on.
#[derive(Debug, Clone)]
pub struct OspfLink {
    /// The interface's name.
    pub interface: String,
    /// Cost of sending over it.
    pub cost: u16,
    /// The area it is in.
    pub area: Ipv4Addr,
    /// On a broadcast network the router's priority; otherwise the link is point-to-point.
    pub priority: Option<u8>,
}

impl OspfLink {
    /// A point-to-point link in the backbone.
    pub fn new(interface: &str, cost: u16) -> Self {
        Self {
            interface: interface.to_owned(),
            cost,
            area: Ipv4Addr::UNSPECIFIED,
            priority: None,
        }
    }
}

/// A prefix that a router brings into the AS from outside.
#[derive(Debug, Clone)]
pub struct External {
    /// The prefix.
    pub prefix: String,
    /// Its metric.
    pub metric: u32,
    /// Whether that adds to the costs within (type 1).
    pub type1: bool,
}

/// How a real routing peer is set up: the same timers on every interface.
#[derive(Debug, Clone)]
pub struct RouterConfig {
    /// Its router id.
    pub router_id: Ipv4Addr,
    /// Where it speaks.
    pub links: Vec<OspfLink>,
    /// Addresses it advertises as /128.
    pub stubs: Vec<Ipv6Addr>,
    /// IPv4 addresses it advertises as /32, in an instance of OSPFv3 of their own (RFC 5838; BIRD
    /// only).
    pub stubs4: Vec<Ipv4Addr>,
    /// The area they are in.
    pub home: Ipv4Addr,
    /// Which areas are stub areas.
    pub stub_areas: Vec<Ipv4Addr>,
    /// What it brings in from outside.
    pub external: Option<External>,
    /// Whether it tells its neighbours of the routes that another daemon has put into the kernel (BIRD only).
    pub learns: bool,
    /// Seconds between Hellos.
    pub hello: u16,
    /// Seconds until a silent neighbour is dead.
    pub dead: u16,
    /// Id and secret of a key that packets are signed with.
    pub key: Option<(u16, String)>,
    /// How they are signed with it, as in our file.
    pub key_algorithm: &'static str,
    /// Intervals of BFD: milliseconds and a multiplier.
    pub bfd: Option<(f64, u8)>,
    /// Algorithm of the key that BFD's packets are signed with, as in our file.
    pub bfd_algorithm: Option<&'static str>,
}

impl RouterConfig {
    /// Hello 1 s, dead 3 s, nothing advertised.
    pub fn new(router_id: Ipv4Addr, links: Vec<OspfLink>) -> Self {
        Self {
            router_id,
            links,
            stubs: Vec::new(),
            stubs4: Vec::new(),
            home: Ipv4Addr::UNSPECIFIED,
            stub_areas: Vec::new(),
            external: None,
            learns: false,
            hello: 1,
            dead: 3,
            key: None,
            key_algorithm: "hmac-sha-256",
            bfd: None,
            bfd_algorithm: None,
        }
    }
}

/// Age in seconds at which an LSA is dead: it is on its way out of the database, which takes FRR a
/// minute, and counts no more.
pub(crate) const MAX_AGE: u16 = 3600;

/// One LSA as it stands in a link state database, without its age.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LsaKey {
    /// The area whose database it is in; none for a link's and the AS's.
    pub area: Option<Ipv4Addr>,
    /// LS type with its U and scope bits.
    pub ls_type: u16,
    /// Link State ID.
    pub id: u32,
    /// Advertising router.
    pub router: Ipv4Addr,
    /// LS sequence number.
    pub sequence: u32,
    /// LS checksum.
    pub checksum: u16,
    /// Length in bytes, header included; BIRD does not tell it.
    pub length: Option<u16>,
}

impl LsaKey {
    /// Whether two databases mean the same instance of the same LSA.
    pub fn same(&self, other: &Self) -> bool {
        let lengths = self.length.zip(other.length);
        (
            self.area,
            self.ls_type,
            self.id,
            self.router,
            self.sequence,
            self.checksum,
        ) == (
            other.area,
            other.ls_type,
            other.id,
            other.router,
            other.sequence,
            other.checksum,
        ) && lengths.is_none_or(|(mine, theirs)| mine == theirs)
    }
}

/// What stands in only one of two databases, one line each; empty when they are the same.
pub fn differences(left: &[LsaKey], right: &[LsaKey]) -> Vec<String> {
    let missing = |from: &[LsaKey], lsa: &LsaKey| !from.iter().any(|other| other.same(lsa));
    let only_left = left.iter().filter(|lsa| missing(right, lsa));
    let only_right = right.iter().filter(|lsa| missing(left, lsa));
    only_left
        .map(|lsa| format!("only left: {lsa:x?}"))
        .chain(only_right.map(|lsa| format!("only right: {lsa:x?}")))
        .collect()
}
