//! What the caller decides.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::auth::KeyChain;
use crate::edge::Edge;
use crate::rotation::Rotation;
use crate::wire::{Family, Prefix};

/// Monotonic time since an arbitrary epoch. The crate never reads a clock: it is told.
pub type Time = Duration;

/// The backbone area, 0.0.0.0.
pub const BACKBONE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
/// MinLSInterval, RFC 2328 B: least time between distinct originations of one LSA.
pub const MIN_LS_INTERVAL: Duration = Duration::from_secs(5);
/// MinLSArrival, RFC 2328 B: least time between receptions of new instances of one LSA.
pub const MIN_LS_ARRIVAL: Duration = Duration::from_secs(1);
/// LSRefreshTime, RFC 2328 B: an LSA is originated again at this age.
pub const LS_REFRESH_TIME: Duration = Duration::from_secs(1800);

/// Neighbours on one interface where nothing else is said: as many as a Hello names that fits into the
/// smallest MTU of IPv6 (1280 bytes) with the longest authentication trailer (RFC 5340 A.3.2, RFC 7166 2).
pub const MAX_NEIGHBORS: usize = 256;

/// Interfaces beyond which a router does not send everything on at once.
pub const MANY_LINKS: usize = 16;

/// Configuration of a [`Speaker`](crate::Speaker).
#[derive(Clone, Debug)]
pub struct Config {
    /// Ours, unique in the AS and not 0.0.0.0.
    pub router_id: Ipv4Addr,
    /// What is routed. The Instance ID of every interface must belong to it (RFC 5838 2.1).
    pub family: Family,
    /// Whether an IPv6 speaker sets the AF bit (RFC 5838 2.2), because one of another family runs
    /// beside it. The others always do.
    pub announce_families: bool,
    /// When to compute routes after a change.
    pub spf_delay: SpfDelay,
    /// Least time between distinct originations of one LSA; a first change after a quiet time, the first
    /// four of a single prefix, and a withdrawal never wait.
    pub min_ls_interval: Duration,
    /// Least time between receptions of new instances of one LSA by flooding; the first five in a row of one
    /// that carries prefixes are taken at once.
    pub min_ls_arrival: Duration,
    /// Most next hops of one route.
    pub max_paths: usize,
    /// High half of the sequence numbers of authenticated packets (RFC 7166 4.1). Greater at each
    /// start of this router than in the one before, such as a boot count or the seconds since 1970,
    /// or neighbours take what we send for replays.
    pub authentication_epoch: u32,
    /// Areas that are not like any other.
    pub areas: BTreeMap<Ipv4Addr, AreaConfig>,
    /// Beyond so many interfaces an LSA is sent on at once to those only that hear of it from nobody
    /// else sooner; the others get it a second later, unless they have it by then.
    pub many_links: usize,
    /// Whether to help neighbours with a graceful restart (RFC 5187, RFC 3623 3).
    pub graceful_helper: bool,
    /// Whether that help ends when an LSA changes that the neighbour would have to know of
    /// (RestartHelperStrictLSAChecking, RFC 3623 B.2).
    pub graceful_strict: bool,
    /// Bounds on what peers can make us remember.
    pub limits: Limits,
}

impl Config {
    /// The RFC's constants and the documented defaults.
    pub fn new(router_id: Ipv4Addr) -> Self {
        Self {
            router_id,
            family: Family::Ipv6,
            announce_families: false,
            spf_delay: SpfDelay::default(),
            min_ls_interval: MIN_LS_INTERVAL,
            min_ls_arrival: MIN_LS_ARRIVAL,
            max_paths: 64,
            authentication_epoch: 0,
            areas: BTreeMap::new(),
            many_links: MANY_LINKS,
            graceful_helper: true,
            graceful_strict: true,
            limits: Limits::default(),
        }
    }
}

/// What is peculiar to an area: RFC 2328 3.6 and C.2. The default is an area like any other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AreaConfig {
    /// No AS-external LSAs are flooded through it; its border routers advertise a default route
    /// instead (RFC 2328 3.6). The backbone cannot be one.
    pub stub: bool,
    /// Cost of that default route, where we are a border router (RFC 2328 C.2 StubDefaultCost).
    pub default_cost: u32,
    /// Into a stub area, advertise that default route and nothing else.
    pub no_summary: bool,
}

/// Bounds on memory that peers control. What is beyond them is dropped and counted.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// LSAs in one database (each area, each link, the AS) at which those of others are refused.
    pub lsas: usize,
    /// Bytes of LSAs in one database, likewise.
    pub lsa_bytes: usize,
    /// Of these LSAs, how many one neighbour may bring, and of the bytes the same share: what others bring
    /// has room whatever it does.
    pub neighbor_lsas: usize,
    /// How many one router may originate, likewise.
    pub origin_lsas: usize,
    /// Neighbours on one interface.
    pub neighbors: usize,
    /// Events waiting for [`Speaker::poll_event`](crate::Speaker::poll_event).
    pub events: usize,
    /// Packets waiting for [`Speaker::poll_transmit`](crate::Speaker::poll_transmit).
    pub packets: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            lsas: 32_768,
            lsa_bytes: 32 << 20,
            neighbor_lsas: 16_384,
            origin_lsas: 12_288,
            neighbors: MAX_NEIGHBORS,
            events: 4096,
            packets: 16_384,
        }
    }
}

/// Delays before the shortest paths are computed. The first change after a quiet time waits for
/// `initial`; each further one for a hold that starts at `hold`, doubles up to `max`, and falls back
/// once a whole hold passed without a change. In the spirit of RFC 8405.
#[derive(Clone, Copy, Debug)]
pub struct SpfDelay {
    /// Before the first computation.
    pub initial: Duration,
    /// Between the first and the second.
    pub hold: Duration,
    /// Longest time between two.
    pub max: Duration,
}

