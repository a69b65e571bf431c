//! What is due when.

use std::net::Ipv4Addr;

use super::Core;
use super::confirm::INSTALL_TIME;
use crate::config::Time;
use crate::interface::InterfaceEvent;
use crate::neighbor::{Confirmation, NeighborEvent};
use crate::peer::Peer;

/// How often a request is repeated before the exchange begins again.
const MAX_FUTILE_REQUESTS: u8 = 8;

impl Core {
    pub(crate) fn next_timeout(&self) -> Option<Time> {
        let interfaces = self.interfaces.next_timeout();
        let databases = self.databases.next_timeout();
        let times = interfaces.into_iter().chain(databases);
        times.chain(self.agenda.next()).min()
    }

    /// Takes note of when everything is due now.
    pub(crate) fn settle(&mut self) {
        self.interfaces.settle();
        self.databases.settle();
    }

    /// Acknowledgments, elections and neighbours; not the Hellos.
    pub(crate) fn run_timers(&mut self) {
        let now = self.now;
        for id in self.due_interfaces() {
            let Some(interface) = self.interfaces.get(&id) else {
                continue;
            };
            let waited = interface.wait_at.is_some_and(|at| at <= now);
            if interface.ack_at.is_some_and(|at| at <= now) {
                self.send_delayed_acks(id);
            }
            if waited {
                self.interface_event(id, InterfaceEvent::WaitTimer);
            }
            self.run_neighbor_timers(id);
        }
    }

    fn run_neighbor_timers(&mut self, id: u32) {
        let now = self.now;
        let Some(interface) = self.interfaces.get(&id) else {
            return;
        };
        let due: Vec<Ipv4Addr> = interface
            .neighbors
            .iter()
            .filter(|(_, neighbor)| neighbor.next_timeout() <= now)
            .map(|(router_id, _)| *router_id)
            .collect();
        let is_due = |at: Option<Time>| at.is_some_and(|at| at <= now);
        for router_id in due {
            let peer = Peer::new(id, router_id);
            let neighbor = self.neighbor(peer);
            let help = neighbor.and_then(|neighbor| neighbor.help);
            if help.is_some_and(|help| help.until <= now) {
                self.end_help_at_expiry(peer);
            }
            let Some(interface) = self.interfaces.get_mut(&id) else {
                return;
            };
            let Some(neighbor) = interface.neighbors.get_mut(&router_id) else {
                continue;
            };
            if neighbor.silent_until() <= now {
                self.neighbor_event(peer, NeighborEvent::InactivityTimer);
                continue;
            }
            if is_due(neighbor.exchange.keep_until) {
                neighbor.exchange.keep_until = None;
                neighbor.exchange.last_sent = None;
            }
            if let Confirmation::Installing(at) = neighbor.confirmation
                && at <= now
            {
                neighbor.confirmation = Confirmation::Given;
                self.agenda.links_changed(now, &self.config.spf_delay);
                // The others follow when our own routes are in place.
                self.agenda.reconcile_by(now + INSTALL_TIME);
            }
            let repeat = is_due(neighbor.exchange.repeat_at);
            let request = is_due(neighbor.request_at);
            let futile = neighbor.futile_requests >= MAX_FUTILE_REQUESTS;
            let asked = !neighbor.requested.is_empty();
            if request && asked {
                neighbor.futile_requests += 1;
            }
            let retransmit = is_due(neighbor.retransmit_at);
            if repeat {
                self.repeat_dd(peer);
            }
            if request && futile {
                // It described what it does not deliver; whatever the reason, begin again.
                self.neighbor_event(peer, NeighborEvent::BadLsReq);
            } else if request {
                self.send_request(peer);
            }
            if retransmit {
                self.retransmit(peer);
            }
        }
    }
}
