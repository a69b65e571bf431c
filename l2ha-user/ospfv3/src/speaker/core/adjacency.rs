//! Runs the two state machines: what a transition means for everything else.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::Core;
use crate::event::Event;
use crate::interface::{self, Elected, InterfaceEvent, InterfaceState, Next};
use crate::lsdb::DbId;
use crate::neighbor::{self, NeighborEvent, NeighborState, Reason};
use crate::peer::Peer;
use crate::wire::{LsaKey, LsaType};

/// How long our Router-LSA waits for an adjacency that is being formed.
const FORMING_HOLD: Duration = Duration::from_secs(2);
/// How long it waits for a neighbour that was Full and has restarted, or is shutting down. If that one
/// has flushed its LSAs, as long as a second origination would have to wait: MinLSInterval.
const RETURN_HOLD: Duration = Duration::from_millis(500);

impl Core {
    /// Whether the state changed.
    pub(crate) fn interface_event(&mut self, id: u32, event: InterfaceEvent) -> bool {
        let now = self.now;
        let Some(interface) = self.interfaces.get_mut(&id) else {
            return false;
        };
        let from = interface.state;
        let to = match interface::transition(from, event) {
            None => return false,
            Some(Next::Election) => {
                self.run_election(id);
                return true;
            }
            Some(Next::State(to)) => to,
        };
        if from == to {
            return false;
        }
        interface.state = to;
        // RFC 2328 9.3: the Wait Timer is as long as the dead interval.
        let waiting = to == InterfaceState::Waiting;
        interface.wait_at = waiting.then(|| now + interface.config.dead());
        if interface.is_up() {
            self.databases.get_or_default(DbId::Link(id));
        } else {
            // RFC 2328 9.3 InterfaceDown: every neighbour is gone, every timer off.
            interface.hello_at = None;
            interface.extra_hello_at = None;
            (interface.graces, interface.grace_at) = (0, None);
            interface.last_extra_hello = None;
            interface.ack_at = None;
            interface.delayed_acks.clear();
            interface.flood.clear();
            interface.elected = Elected::default();
            let neighbors: Vec<Ipv4Addr> = interface.neighbors.keys().copied().collect();
            for router_id in neighbors {
                self.neighbor_event(Peer::new(id, router_id), NeighborEvent::LlDown);
            }
            self.databases.remove(&DbId::Link(id));
        }
        self.event(Event::InterfaceChanged {
            interface: id,
            from,
            to,
        });
        self.content_changed();
        true
    }

    pub(crate) fn neighbor_event(&mut self, peer: Peer, event: NeighborEvent) {
        self.neighbor_event_because(peer, event, event.reason());
    }

    pub(crate) fn neighbor_event_because(
        &mut self,
        peer: Peer,
        event: NeighborEvent,
        reason: Reason,
    ) {
        let now = self.now;
        self.end_help_because(peer, event);
        let Some(interface) = self.interfaces.get_mut(&peer.interface) else {
            return;
        };
        let dead = interface.config.dead();
        let Some(neighbor) = interface.neighbors.get_mut(&peer.router_id) else {
            return;
        };
        let helped = neighbor.help.is_some();
        let router_lsa = LsaKey {
            ty: LsaType::ROUTER,
            id: 0,
            adv: peer.router_id,
        };
        let area = self.databases.get(&DbId::Area(interface.config.area));
        let router_lsa = area.and_then(|database| database.get(&router_lsa));
        let withdrawn = router_lsa.is_none_or(|entry| entry.is_max_age(now));
        let from = neighbor.state;
        let Ok((to, actions)) = neighbor::transition(from, event) else {
            self.counters.unexpected_neighbor_events += 1;
            return;
        };
        neighbor.state = to;
        if matches!(to, NeighborState::Exchange | NeighborState::Loading) {
            self.exchanging.insert(peer);
        } else {
            self.exchanging.remove(&peer);
        }
        self.confirming |= from != to;
        if actions.clear_lists {
            neighbor.clear_lists();
        }
        if actions.restart_inactivity {
            neighbor.inactive_at = now + dead;
        }
        if from != to {
            neighbor.since = now;
        }
        neighbor.forming_until = match (from, to) {
            _ if helped => None,
            (_, NeighborState::Full) => None,
            // It has flushed its Router-LSA: no router has a path to it whatever is in ours.
            (NeighborState::Full, NeighborState::Init) if withdrawn => {
                Some(now + self.config.min_ls_interval)
            }
            (NeighborState::Full, NeighborState::Init) => Some(now + RETURN_HOLD),
            (NeighborState::Full | NeighborState::Init | NeighborState::TwoWay, _)
                if to == NeighborState::ExStart =>
            {
                Some(now + FORMING_HOLD)
            }
            _ => neighbor.forming_until,
        };
        if actions.forget {
            interface.neighbors.remove(&peer.router_id);
        }
        if from != to {
            if helped {
                self.helped_neighbor_changed(peer, to);
            } else {
                self.neighbor_changed(peer.interface, from, to);
            }
            self.event(Event::NeighborChanged {
                peer,
                from,
                to,
                reason,
            });
        }
        if actions.start_exchange {
            self.start_exchange(peer);
        }
        if actions.list_database {
            self.list_database(peer);
        }
    }

    fn neighbor_changed(&mut self, id: u32, from: NeighborState, to: NeighborState) {
        let full = NeighborState::Full;
        if to == full {
            self.counters.adjacencies_formed += 1;
        }
        if from == full {
            self.counters.adjacencies_lost += 1;
        }
        if from == full || to == full {
            // RFC 2328 12.4 (4): a neighbour has gone to or from Full.
            self.content_changed();
        } else if from >= NeighborState::ExStart || to == NeighborState::Down {
            // A Router-LSA may have been waiting for this adjacency.
            self.reconcile_soon();
        }
        if from == NeighborState::Down || to == NeighborState::Down {
            // On a network, the next hop may be an address that only its Hellos have.
            self.links_changed();
        }
        if (from < NeighborState::TwoWay) != (to < NeighborState::TwoWay) {
            // RFC 2328 9.2 NeighborChange: bidirectional communication has begun or ended.
            self.interface_event(id, InterfaceEvent::NeighborChange);
        }
    }

    /// A neighbour is declared down from outside.
    pub(crate) fn neighbor_lost(&mut self, peer: Peer) {
        let event = NeighborEvent::InactivityTimer;
        self.neighbor_event_because(peer, event, Reason::DeclaredDead);
        // The failure of our own link waits for no back-off: what the others flood about it may have
        // come first and begun one.
        self.compute_at_once();
    }

    /// Gives each neighbour at least so much time from now before its inactivity timer fires.
    pub(crate) fn give_time(&mut self, grace: Duration) {
        for (_, interface) in self.interfaces.iter_mut() {
            interface.give_time(self.now, grace);
        }
    }

    /// Whether every neighbour has acknowledged everything.
    pub(crate) fn is_acknowledged(&self) -> bool {
        let mut neighbors = self.interfaces.values().flat_map(|i| i.neighbors.values());
        neighbors.all(|n| n.unacknowledged.is_empty())
    }

    pub(crate) fn neighbor_at(&self, interface: u32, address: Ipv6Addr) -> Option<Peer> {
        let mut neighbors = self.interfaces.get(&interface)?.neighbors.iter();
        let (router_id, _) = neighbors.find(|(_, neighbor)| neighbor.address == address)?;
        Some(Peer::new(interface, *router_id))
    }
}
