//! Helping a neighbour with its graceful restart: RFC 3623 3, RFC 5187 4.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::Core;
use super::past_helps::PastHelp;
use crate::config::{LS_REFRESH_TIME, Time};
use crate::event::Event;
use crate::graceful::{HelpEnd, HelpRefusal, Phase};
use crate::interface::InterfaceEvent;
use crate::lsdb::DbId;
use crate::neighbor::{Confirmation, Help, NeighborEvent, NeighborState};
use crate::peer::Peer;
use crate::wire::{Grace, LsaHeader, LsaKey, LsaType};

/// How long a neighbour that says it is done may still take until our side of the exchange is over.
const LAST_REQUESTS: Duration = Duration::from_secs(2);

impl Core {
    pub(crate) fn is_helping(&self, peer: Peer) -> bool {
        self.neighbor(peer)
            .is_some_and(|neighbor| neighbor.help.is_some())
    }

    pub(crate) fn set_graceful_helper(&mut self, helper: bool, strict: bool) {
        self.config.graceful_helper = helper;
        self.config.graceful_strict = strict;
    }

    /// A Grace-LSA has been installed. The router that restarts is its originator, and not necessarily
    /// the one that sent it.
    pub(crate) fn receive_grace(
        &mut self,
        id: u32,
        header: &LsaHeader,
        grace: Grace,
        restart: Option<Phase>,
    ) {
        let now = self.now;
        let peer = Peer::new(id, header.key.adv);
        if self.is_ours(peer.router_id) {
            return;
        }
        if header.is_max_age() {
            self.grace_withdrawn(peer);
            return;
        }
        let until = match self.may_help(peer, header, grace, restart) {
            Ok(until) => until,
            Err(why) => {
                let refused = &mut self.counters.graceful.helps_refused;
                *refused.entry(why).or_default() += 1;
                self.event(Event::HelpRefused { peer, why });
                return;
            }
        };
        let Some(neighbor) = self.neighbor_mut(peer) else {
            return;
        };
        let since = neighbor.help.map_or(now, |help| help.since);
        let renewed = neighbor.help.is_some();
        neighbor.help = Some(Help {
            since,
            until,
            reason: grace.reason,
            done: false,
        });
        if renewed {
            return;
        }
        self.counters.graceful.helps_begun += 1;
        self.event(Event::HelpBegun {
            peer,
            seconds: until.saturating_sub(now).as_secs(),
            reason: grace.reason,
        });
    }

    /// RFC 3623 3.1: whether to help, and until when.
    fn may_help(
        &self,
        peer: Peer,
        header: &LsaHeader,
        grace: Grace,
        restart: Option<Phase>,
    ) -> Result<Time, HelpRefusal> {
        let now = self.now;
        // (4)
        if !self.config.graceful_helper {
            return Err(HelpRefusal::Disabled);
        }
        // (5)
        if restart.is_some() {
            return Err(HelpRefusal::Restarting);
        }
        // (1)
        let neighbor = self
            .neighbor(peer)
            .filter(|neighbor| neighbor.is_adjacent())
            .ok_or(HelpRefusal::NotAdjacent)?;
        // (3). RFC 3623 B.1: a grace period beyond LSRefreshTime would outlive the router's LSAs.
        let period = Duration::from_secs(grace.period.into()).min(LS_REFRESH_TIME);
        let left = period.saturating_sub(Duration::from_secs(header.age.into()));
        if left.is_zero() {
            return Err(HelpRefusal::Expired);
        }
        // (2). One that is helped already has to be sent it again, not examined again.
        let unaware = |key: &LsaKey| {
            let Some(db) = self.db_for(peer.interface, key.ty) else {
                return false;
            };
            let entry = self.databases.get(&db).and_then(|db| db.get(key));
            entry.is_some_and(|entry| entry.changed && concerns(*key, peer.router_id))
        };
        let strict = self.config.graceful_strict && neighbor.help.is_none();
        if strict && neighbor.unacknowledged.keys().any(unaware) {
            return Err(HelpRefusal::Changed);
        }
        Ok(now + left)
    }

    /// RFC 3623 3.2 (1): the neighbour has flushed its Grace-LSA. It is Full with us then, but we
    /// may still wait for what we have requested of it.
    fn grace_withdrawn(&mut self, peer: Peer) {
        let now = self.now;
        let Some(neighbor) = self.neighbor_mut(peer) else {
            return;
        };
        let state = neighbor.state;
        let Some(help) = &mut neighbor.help else {
            return;
        };
        if state == NeighborState::Full {
            self.end_help(peer, HelpEnd::Completed);
        } else {
            help.done = true;
            help.until = now + LAST_REQUESTS;
        }
    }

