//! An interface and everything remembered about it, RFC 2328 9 and RFC 5340 4.1.2.

mod election;
mod fsm;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::auth::{KeyChain, ProtocolId, Signer, WallTime};
use crate::clocked::Clock;
use crate::config::{InterfaceConfig, InterfaceKind, Time};
use crate::lsdb::DbId;
use crate::neighbor::{Neighbor, NeighborState, Neighbors};
use crate::rotation::Signs;
use crate::wire::{ALL_D_ROUTERS, ALL_SPF_ROUTERS, HEADER_LEN, IPV6_HEADER_LEN, LsaHeader, LsaKey};

pub(crate) use election::{Candidate, Elected, elect};
pub use fsm::InterfaceState;
pub(crate) use fsm::{InterfaceEvent, Next, transition};

/// RFC 8200 5: every IPv6 link carries packets of this many bytes.
const IPV6_MIN_MTU: usize = 1280;

/// The interface data structure.
#[derive(Clone, Debug)]
pub(crate) struct Interface {
    pub(crate) config: InterfaceConfig,
    pub(crate) state: InterfaceState,
    pub(crate) neighbors: Neighbors,
    /// Designated Router and Backup as we see them.
    pub(crate) elected: Elected,
    /// When listening for them is over.
    pub(crate) wait_at: Option<Time>,
    /// When the next periodic Hello is due.
    pub(crate) hello_at: Option<Time>,
    /// When a Hello out of turn is due.
    pub(crate) extra_hello_at: Option<Time>,
    /// How often the Grace-LSA is still to be sent before the first Hello, and when.
    pub(crate) graces: u8,
    pub(crate) grace_at: Option<Time>,
    /// When the last Hello out of turn was sent.
    pub(crate) last_extra_hello: Option<Time>,
    /// Acknowledgments to be sent together, and when.
    pub(crate) delayed_acks: BTreeMap<LsaKey, LsaHeader>,
    pub(crate) ack_at: Option<Time>,
    /// LSAs to be flooded out of it when the present call ends.
    pub(crate) flood: BTreeSet<(DbId, LsaKey)>,
    /// Whether packets are signed with a key whose time is over.
    pub(crate) key_expired: bool,
}

impl Interface {
    /// What the neighbours append to their secrets. FRR before 9.1 takes no other order than its own; where there
    /// is a router of another kind too, or none yet, it is as RFC 7166 has it.
    pub(crate) fn heard_protocol_id(&self) -> ProtocolId {
        let mut heard = self.neighbors.values().filter_map(|it| it.protocol_id);
        match heard.next() {
            Some(first) if heard.all(|other| other == first) => first,
            _ => ProtocolId::default(),
        }
    }

    /// Which of the two keys of a rotation signs: the present one if every neighbour accepts it, and both as long as
    /// nothing is known of any.
    pub(crate) fn signs(&self) -> Signs {
        let Some(rotation) = &self.config.rotation else {
            return Signs::Present;
        };
        let neighbors = self.neighbors.values();
        let known = neighbors.filter_map(|neighbor| neighbor.rotation(rotation));
        let all = known
            .map(|it| it.accepts_present)
            .reduce(|all, it| all && it);
        match all {
            Some(true) => Signs::Present,
            Some(false) => Signs::Former,
            None => Signs::Both,
        }
    }