impl Default for SpfDelay {
    fn default() -> Self {
        Self {
            initial: Duration::ZERO,
            hold: Duration::from_millis(50),
            max: Duration::from_secs(5),
        }
    }
}

/// What kind of link an interface attaches to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InterfaceKind {
    /// One neighbour at the other end.
    PointToPoint,
    /// Any number of neighbours, and a Designated Router to speak for them.
    Broadcast,
    /// No packets, only prefixes of our own.
    Loopback,
}

/// A prefix to advertise with an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
pub struct StubPrefix {
    /// The prefix; link-local ones are never advertised.
    pub prefix: Prefix,
    /// Its cost, on top of the path to us.
    pub metric: u16,
    /// An address of our own. Each such prefix gets an LSA of its own, so that it can be withdrawn at
    /// once and alone.
    pub local: bool,
}

impl StubPrefix {
    /// An address of our own: /128 or /32, metric 0 (RFC 5340 4.4.3.9).
    pub fn host(addr: impl Into<IpAddr>) -> Self {
        Self {
            prefix: Prefix::host(addr),
            metric: 0,
            local: true,
        }
    }
}

/// A prefix outside of the AS that we know a way to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ExternalPrefix {
    /// The prefix.
    pub prefix: Prefix,
    /// Its cost, 24 bits.
    pub metric: u32,
    /// Whether that cost is beyond any within the AS (type 2), rather than on top (type 1).
    pub type2: bool,
    /// A word between AS boundary routers, of no meaning to OSPF (External Route Tag).
    pub tag: Option<u32>,
}

/// Configuration of an interface. RFC 5340 C.3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceConfig {
    /// For people.
    pub name: String,
    /// Interface ID on the wire, and its key everywhere here: the ifindex, never 0.
    pub id: u32,
    /// The area it belongs to.
    pub area: Ipv4Addr,
    /// Its kind.
    pub kind: InterfaceKind,
    /// Our link-local address on it: source of every packet, next hop for the neighbour.
    pub link_local: Ipv6Addr,
    /// Our IPv4 address on it, which an IPv4 speaker tells its neighbours as their next hop (RFC 5838
    /// 2.5). It is not needed: neighbours that can, send to [`Self::link_local`] instead.
    pub ipv4: Option<Ipv4Addr>,
    /// Largest IPv6 datagram, bytes.
    pub mtu: u16,
    /// Largest datagram of an IPv4 speaker's own family, where it is not [`Self::mtu`].
    pub ipv4_mtu: Option<u16>,
    /// Cost of sending over it.
    pub cost: u16,
    /// Seconds between Hellos.
    pub hello_interval: u16,
    /// Seconds of silence after which a neighbour is down.
    pub dead_interval: u16,
    /// Seconds between retransmissions (RxmtInterval).
    pub retransmit_interval: u16,
    /// Seconds added to the age of LSAs sent over it (InfTransDelay).
    pub transmit_delay: u16,
    /// Instance ID.
    pub instance_id: u8,
    /// Router Priority, for the election of a Designated Router.
    pub priority: u8,
    /// Do not compare MTUs during database exchange.
    pub mtu_ignore: bool,
    /// Keys that packets are signed with (RFC 7166); none for no authentication. Keys can be changed
    /// without the adjacencies falling, as long as both ends accept what the other sends.
    pub authentication: Option<KeyChain>,
    /// A rotation that goes on: two of the keys are the present and the former one. Nothing without keys.
    pub rotation: Option<Rotation>,
    /// Prefixes to advertise with it.
    pub prefixes: Vec<StubPrefix>,
    /// What is taken from the neighbour, if that is not everything: a router at the edge.
    pub edge: Option<Edge>,
}

impl InterfaceConfig {
    /// An interface with the RFC's sample values (RFC 2328 C.3): hello 10 s, dead 40 s, retransmit
    /// 5 s, transmit delay 1 s, cost 10, area 0.0.0.0.
    pub fn new(name: &str, id: u32, kind: InterfaceKind, link_local: Ipv6Addr) -> Self {
        Self {
            name: name.to_owned(),
            id,
            area: BACKBONE,
            kind,
            link_local,
            ipv4: None,
            mtu: 1500,
            ipv4_mtu: None,
            cost: 10,
            hello_interval: 10,
            dead_interval: 40,
            retransmit_interval: 5,
            transmit_delay: 1,
            instance_id: 0,
            priority: 1,
            mtu_ignore: false,
            authentication: None,
            rotation: None,
            prefixes: Vec::new(),
            edge: None,
        }
    }

    pub(crate) fn hello(&self) -> Duration {
        Duration::from_secs(u64::from(self.hello_interval.max(1)))
    }

    /// Largest datagram of a family.
    pub(crate) fn family_mtu(&self, family: Family) -> u16 {
        match family {
            Family::Ipv6 => self.mtu,
            Family::Ipv4 => self.ipv4_mtu.unwrap_or(self.mtu),
        }
    }

    pub(crate) fn dead(&self) -> Duration {
        Duration::from_secs(u64::from(self.dead_interval.max(1)))
    }

    pub(crate) fn retransmit(&self) -> Duration {
        Duration::from_secs(u64::from(self.retransmit_interval.max(1)))
    }

    /// Whether `other` can replace it without its adjacencies falling. Intervals can: until the neighbour
    /// says the same, neither end hears the other (RFC 2328 10.5).
    pub(crate) fn adjacency_survives(&self, other: &Self) -> bool {
        self.area == other.area
            && self.kind == other.kind
            && self.link_local == other.link_local
            && self.instance_id == other.instance_id
            && self.mtu == other.mtu
            && self.ipv4_mtu == other.ipv4_mtu
    }
}
