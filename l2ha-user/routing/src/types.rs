//! What routing is asked to do and to show.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use config::{Ospf, OspfArea, OspfNetwork};
use control::{BfdStatus, InFamily, OspfInterface, OspfRoute, OspfStatus};
use ospfv3::{Credential, Edge, KeyChain, LsaView, NeighborRotation, NeighborView, Rotation};
use tokio::sync::oneshot;

use crate::restart_state::Ending;

/// Interface ID of the loopback, which carries the anycast prefixes and has no packets.
/// Kernel indexes fit in 31 bits, so no other interface has it.
pub(crate) const LOOPBACK: u32 = u32::MAX;
/// After a withdrawal has been sent, how long data and addresses stay: the neighbours compute routes
/// meanwhile (BIRD does so once a second) and still send here until they have.
pub const STOP_GRACE: Duration = Duration::from_millis(1500);

/// An interface OSPF shall run on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Name, for the log.
    pub name: String,
    /// Index; it is the Interface ID of RFC 5340 2.9 as well.
    pub index: u32,
    /// Link-local address, source of every packet.
    pub link_local: Ipv6Addr,
    /// MTU in bytes, which OSPF compares with the neighbour's.
    pub mtu: u16,
    /// The largest IP packet in bytes that the way behind it carries: [`Self::mtu`], or less.
    pub carries: u16,
    /// Its area.
    pub area: Ipv4Addr,
    /// Its kind.
    pub network: OspfNetwork,
    /// Router Priority.
    pub priority: u8,
    /// Output cost.
    pub cost: u16,
    /// Intervals of BFD, where it is used.
    pub bfd: Option<bfd::Timers>,
    /// Keys that BFD's packets are signed with.
    pub bfd_keys: Vec<bfd::Key>,
    /// Keys that packets are signed with.
    pub keys: Option<KeyChain>,
    /// What is taken from the neighbour, where that is a router at the edge.
    pub edge: Option<Edge>,
    /// What of all these keys, and of the cookies, is rotated.
    pub rotation: Option<Rotation>,
    /// Global addresses on the interface with the lengths of their prefixes, which are advertised
    /// with its cost, each in its family.
    pub prefixes: Vec<(IpAddr, u8)>,
}

impl Interface {
    /// Whether this can take the place of `other` without its adjacencies falling.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        if self == other {
            return true;
        }
        let as_other = Self {
            cost: other.cost,
            priority: other.priority,
            keys: other.keys.clone(),
            rotation: other.rotation.clone(),
            edge: other.edge.clone(),
            prefixes: other.prefixes.clone(),
            carries: other.carries,
            ..self.clone()
        };
        as_other.is_same_to_ospf(other)
    }

    /// Whether this differs from `other` at most in what BFD or the kernel's routes alone use.
    pub(crate) fn is_same_to_ospf(&self, other: &Self) -> bool {
        if self == other {
            return true;
        }
        let as_other = Self {
            bfd: other.bfd,
            bfd_keys: other.bfd_keys.clone(),
            carries: other.carries,
            ..self.clone()
        };
        as_other == *other
    }

    /// The keys of BFD with a neighbour, of which the first one signs: of a rotation the former one, until the
    /// neighbour accepts the present one.
    pub(crate) fn bfd_keys_for(&self, neighbor: Option<NeighborRotation>) -> Vec<bfd::Key> {
        let mut keys = self.bfd_keys.clone();
        let rotates = |first: &bfd::Key| {
            let present = self.rotation.iter().flat_map(|it| &it.present);
            present
                .into_iter()
                .any(|it| *it == Credential::bfd_key(first.id))
        };
        let accepted = neighbor.is_some_and(|it| it.accepts_present);
        if !accepted && keys.first().is_some_and(rotates) {
            keys.reverse();
        }
        keys
    }
}

/// How far the neighbours on an interface are with a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotationState {
    /// SA ID of the former key, which tells this rotation from another one.
    pub former: u16,
    /// Whether all that were heard accept the present secret: it is used then.
    pub accepted: bool,
    /// Whether all use it themselves.
    pub used: bool,
}

/// The interfaces on which a secret is rotated and a neighbour was heard, by index.
pub type Rotations = BTreeMap<u32, RotationState>;

/// A host address to advertise, with the LA bit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPrefix {
    /// The address.
    pub address: IpAddr,
    /// Its metric.
    pub metric: u16,
}

/// What OSPF shall run on and advertise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// Instance ID of IPv4's instance, if IPv4 is to be routed.
    pub ipv4: Option<u8>,
    /// Interfaces.
    pub interfaces: Vec<Interface>,
    /// Anycast addresses.
    pub services: Vec<HostPrefix>,
    /// The area they are in.
    pub home: Option<Ipv4Addr>,
    /// Areas that are not like any other.
    pub areas: Vec<OspfArea>,
    /// This node's own addresses that its connections come from, one of a family; the kernel has them.
    pub sources: Vec<IpAddr>,
    /// Anycast addresses of the configuration, offered now or not, and this node's own.
    pub reserved: Vec<IpAddr>,
    /// Outer addresses of the tunnels' ends.
    pub endpoints: BTreeSet<IpAddr>,
    /// Index of the underlay's interface.
    pub underlay: Option<u32>,
}

/// What can be asked of the routing thread, and where the answer goes.
#[derive(Debug)]
pub enum View {
    /// The interfaces.
    Interfaces(oneshot::Sender<Vec<InFamily<OspfInterface>>>),
    /// The neighbours.
    Neighbors(oneshot::Sender<Vec<InFamily<NeighborView>>>),
    /// The link-state database.
    Database(oneshot::Sender<Vec<InFamily<LsaView>>>),
    /// The routes computed.
    Routes(oneshot::Sender<Vec<InFamily<OspfRoute>>>),
    /// OSPF as a whole, for status.
    Summary(oneshot::Sender<Option<OspfStatus>>),
    /// BFD and its sessions; none without it.
    Bfd(oneshot::Sender<Option<BfdStatus>>),
}

/// What the routing thread is asked.
pub(crate) enum Request {
    /// Another `[ospf]`, and who is told once it holds and all routes are where it says.
    Configure(Box<Ospf>, oneshot::Sender<()>),
    Sync(Desired),
    CheckRoutes,
    LookAround,
    Drain(bool),
    Show(View),
    End(Ending),
}
