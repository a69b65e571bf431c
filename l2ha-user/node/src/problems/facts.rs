//! What is known of the node at one moment, for the judgement.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use control::{
    BfdSession, DoubledRouterId, InFamily, KeptOut, OspfInterface, ServiceStatus, TunnelStatus,
    Twin, UnderlayStatus,
};
use dataplane::Reason;
use ospfv3::{Family, NeighborState, NeighborView};

/// Everything that the judgement looks at.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) node: NodeFacts,
    pub(crate) routing: RoutingFacts,
    pub(crate) underlay: UnderlayStatus,
    pub(crate) tunnels: Vec<TunnelFacts>,
    pub(crate) services: Vec<ServiceStatus>,
}

/// What the parts of the node report of themselves.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeFacts {
    /// Since the daemon's start.
    pub(crate) uptime: Duration,
    /// Why the configuration file was refused when it was read last.
    pub(crate) reload_refused: Option<String>,
    /// Why a port or protocol of the tunnels could not be reserved.
    pub(crate) port_taken: Option<String>,
    /// Why what the next start needs to know is not written down.
    pub(crate) state_not_kept: Option<String>,
    /// Why an address of a service could not be put in place.
    pub(crate) service_refused: Option<String>,
    /// What was repaired again and again: the subject, and what was found.
    pub(crate) undone: Vec<(String, String)>,
    /// Whether the log has lost lines lately.
    pub(crate) log_lost: bool,
    /// Those who joined the cluster, if nodes can.
    pub(crate) membership: Option<control::Membership>,
}

/// The routing thread.
#[derive(Clone, Debug, Default)]
pub(crate) enum RoutingFacts {
    /// OSPF is not configured.
    #[default]
    None,
    /// It has ended, and why.
    Ended(String),
    /// It has not answered in time.
    Silent,
    /// It answers.
    Runs(OspfFacts),
}

/// OSPF as a whole.
#[derive(Clone, Debug)]
pub(crate) struct OspfFacts {
    pub(crate) router_id: Ipv4Addr,
    /// Between two Hellos.
    pub(crate) hello: Duration,
    /// Silence that means death.
    pub(crate) dead: Duration,
    /// Whether IPv4 is routed too.
    pub(crate) ipv4: bool,
    /// Whether the kernel has refused a route lately.
    pub(crate) routes_refused: bool,
    /// Routes that are kept out of the kernel and should not be advertised.
    pub(crate) kept_out: Vec<KeptOut>,
    /// Other routers with this node's Router ID.
    pub(crate) twins: Vec<Twin>,
    /// Router IDs that two neighbours have.
    pub(crate) doubled_router_ids: Vec<DoubledRouterId>,
}

/// A tunnel.
#[derive(Clone, Debug)]
pub(crate) struct TunnelFacts {
    pub(crate) status: TunnelStatus,
    /// Whether OSPF shall run over it.
    pub(crate) ospf: bool,
    /// Whether BFD shall watch its neighbours.
    pub(crate) bfd: bool,
    /// Whether it has keys of its own; and whether the former ones, too.
    pub(crate) own_keys: Option<bool>,
    /// The MTU in bytes that the underlay leaves, when the underlay is there.
    pub(crate) room: Option<u32>,
    /// Why packets of its session were refused lately.
    pub(crate) refused: BTreeSet<Reason>,
    /// Refused packets that were seen lately, of its session or from its peer.
    pub(crate) samples: Vec<Sample>,
    /// Whether packets of sessions that nobody has came lately, from anywhere.
    pub(crate) unknown_sessions: bool,
    /// Whether packets of OSPF came over it lately, whether they reached OSPF or not.
    pub(crate) ospf_arrives: bool,
    /// What OSPF says of its interface.
    pub(crate) interfaces: Vec<InFamily<OspfInterface>>,
    /// The neighbours over it.
    pub(crate) neighbors: Vec<InFamily<NeighborView>>,
    /// BFD's sessions over it.
    pub(crate) sessions: Vec<BfdSession>,
    /// Adjacencies lost over it lately.
    pub(crate) losses: usize,
    /// How long ago the last one was, if that is not long ago.
    pub(crate) lost: Option<Duration>,
    /// Whether the kernel has refused to send OSPF's packets lately.
    pub(crate) send_refused: bool,
}

/// A refused packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sample {
    pub(crate) reason: Reason,
    /// Outer source address.
    pub(crate) source: IpAddr,
    /// Outer UDP source port.
    pub(crate) port: Option<u16>,
    /// The session id that it carries.
    pub(crate) session: Option<u32>,
}

impl TunnelFacts {
    /// The best state of a neighbour in a family.
    pub(crate) fn state(&self, family: Family) -> Option<NeighborState> {
        let of = self.neighbors.iter().filter(|it| it.family == family);
        of.map(|it| it.entry.state).max()
    }

    /// Whether it has the adjacencies it shall have.
    pub(crate) fn is_adjacent(&self, ospf: &OspfFacts) -> bool {
        let full = |family| self.state(family) == Some(NeighborState::Full);
        full(Family::Ipv6) && (!ospf.ipv4 || full(Family::Ipv4))
    }

    /// Whether its neighbours have only just become what they are.
    pub(crate) fn is_young(&self, time: Duration) -> bool {
        let mut ages = self.neighbors.iter().map(|it| it.entry.since_ms);
        ages.any(|ms| Duration::from_millis(ms) < time)
    }

    /// Whether its peer's frames come, and OSPF knows no neighbour.
    pub(crate) fn is_unheard(&self) -> bool {
        self.ospf && self.neighbors.is_empty() && self.status.heard_ms.is_some_and(|ms| ms < 10_000)
    }

    /// A packet refused for a reason, if one was seen.
    pub(crate) fn sample(&self, reason: Reason) -> Option<&Sample> {
        self.samples.iter().find(|sample| sample.reason == reason)
    }
}
