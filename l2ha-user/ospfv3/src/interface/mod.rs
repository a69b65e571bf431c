//! An interface and everything remembered about it, RFC 2328 9 and RFC 5340 4.1.2.

mod fsm;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;

use crate::config::{InterfaceConfig, InterfaceKind, Time};
use crate::lsdb::DbId;
use crate::neighbor::{NeighborState, Neighbors};
use crate::wire::{ALL_SPF_ROUTERS, HEADER_LEN, IPV6_HEADER_LEN, LsaHeader, LsaKey};

pub use fsm::InterfaceState;
pub(crate) use fsm::{InterfaceEvent, transition};

/// RFC 8200 5: every IPv6 link carries packets of this many bytes.
const IPV6_MIN_MTU: usize = 1280;

/// The interface data structure.
#[derive(Clone, Debug)]
pub(crate) struct Interface {
    pub(crate) config: InterfaceConfig,
    pub(crate) state: InterfaceState,
    pub(crate) neighbors: Neighbors,
    /// When the next periodic Hello is due.
    pub(crate) hello_at: Option<Time>,
    /// When a Hello out of turn is due.
    pub(crate) extra_hello_at: Option<Time>,
    /// When the last Hello out of turn was sent.
    pub(crate) last_extra_hello: Option<Time>,
    /// Acknowledgments to be sent together, and when.
    pub(crate) delayed_acks: BTreeMap<LsaKey, LsaHeader>,
    pub(crate) ack_at: Option<Time>,
    /// LSAs to be flooded out of it when the present call ends.
    pub(crate) flood: BTreeSet<(DbId, LsaKey)>,
}

impl Interface {
    pub(crate) fn new(config: InterfaceConfig) -> Self {
        Self {
            config,
            state: InterfaceState::Down,
            neighbors: Neighbors::new(),
            hello_at: None,
            extra_hello_at: None,
            last_extra_hello: None,
            delayed_acks: BTreeMap::new(),
            ack_at: None,
            flood: BTreeSet::new(),
        }
    }

    /// Whether packets flow.
    pub(crate) fn speaks(&self) -> bool {
        self.state > InterfaceState::Loopback
    }

    /// Whether its prefixes are advertised.
    pub(crate) fn advertises(&self) -> bool {
        self.state != InterfaceState::Down
    }

    /// Bytes an OSPF body may have to go unfragmented.
    pub(crate) fn body_room(&self) -> usize {
        usize::from(self.config.mtu).max(IPV6_MIN_MTU) - IPV6_HEADER_LEN - HEADER_LEN
    }

    /// Where packets for one neighbour go.
    pub(crate) fn unicast(&self, neighbor: Ipv6Addr) -> Ipv6Addr {
        match self.config.kind {
            // RFC 2328 8.1: on a point-to-point link everything goes to AllSPFRouters.
            InterfaceKind::PointToPoint | InterfaceKind::Loopback => {
                let _ = neighbor;
                ALL_SPF_ROUTERS
            }
        }
    }

    /// Whether any neighbour is in Exchange or Loading.
    pub(crate) fn exchanging(&self) -> bool {
        self.neighbors
            .values()
            .any(|n| matches!(n.state, NeighborState::Exchange | NeighborState::Loading))
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        let neighbors = self
            .neighbors
            .values()
            .map(super::neighbor::Neighbor::next_timeout)
            .min();
        [self.hello_at, self.extra_hello_at, self.ack_at, neighbors]
            .into_iter()
            .flatten()
            .min()
    }
}