    /// The keys that sign, one after the other.
    pub(crate) fn signers(&self, wall: WallTime) -> Vec<Signer<'_>> {
        let Some(chain) = &self.config.authentication else {
            return Vec::new();
        };
        let former = self.config.rotation.as_ref().map(|it| it.former);
        let of =
            |is_former: bool| chain.signer(wall, |key| (former == Some(key.sa_id)) == is_former);
        let (former, present) = match self.signs() {
            Signs::Present => (None, of(false)),
            Signs::Former => (of(true), None),
            Signs::Both => (of(true), of(false)),
        };
        former.into_iter().chain(present).collect()
    }

    pub(crate) fn new(config: InterfaceConfig) -> Self {
        Self {
            config,
            state: InterfaceState::Down,
            neighbors: Neighbors::new(),
            elected: Elected::default(),
            wait_at: None,
            hello_at: None,
            extra_hello_at: None,
            graces: 0,
            grace_at: None,
            last_extra_hello: None,
            delayed_acks: BTreeMap::new(),
            ack_at: None,
            flood: BTreeSet::new(),
            key_expired: false,
        }
    }

    /// Whether OSPF packets are sent and received.
    pub(crate) fn is_up(&self) -> bool {
        self.state > InterfaceState::Loopback
    }

    /// Whether its prefixes are advertised.
    pub(crate) fn advertises(&self) -> bool {
        self.state != InterfaceState::Down
    }

    /// Bytes an OSPF body may have to go unfragmented.
    pub(crate) fn body_room(&self) -> usize {
        let keys = self.config.authentication.as_ref();
        let trailer = keys.map_or(0, KeyChain::overhead);
        usize::from(self.config.mtu).max(IPV6_MIN_MTU) - IPV6_HEADER_LEN - HEADER_LEN - trailer
    }

    /// Where packets for one neighbour go.
    pub(crate) fn unicast(&self, neighbor: Ipv6Addr) -> Ipv6Addr {
        match self.config.kind {
            // RFC 2328 8.1: on a point-to-point link everything goes to AllSPFRouters.
            InterfaceKind::PointToPoint | InterfaceKind::Loopback => ALL_SPF_ROUTERS,
            InterfaceKind::Broadcast => neighbor,
        }
    }

    /// Where floods and delayed acknowledgments go, RFC 2328 13.3 (5) and 13.5.
    pub(crate) fn multicast(&self) -> Ipv6Addr {
        match self.state {
            InterfaceState::DrOther | InterfaceState::Waiting => ALL_D_ROUTERS,
            _ => ALL_SPF_ROUTERS,
        }
    }

    /// Whether we are Designated Router or Backup.
    pub(crate) fn is_dr_or_bdr(&self) -> bool {
        matches!(self.state, InterfaceState::Dr | InterfaceState::Backup)
    }

    /// RFC 2328 10.4: whether a neighbour should become adjacent.
    pub(crate) fn wants_adjacency(&self, router_id: Ipv4Addr) -> bool {
        self.config.kind == InterfaceKind::PointToPoint
            || self.is_dr_or_bdr()
            || self.is_elected(router_id)
    }

    /// Whether a neighbour is Designated Router or Backup Designated Router.
    pub(crate) fn is_elected(&self, router_id: Ipv4Addr) -> bool {
        self.elected.dr == Some(router_id) || self.elected.bdr == Some(router_id)
    }

    /// The neighbours that are Full, or as good as that.
    pub(crate) fn full(&self) -> impl Iterator<Item = (Ipv4Addr, &Neighbor)> {
        let neighbors = self.neighbors.iter().map(|(id, neighbor)| (*id, neighbor));
        neighbors.filter(|(_, neighbor)| neighbor.is_adjacent())
    }

    /// The transit network it attaches to, as Router ID and Interface ID of the Designated Router:
    /// only once we are Full with that one, or are it and Full with any neighbour (RFC 5340 4.4.3.2).
    pub(crate) fn transit_network(&self, own: Ipv4Addr) -> Option<(Ipv4Addr, u32)> {
        if self.config.kind != InterfaceKind::Broadcast || self.state == InterfaceState::Waiting {
            return None;
        }
        let dr = self.elected.dr?;
        if dr == own {
            return self.full().next().map(|_| (own, self.config.id));
        }
        let (_, neighbor) = self.full().find(|(router_id, _)| *router_id == dr)?;
        Some((dr, neighbor.interface_id))
    }

    /// Until when it may yet become a transit network, if it is not one: until a Designated Router is
    /// elected, and while an adjacency is being formed, for the dead interval at most.
    pub(crate) fn undecided_until(&self, now: Time) -> Option<Time> {
        if self.config.kind != InterfaceKind::Broadcast {
            return None;
        }
        if self.state == InterfaceState::Waiting {
            return self.wait_at;
        }
        let forming =
            |n: &&Neighbor| n.state >= NeighborState::ExStart && n.state < NeighborState::Full;
        let ends = self.neighbors.values().filter(forming);
        let ends = ends.map(|neighbor| neighbor.since + self.config.dead());
        ends.filter(|end| *end > now).max()
    }

    /// Gives each neighbour at least so much time from now before its inactivity timer fires.
    pub(crate) fn give_time(&mut self, now: Time, grace: Duration) {
        for neighbor in self.neighbors.values_mut() {
            neighbor.inactive_at = neighbor.inactive_at.max(now + grace);
        }
    }
}

impl Clock for Interface {
    fn next_timeout(&self) -> Option<Time> {
        let neighbors = self.neighbors.values().map(Neighbor::next_timeout).min();
        [
            self.hello_at,
            self.extra_hello_at,
            self.grace_at,
            self.ack_at,
            self.wait_at,
            neighbors,
        ]
        .into_iter()
        .flatten()
        .min()
    }
}
