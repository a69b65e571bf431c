//! A neighbour and everything remembered about it, RFC 2328 10 and RFC 5340 4.1.3.

mod fsm;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::auth::ProtocolId;
use crate::config::Time;
use crate::rotation::{Credential, NeighborRotation, Rotation};
use crate::wire::{
    DatabaseDescription, DdFlags, GraceReason, LsaHeader, LsaKey, Options, PacketType,
};

pub(crate) use fsm::{NeighborEvent, transition};
pub use fsm::{NeighborState, Reason};

/// The neighbour data structure.
#[derive(Clone, Debug)]
pub(crate) struct Neighbor {
    pub(crate) state: NeighborState,
    /// Source of its packets.
    pub(crate) address: Ipv6Addr,
    /// What it calls its end of the link.
    pub(crate) interface_id: u32,
    pub(crate) priority: u8,
    /// The Designated Router and its Backup as it sees them.
    pub(crate) dr: Ipv4Addr,
    pub(crate) bdr: Ipv4Addr,
    pub(crate) options: Options,
    /// The MTU that its last Database Description packet named, if that was its IPv6 one.
    pub(crate) mtu: Option<u16>,
    /// Whether we were in its last Hello.
    pub(crate) hears_us: bool,
    /// When the state was entered.
    pub(crate) since: Time,
    /// Until when it is likely to become Full shortly.
    pub(crate) forming_until: Option<Time>,
    /// When the dead interval ends.
    pub(crate) inactive_at: Time,
    pub(crate) exchange: Exchange,
    /// Newest instances it described and we lack: the Link state request list.
    pub(crate) requests: BTreeMap<LsaKey, LsaHeader>,
    /// Those of `requests` asked for in the packet that is on its way.
    pub(crate) requested: BTreeSet<LsaKey>,
    pub(crate) request_at: Option<Time>,
    /// How often that packet was repeated without bringing anything.
    pub(crate) futile_requests: u8,
    /// Link state retransmission list: what it has not acknowledged and when to send it again. The
    /// LSAs themselves are in the database.
    pub(crate) unacknowledged: BTreeMap<LsaKey, Time>,
    /// When to look through `unacknowledged`; never later than its earliest entry.
    pub(crate) retransmit_at: Option<Time>,
    pub(crate) confirmation: Confirmation,
    /// Its graceful restart, while we help with it.
    pub(crate) help: Option<Help>,
    /// Last sequence number of authenticated packets of each type (RFC 7166 4.6).
    pub(crate) sequences: BTreeMap<PacketType, u64>,
    /// What it appended to the secret that its last packet was signed with.
    pub(crate) protocol_id: Option<ProtocolId>,
    /// SA ID of the key that its last packet was signed with.
    pub(crate) signs_with: Option<u16>,
    /// What it accepts, if its last Hello said so.
    pub(crate) accepts: Option<Vec<Credential>>,
}

/// A graceful restart of a neighbour that we help with: RFC 3623 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Help {
    pub(crate) since: Time,
    /// When its grace period ends.
    pub(crate) until: Time,
    pub(crate) reason: GraceReason,
    /// It has flushed its Grace-LSA.
    pub(crate) done: bool,
}

/// Whether a Full neighbour knows that we are adjacent, and so can send back what we send it.
///
/// Until it does, it may lack the way back: our new Router-LSA can be dropped for MinLSArrival. So
/// traffic that has another way keeps it for that long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Confirmation {
    /// It has not acknowledged a Router-LSA of ours with the link to it.
    Awaited,
    /// It has; its routes should be in place at this time.
    Installing(Time),
    /// Done.
    Given,
}

/// The database exchange with a neighbour, RFC 2328 10.6 to 10.8.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exchange {
    /// As slave, the sequence number that the master began with, and when it last said so.
    pub(crate) began: Option<(u32, Time)>,
    /// In ExStart, the sequence number that the slave to be has claimed to be the master with.
    pub(crate) claimed: Option<u32>,
    /// The neighbour, which will be the master, has begun already: nothing to claim.
    pub(crate) yields: bool,
    /// Whether we are the master.
    pub(crate) master: bool,
    pub(crate) sequence: u32,
    /// What is still to be described: the Database summary list.
    pub(crate) summary: VecDeque<LsaKey>,
    /// The last packet sent, for repetition, and whether it said that more follows.
    pub(crate) last_sent: Option<DatabaseDescription>,
    /// The last packet received, to know a duplicate.
    pub(crate) last_received: Option<(DdFlags, Options, u32)>,
    /// When to repeat the last packet.
    pub(crate) repeat_at: Option<Time>,
    /// Until when a slave keeps its last packet for a master that missed it (RFC 2328 10.8).
    pub(crate) keep_until: Option<Time>,
}

