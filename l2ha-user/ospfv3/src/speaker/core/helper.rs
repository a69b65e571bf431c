//! Helping a neighbour with its graceful restart: RFC 3623 3, RFC 5187 4.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde::Serialize;

use crate::config::{LS_REFRESH_TIME, Time};
use crate::event::Event;
use crate::graceful::{HelpEnd, HelpRefusal};
use crate::interface::InterfaceEvent;
use crate::lsdb::DbId;
use crate::neighbor::{Confirmation, Help, Neighbor, NeighborEvent, NeighborState};
use crate::peer::Peer;
use crate::speaker::Speaker;
use crate::wire::{Grace, GraceReason, LsaHeader, LsaKey, LsaType};

/// How long a neighbour that says it is done may still take until our side of the exchange is over.
const LAST_REQUESTS: Duration = Duration::from_secs(2);
/// Helps that are over and remembered.
const MAX_PAST: usize = 64;

/// A help that goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct HelpView {
    /// Milliseconds since it began.
    pub since_ms: u64,
    /// Milliseconds until it ends if the neighbour does not come back.
    pub remaining_ms: u64,
    /// Why the neighbour restarts.
    pub reason: GraceReason,
    /// State of the conversation with its new life.
    pub conversation: NeighborState,
}

/// What a neighbour's graceful restarts look like from here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GracefulView {
    /// The one we help with now: the neighbour counts as Full meanwhile.
    pub help: Option<HelpView>,
    /// How the last help ended.
    pub last_end: Option<HelpEnd>,
    /// How many milliseconds ago.
    pub last_end_ms: Option<u64>,
}

/// A help that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastHelp {
    /// When.
    pub at: Time,
    /// Why.
    pub why: HelpEnd,
}

impl Speaker {
    /// The path to a neighbour is gone: BFD has failed although the neighbour's forwarding plane
    /// answers for it. That ends even our help with its restart (RFC 5882 4.3).
    pub fn path_lost(&mut self, now: Time, interface: u32, router_id: Ipv4Addr) {
        self.now = now;
        self.end_help(interface, router_id, HelpEnd::PathLost);
        self.neighbor_lost(now, interface, router_id);
    }

    pub(crate) fn is_helping(&self, id: u32, router_id: Ipv4Addr) -> bool {
        let interface = self.interfaces.get(&id);
        interface
            .and_then(|interface| interface.neighbors.get(&router_id))
            .is_some_and(|neighbor| neighbor.help.is_some())
    }

