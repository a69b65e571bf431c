//! Hello packets, sent and received: RFC 5340 4.2.1.1 and 4.2.2.1, RFC 2328 9.5 and 10.5.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::Core;
use super::authenticate::Signed;
use super::designated::Said;
use crate::config::Time;
use crate::graceful::HelpEnd;
use crate::neighbor::{Neighbor, NeighborEvent, NeighborState, Reason};
use crate::peer::Peer;
use crate::refusal::{Refusal, Refused};
use crate::wire::{ALL_SPF_ROUTERS, Family, Hello, Options, PacketBody};

/// Least time between Hellos out of turn, so that two ends do not answer each other without end.
const EXTRA_HELLO_GAP: Duration = Duration::from_millis(100);
/// How often a Grace-LSA is sent before the first Hello: no neighbour can acknowledge it yet, and the
/// Hello would end the adjacency without it (RFC 3623 2.1).
const GRACES: u8 = 3;
/// The pause between two of them.
const GRACE_GAP: Duration = Duration::from_millis(50);

impl Core {
    /// Begins to send Hellos on an interface that has come up. After a restart the Grace-LSA comes
    /// before the first Hello (RFC 3623 2.1, unplanned).
    pub(crate) fn start_hellos(&mut self, id: u32, grace_first: bool) {
        let now = self.now;
        let Some(interface) = self.interfaces.get_mut(&id).filter(|i| i.is_up()) else {
            return;
        };
        if grace_first {
            interface.graces = GRACES;
            interface.grace_at = Some(now);
        } else {
            interface.hello_at = Some(now);
        }
    }

    /// Whether the Grace-LSA is to be sent now, ahead of the first Hello. Once it has been sent often
    /// enough, the Hellos begin.
    pub(crate) fn take_grace(&mut self, id: u32) -> bool {
        let now = self.now;
        let Some(interface) = self.interfaces.get_mut(&id) else {
            return false;
        };
        if interface.grace_at.is_none_or(|at| at > now) {
            return false;
        }
        if let Some(graces) = interface.graces.checked_sub(1) {
            interface.graces = graces;
            interface.grace_at = Some(now + GRACE_GAP);
            return true;
        }
        interface.grace_at = None;
        interface.hello_at = Some(now);
        let heard = interface.neighbors.iter();
        let heard: Vec<Ipv4Addr> = heard
            .filter(|(_, neighbor)| neighbor.hears_us)
            .map(|(router_id, _)| *router_id)
            .collect();
        self.hello_if_due(id);
        for router_id in heard {
            self.two_way(Peer::new(id, router_id));
        }
        false
    }

    /// Sends the Hellos that are due; the periodic ones keep their interval.
    pub(crate) fn hello_if_due(&mut self, id: u32) {
        let now = self.now;
        let Some(interface) = self.interfaces.get_mut(&id) else {
            return;
        };
        let due = |at: Option<Time>| at.is_some_and(|at| at <= now);
        let extra = due(interface.extra_hello_at);
        if extra {
            interface.extra_hello_at = None;
            interface.last_extra_hello = Some(now);
        }
        let periodic = due(interface.hello_at);
        if periodic {
            let interval = interface.config.hello();
            let next = interface.hello_at.unwrap_or(now) + interval;
            // After a pause the missed ones are not made up for.
            interface.hello_at = Some(if next > now { next } else { now + interval });
        }
        if extra || periodic {
            self.send_hello(id);
        }
    }

    /// A Hello out of turn: the other end need not wait for our next one to hear us.
    pub(crate) fn hello_soon(&mut self, id: u32) {
        let now = self.now;
        if self.stopped {
            return;
        }
        let Some(interface) = self.interfaces.get_mut(&id) else {
            return;
        };
        if interface.grace_at.is_some() {
            // The first Hello comes soon, and must not come before the Grace-LSA.
            return;
        }
        let earliest = interface
            .last_extra_hello
            .map_or(now, |last| last + EXTRA_HELLO_GAP);
        interface.extra_hello_at = Some(earliest.max(now));
        self.hello_if_due(id);
    }

    /// A Hello at once: what this end accepts has changed.
    pub(crate) fn tell_accepted(&mut self, id: u32) {
        let interface = self.interfaces.get(&id);
        if interface.is_some_and(|it| it.is_up() && it.hello_at.is_some()) && !self.stopped {
            self.send_hello(id);
        }
    }

    /// RFC 2328 9.5.
    fn send_hello(&mut self, id: u32) {
        let Some(interface) = self.interfaces.get_mut(&id) else {
            return;
        };
        let heard = |n: &Neighbor| n.state >= NeighborState::Init && !self.stopped;
        let config = &interface.config;
        let hello = Hello {
            interface_id: config.id,
            priority: config.priority,
            options: self.config.options(config.area),
            hello_interval: config.hello_interval,
            dead_interval: config.dead_interval,
            designated_router: interface.elected.dr.unwrap_or(Ipv4Addr::UNSPECIFIED),
            backup_router: interface.elected.bdr.unwrap_or(Ipv4Addr::UNSPECIFIED),
            neighbors: interface
                .neighbors
                .iter()
                .filter(|(_, neighbor)| heard(neighbor))
                .map(|(router_id, _)| *router_id)
                .collect(),
        };
        self.send(id, ALL_SPF_ROUTERS, PacketBody::Hello(hello));
    }