    /// A neighbour that we help has changed its state, which concerns no other router.
    pub(crate) fn helped_neighbor_changed(&mut self, peer: Peer, to: NeighborState) {
        let help = self.neighbor(peer).and_then(|neighbor| neighbor.help);
        if help.is_some_and(|help| help.done) && to == NeighborState::Full {
            self.end_help(peer, HelpEnd::Completed);
        }
    }

    /// RFC 3623 3.2 (2).
    pub(crate) fn end_help_at_expiry(&mut self, peer: Peer) {
        let help = self.neighbor_mut(peer).and_then(|neighbor| neighbor.help);
        let why = if help.is_some_and(|help| help.done) {
            HelpEnd::NotFull
        } else {
            HelpEnd::Expired
        };
        self.end_help(peer, why);
    }

    /// RFC 3623 3.2 (3): what has changed would be flooded to those we help, and they cannot take it
    /// into account.
    pub(crate) fn end_helps_for_change(&mut self, db: DbId, key: LsaKey, from: Option<Peer>) {
        if !self.config.graceful_strict {
            return;
        }
        let helped: Vec<Peer> = self
            .interfaces
            .iter()
            .filter(|(id, interface)| self.config.shares(db, **id, interface.config.area))
            .flat_map(|(id, interface)| {
                let helped = interface.neighbors.iter().filter(|(_, n)| n.help.is_some());
                helped.map(|(router_id, _)| Peer::new(*id, *router_id))
            })
            .filter(|peer| Some(*peer) != from && concerns(key, peer.router_id))
            .collect();
        for peer in helped {
            let why = HelpEnd::TopologyChanged;
            self.end_help(peer, why);
        }
    }

    /// An event that removes the neighbour ends the help first.
    pub(crate) fn end_help_because(&mut self, peer: Peer, event: NeighborEvent) {
        let why = match event {
            NeighborEvent::LlDown | NeighborEvent::KillNbr => HelpEnd::InterfaceDown,
            NeighborEvent::InactivityTimer => HelpEnd::Expired,
            _ => return,
        };
        self.end_help(peer, why);
    }

    /// RFC 3623 3.2: from now on our LSAs show the real state again.
    pub(crate) fn end_help(&mut self, peer: Peer, why: HelpEnd) {
        let Some(neighbor) = self.neighbor_mut(peer) else {
            return;
        };
        if neighbor.help.take().is_none() {
            return;
        }
        if neighbor.state != NeighborState::Full {
            neighbor.confirmation = Confirmation::Awaited;
            self.counters.adjacencies_lost += 1;
        }
        let ended = &mut self.counters.graceful.helps_ended;
        *ended.entry(why).or_default() += 1;
        self.past_helps.add(peer, PastHelp { at: self.now, why });
        self.event(Event::HelpEnded { peer, why });
        // RFC 3623 3.2: recalculate the Designated Router, then originate.
        self.interface_event(peer.interface, InterfaceEvent::NeighborChange);
        self.content_changed();
    }

    /// How our last helps ended.
    pub(crate) fn past_helps(&self) -> impl Iterator<Item = (Peer, PastHelp)> {
        self.past_helps.iter()
    }

    /// How our last help with a neighbour ended.
    pub(crate) fn past_help(&self, peer: Peer) -> Option<PastHelp> {
        self.past_helps.get(peer)
    }
}

/// Whether a changed LSA matters to a router that restarts: its own are its own affair, and those
/// of other types say nothing about routes (RFC 3623 3.2 (3), RFC 5187 4).
fn concerns(key: LsaKey, router_id: Ipv4Addr) -> bool {
    key.adv != router_id && key.ty.is_known() && key.ty != LsaType::GRACE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_to_a_restarting_router() {
        let (own, other) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        let key = |ty, adv| LsaKey { ty, id: 1, adv };
        assert!(concerns(key(LsaType::ROUTER, other), own));
        assert!(concerns(key(LsaType::INTRA_AREA_PREFIX, other), own));
        assert!(!concerns(key(LsaType::ROUTER, own), own));
        assert!(!concerns(key(LsaType::GRACE, other), own));
        assert!(!concerns(key(LsaType(0x8123), other), own));
    }
}