    /// A Grace-LSA has been installed. Who restarts is its originator, and not necessarily the one
    /// that sent it.
    pub(crate) fn hear_grace(&mut self, id: u32, header: &LsaHeader, grace: Grace) {
        let now = self.now;
        let router_id = header.key.adv;
        if self.is_ours(router_id) {
            return;
        }
        if header.is_max_age() {
            self.grace_withdrawn(id, router_id);
            return;
        }
        let until = match self.may_help(id, header, grace) {
            Ok(until) => until,
            Err(why) => {
                let refused = &mut self.counters.graceful.helps_refused;
                *refused.entry(why).or_default() += 1;
                self.event(Event::HelpRefused {
                    interface: id,
                    router_id,
                    why,
                });
                return;
            }
        };
        let peer = Peer {
            interface: id,
            router_id,
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
            interface: id,
            router_id,
            seconds: until.saturating_sub(now).as_secs(),
            reason: grace.reason,
        });
    }

    /// RFC 3623 3.1: whether to help, and until when.
    fn may_help(&self, id: u32, header: &LsaHeader, grace: Grace) -> Result<Time, HelpRefusal> {
        let now = self.now;
        let router_id = header.key.adv;
        // (4)
        if !self.config.graceful_helper {
            return Err(HelpRefusal::Disabled);
        }
        // (5)
        if self.restart.is_some() {
            return Err(HelpRefusal::Restarting);
        }
        // (1)
        let neighbor = self
            .interfaces
            .get(&id)
            .and_then(|interface| interface.neighbors.get(&router_id))
            .filter(|neighbor| neighbor.is_adjacent())
            .ok_or(HelpRefusal::NotAdjacent)?;
        // (3). RFC 3623 B.1: a grace period beyond LSRefreshTime would outlive the router's LSAs.
        let period = Duration::from_secs(grace.period.into()).min(LS_REFRESH_TIME);
        let left = period.saturating_sub(Duration::from_secs(header.age.into()));
        if left.is_zero() {
            return Err(HelpRefusal::Expired);
        }
        // (2). One that is helped already has to be told again, not judged again.
        let unaware = |key: &LsaKey| {
            let Some(db) = self.db_for(id, key.ty) else {
                return false;
            };
            let entry = self.databases.get(&db).and_then(|db| db.get(key));
            entry.is_some_and(|entry| entry.changed && concerns(*key, router_id))
        };
        let strict = self.config.graceful_strict && neighbor.help.is_none();
        if strict && neighbor.unacknowledged.keys().any(unaware) {
            return Err(HelpRefusal::Changed);
        }
        Ok(now + left)
    }

    /// RFC 3623 3.2 (1): the neighbour has flushed its Grace-LSA. It is Full with us then, but we
    /// may still wait for what we have requested of it.
    fn grace_withdrawn(&mut self, id: u32, router_id: Ipv4Addr) {
        let now = self.now;
        let peer = Peer {
            interface: id,
            router_id,
        };
        let Some(neighbor) = self.neighbor_mut(peer) else {
            return;
        };
        let state = neighbor.state;
        let Some(help) = &mut neighbor.help else {
            return;
        };
        if state == NeighborState::Full {
            self.end_help(id, router_id, HelpEnd::Completed);
        } else {
            help.done = true;
            help.until = now + LAST_REQUESTS;
        }
    }

    /// A neighbour that we help has changed its state, which nobody else has to know.
    pub(crate) fn helped_neighbor_changed(
        &mut self,
        id: u32,
        router_id: Ipv4Addr,
        to: NeighborState,
    ) {
        let neighbor = self
            .interfaces
            .get(&id)
            .and_then(|interface| interface.neighbors.get(&router_id));
        let done = neighbor.and_then(|n| n.help).is_some_and(|help| help.done);
        if done && to == NeighborState::Full {
            self.end_help(id, router_id, HelpEnd::Completed);
        }
    }

    /// RFC 3623 3.2 (2).
    pub(crate) fn end_help_at_expiry(&mut self, id: u32, router_id: Ipv4Addr) {
        let peer = Peer {
            interface: id,
            router_id,
        };
        let help = self.neighbor_mut(peer).and_then(|neighbor| neighbor.help);
        let why = if help.is_some_and(|help| help.done) {
            HelpEnd::NotFull
        } else {
            HelpEnd::Expired
        };
        self.end_help(id, router_id, why);
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
                helped.map(|(router_id, _)| Peer {
                    interface: *id,
                    router_id: *router_id,
                })
            })
            .filter(|peer| Some(*peer) != from && concerns(key, peer.router_id))
            .collect();
        for peer in helped {
            let why = HelpEnd::TopologyChanged;
            self.end_help(peer.interface, peer.router_id, why);
        }
    }

    /// An event that makes the neighbour vanish ends the help first.
    pub(crate) fn end_help_because(&mut self, id: u32, router_id: Ipv4Addr, event: NeighborEvent) {
        let why = match event {
            NeighborEvent::LlDown | NeighborEvent::KillNbr => HelpEnd::InterfaceDown,
            NeighborEvent::InactivityTimer => HelpEnd::Expired,
            _ => return,
        };
        self.end_help(id, router_id, why);
    }

    /// RFC 3623 3.2: from now on our LSAs say again what is.
    pub(crate) fn end_help(&mut self, id: u32, router_id: Ipv4Addr, why: HelpEnd) {
        let now = self.now;
        let peer = Peer {
            interface: id,
            router_id,
        };
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
        if self.past_helps.len() >= MAX_PAST {
            let oldest = self.past_helps.iter().min_by_key(|(_, past)| past.at);
            if let Some((key, _)) = oldest.map(|(key, past)| (*key, *past)) {
                self.past_helps.remove(&key);
            }
        }
        self.past_helps
            .insert((id, router_id), PastHelp { at: now, why });
        self.event(Event::HelpEnded {
            interface: id,
            router_id,
            why,
        });
        // RFC 3623 3.2: recalculate the Designated Router, then originate.
        self.interface_event(id, InterfaceEvent::NeighborChange);
        self.content_changed();
    }

    pub(crate) fn graceful_view(
        &self,
        id: u32,
        router_id: Ipv4Addr,
        neighbor: &Neighbor,
    ) -> GracefulView {
        let millis = |time: Time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let past = self.past_helps.get(&(id, router_id));
        GracefulView {
            help: neighbor.help.map(|help| HelpView {
                since_ms: millis(self.now.saturating_sub(help.since)),
                remaining_ms: millis(help.until.saturating_sub(self.now)),
                reason: help.reason,
                conversation: neighbor.state,
            }),
            last_end: past.map(|past| past.why),
            last_end_ms: past.map(|past| millis(self.now.saturating_sub(past.at))),
        }
    }

    /// How our last helps ended, by interface and neighbour.
    pub fn past_helps(&self) -> impl Iterator<Item = (u32, Ipv4Addr, PastHelp)> {
        self.past_helps
            .iter()
            .map(|((interface, router_id), past)| (*interface, *router_id, *past))
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