    /// A Hello without neighbours on every interface, which ends the adjacencies; and once more in case
    /// it is lost and the caller keeps calling.
    pub(crate) fn send_final_hellos(&mut self) {
        let now = self.now;
        let speaking: Vec<u32> = self
            .interfaces
            .iter()
            .filter(|(_, i)| i.is_up())
            .map(|(id, _)| *id)
            .collect();
        for id in speaking {
            self.send_hello(id);
            if let Some(interface) = self.interfaces.get_mut(&id) {
                interface.extra_hello_at = Some(now + EXTRA_HELLO_GAP);
            }
        }
    }

    /// The neighbour hears us.
    pub(crate) fn two_way(&mut self, peer: Peer) {
        let Some(interface) = self.interfaces.get(&peer.interface) else {
            return;
        };
        let adjacency = interface.wants_adjacency(peer.router_id);
        self.neighbor_event(peer, NeighborEvent::TwoWayReceived { adjacency });
    }

    /// Remembers whether a neighbour hears us; whether it is too early to answer, because the
    /// Grace-LSA has to come first.
    fn note_heard(&mut self, peer: Peer, hears_us: bool) -> bool {
        if let Some(neighbor) = self.neighbor_mut(peer) {
            neighbor.hears_us = hears_us;
        }
        let interface = self.interfaces.get(&peer.interface);
        interface.is_some_and(|interface| interface.grace_at.is_some())
    }

    /// RFC 2328 10.5 with RFC 5340 4.2.2.1.
    pub(crate) fn receive_hello(
        &mut self,
        peer: Peer,
        source: Ipv6Addr,
        (hello, signed): (&Hello, Option<&Signed>),
        resuming: bool,
    ) -> Result<(), Refused> {
        let now = self.now;
        if self.stopped {
            return Err(Refusal::ShutDown.into());
        }
        let max_neighbors = self.config.limits.neighbors;
        let Some(interface) = self.interfaces.get_mut(&peer.interface) else {
            return Ok(());
        };
        let config = &interface.config;
        if hello.hello_interval != config.hello_interval {
            let (ours, theirs) = (config.hello_interval, hello.hello_interval);
            return Err(Refused::mismatch(
                Refusal::HelloIntervalMismatch,
                ours,
                theirs,
            ));
        }
        if hello.dead_interval != config.dead_interval {
            let (ours, theirs) = (config.dead_interval, hello.dead_interval);
            return Err(Refused::mismatch(
                Refusal::DeadIntervalMismatch,
                ours,
                theirs,
            ));
        }
        // RFC 2328 10.5 and RFC 3101 2.5: E and N say what kind of area it is.
        let area_type = Options::E.union(Options::N).bits();
        let options = self.config.options(config.area);
        if (hello.options.bits() ^ options.bits()) & area_type != 0 {
            let (ours, theirs) = (options.bits(), hello.options.bits());
            return Err(Refused::mismatch(Refusal::AreaTypeMismatch, ours, theirs));
        }
        // RFC 5838 2.4: only the IPv6 family is compatible with routers that know no others.
        if self.config.family != Family::Ipv6 && !hello.options.contains(Options::AF) {
            return Err(Refusal::AfBitMissing.into());
        }
        let is_new = !interface.neighbors.contains_key(&peer.router_id);
        if is_new && interface.neighbors.len() >= max_neighbors {
            let limit = u32::try_from(max_neighbors).unwrap_or(u32::MAX);
            let with_it = limit.saturating_add(1);
            return Err(Refused::mismatch(Refusal::TooManyNeighbors, limit, with_it));
        }
        let dead = config.dead();
        let neighbor = interface
            .neighbors
            .entry(peer.router_id)
            .or_insert_with(|| Neighbor::new(source, hello.interface_id, now, dead));
        let before = std::mem::replace(&mut neighbor.address, source);
        let moved = before != source;
        let renumbered = neighbor.interface_id != hello.interface_id;
        let was_adjacent = neighbor.state >= NeighborState::ExStart;
        neighbor.interface_id = hello.interface_id;
        let said = Said {
            priority: neighbor.priority,
            dr: neighbor.dr,
            bdr: neighbor.bdr,
        };
        // RFC 3623 3: a neighbour that we help keeps its role, whatever its Hellos say before it is back.
        let helped = neighbor.help.is_some();
        if !helped {
            neighbor.priority = hello.priority;
            neighbor.dr = hello.designated_router;
            neighbor.bdr = hello.backup_router;
        }
        neighbor.options = hello.options;
        let id = peer.interface;
        if let Some(signed) = signed.filter(|_| is_new) {
            self.remember_signed(peer, signed);
        }
        self.neighbor_event(peer, NeighborEvent::HelloReceived);
        let hears_us = hello.neighbors.contains(&self.config.router_id);
        let gracing = self.note_heard(peer, hears_us);
        if is_new || !hears_us {
            // Before any Database Description, so that it knows that we hear it.
            self.hello_soon(id);
        }
        if moved {
            self.content_changed();
            self.neighbor_moved(peer, before, source);
        }
        if renumbered && (was_adjacent || helped) {
            // It is not the one we shared our database with: begin again.
            self.end_help(peer, HelpEnd::InterfaceIdChanged);
            let reason = Reason::InterfaceIdChanged;
            self.neighbor_event_because(peer, NeighborEvent::OneWay, reason);
        }
        if hears_us && gracing {
            // When the Grace-LSA has been sent.
        } else if hears_us {
            self.two_way(peer);
        } else {
            self.neighbor_event(peer, NeighborEvent::OneWay);
        }
        if !helped {
            if resuming {
                self.regain_role(peer, hello);
            }
            self.update_roles(peer, said, hello);
        }
        Ok(())
    }
}