impl Neighbor {
    pub(crate) fn new(address: Ipv6Addr, interface_id: u32, now: Time, dead: Duration) -> Self {
        Self {
            state: NeighborState::Down,
            address,
            interface_id,
            priority: 0,
            dr: Ipv4Addr::UNSPECIFIED,
            bdr: Ipv4Addr::UNSPECIFIED,
            options: Options::default(),
            mtu: None,
            hears_us: false,
            since: now,
            forming_until: None,
            inactive_at: now + dead,
            exchange: Exchange {
                // RFC 2328 10.8: "a unique value"; time of day is its suggestion.
                sequence: (now.as_millis() & 0xffff_ffff) as u32,
                ..Exchange::default()
            },
            requests: BTreeMap::new(),
            requested: BTreeSet::new(),
            request_at: None,
            futile_requests: 0,
            unacknowledged: BTreeMap::new(),
            retransmit_at: None,
            confirmation: Confirmation::Awaited,
            help: None,
            sequences: BTreeMap::new(),
            protocol_id: None,
            signs_with: None,
            accepts: None,
        }
    }

    /// How far it is in a rotation, once it has been heard. One that does not say what it accepts has one key, which
    /// is the one that it signs with.
    pub(crate) fn rotation(&self, rotation: &Rotation) -> Option<NeighborRotation> {
        let uses_present = self.signs_with? != rotation.former;
        let said = self.accepts.as_ref();
        let said = said.map(|accepted| rotation.is_accepted(accepted));
        Some(NeighborRotation {
            accepts_present: said.unwrap_or(uses_present),
            uses_present,
        })
    }

    /// RFC 2328 10.3: what is cleared when an adjacency ends. The DD sequence number stays.
    pub(crate) fn clear_lists(&mut self) {
        self.exchange = Exchange {
            sequence: self.exchange.sequence,
            began: self.exchange.began,
            yields: self.exchange.yields,
            ..Exchange::default()
        };
        self.requests.clear();
        self.requested.clear();
        self.request_at = None;
        self.futile_requests = 0;
        self.unacknowledged.clear();
        self.retransmit_at = None;
        if self.help.is_none() {
            self.confirmation = Confirmation::Awaited;
        }
    }

    /// Whether it counts as adjacent: Full, or helped with its restart, in which case its state does
    /// not matter (RFC 3623 3).
    pub(crate) fn is_adjacent(&self) -> bool {
        self.state == NeighborState::Full || self.help.is_some()
    }

    /// When its inactivity timer fires if it stays silent: not while it is helped.
    pub(crate) fn silent_until(&self) -> Time {
        self.help
            .map_or(self.inactive_at, |help| self.inactive_at.max(help.until))
    }

    /// Puts an LSA on the retransmission list.
    pub(crate) fn expect_ack(&mut self, key: LsaKey, again_at: Time) {
        self.unacknowledged.insert(key, again_at);
        self.retransmit_at = Some(self.retransmit_at.map_or(again_at, |at| at.min(again_at)));
    }

    /// Takes an LSA off the retransmission list; whether it was there.
    pub(crate) fn acknowledged(&mut self, key: &LsaKey) -> bool {
        let was = self.unacknowledged.remove(key).is_some();
        if self.unacknowledged.is_empty() {
            self.retransmit_at = None;
        }
        was
    }

    /// Takes an LSA off the request list; whether it was there.
    pub(crate) fn satisfied(&mut self, key: &LsaKey) -> bool {
        if self.requested.remove(key) && self.requested.is_empty() {
            self.request_at = None;
        }
        self.futile_requests = 0;
        self.requests.remove(key).is_some()
    }

    pub(crate) fn next_timeout(&self) -> Time {
        let installed_at = match self.confirmation {
            Confirmation::Installing(at) => Some(at),
            Confirmation::Awaited | Confirmation::Given => None,
        };
        [
            installed_at,
            self.exchange.repeat_at,
            self.exchange.keep_until,
            self.request_at,
            self.retransmit_at,
            self.help.map(|help| help.until),
        ]
        .into_iter()
        .flatten()
        .fold(self.silent_until(), Time::min)
    }
}

/// Router IDs are the key of a neighbour on its interface (RFC 5340 2.11).
pub(crate) type Neighbors = BTreeMap<Ipv4Addr, Neighbor>;
