//! Links with a Designated Router: RFC 2328 9.4 and 10.4.

use std::net::Ipv4Addr;

use super::Core;
use crate::config::InterfaceKind;
use crate::interface::{Candidate, InterfaceEvent, InterfaceState, elect};
use crate::neighbor::{NeighborEvent, NeighborState};
use crate::peer::Peer;
use crate::wire::Hello;

/// What a neighbour's Hello said before the one that has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said {
    pub(crate) priority: u8,
    pub(crate) dr: Ipv4Addr,
    pub(crate) bdr: Ipv4Addr,
}

impl Core {
    /// RFC 2328 9.4 (1) to (7).
    pub(crate) fn run_election(&mut self, id: u32) {
        let own_id = self.config.router_id;
        let Some(interface) = self.interfaces.get_mut(&id) else {
            return;
        };
        let none = Ipv4Addr::UNSPECIFIED;
        let own = Candidate {
            router_id: own_id,
            priority: interface.config.priority,
            dr: interface.elected.dr.unwrap_or(none),
            bdr: interface.elected.bdr.unwrap_or(none),
        };
        let others: Vec<Candidate> = interface
            .neighbors
            .iter()
            // RFC 3623 3: one that we help stays what it was.
            .filter(|(_, n)| n.state >= NeighborState::TwoWay || n.help.is_some())
            .map(|(router_id, neighbor)| Candidate {
                router_id: *router_id,
                priority: neighbor.priority,
                dr: neighbor.dr,
                bdr: neighbor.bdr,
            })
            .collect();
        let elected = elect(own, &others);
        let changed = interface.elected != elected;
        interface.elected = elected;
        self.interface_event(id, InterfaceEvent::Elected(elected.role_of(own_id)));
        if !changed {
            return;
        }
        // The others need not wait for our next Hello to know.
        self.hello_soon(id);
        // RFC 2328 9.4 (7): which routers should be adjacent may have changed.
        for other in others {
            self.reconsider_adjacency(Peer::new(id, other.router_id));
        }
        self.content_changed();
    }

    fn reconsider_adjacency(&mut self, peer: Peer) {
        let Some(interface) = self.interfaces.get(&peer.interface) else {
            return;
        };
        let adjacency = interface.wants_adjacency(peer.router_id);
        self.neighbor_event(peer, NeighborEvent::AdjOk { adjacency });
    }

    /// RFC 2328 10.5: what a Hello says about the roles.
    pub(crate) fn update_roles(&mut self, peer: Peer, said: Said, hello: &Hello) {
        let Some(interface) = self.interfaces.get(&peer.interface) else {
            return;
        };
        if interface.config.kind != InterfaceKind::Broadcast {
            return;
        }
        let them = peer.router_id;
        let is_dr = hello.designated_router == them;
        let is_bdr = hello.backup_router == them;
        let alone = is_dr && hello.backup_router.is_unspecified();
        let moved = (said.dr == them) != is_dr
            || (said.bdr == them) != is_bdr
            || said.priority != hello.priority;
        if interface.state == InterfaceState::Waiting {
            // RFC 2328 9.2: only from one that hears us.
            let hears_us = self.neighbor_state(peer) >= Some(NeighborState::TwoWay);
            if hears_us && (alone || is_bdr) {
                self.interface_event(peer.interface, InterfaceEvent::BackupSeen);
            }
        } else if moved {
            self.interface_event(peer.interface, InterfaceEvent::NeighborChange);
        }
    }

    /// RFC 3623 2.2: after a restart, a neighbour still holds us for Designated Router, so that is what
    /// we are.
    pub(crate) fn regain_role(&mut self, peer: Peer, hello: &Hello) {
        let own = self.config.router_id;
        if hello.designated_router != own {
            return;
        }
        let Some(interface) = self.interfaces.get_mut(&peer.interface) else {
            return;
        };
        if interface.state == InterfaceState::Waiting && hello.neighbors.contains(&own) {
            interface.elected.dr = Some(own);
            self.interface_event(peer.interface, InterfaceEvent::BackupSeen);
        }
    }
}
