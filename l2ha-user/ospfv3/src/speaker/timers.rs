//! What is due when.

use std::net::Ipv4Addr;

use super::Speaker;
use super::core::confirm::INSTALL_TIME;
use crate::config::Time;
use crate::interface::InterfaceEvent;
use crate::lsdb::Lsdb;
use crate::neighbor::{Confirmation, NeighborEvent};

/// How often a request is repeated before the exchange begins anew.
const MAX_FUTILE_REQUESTS: u8 = 8;

impl Speaker {
    pub(super) fn next_timeout(&self) -> Option<Time> {
        let interfaces = self
            .interfaces
            .values()
            .filter_map(|i| i.next_timeout())
            .min();
        let databases = self
            .databases
            .values()
            .filter_map(Lsdb::next_deadline)
            .min();
        [
            interfaces,
            databases,
            self.reconcile_at,
            self.spf.due(),
            self.next_restart_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub(super) fn run_timers(&mut self) {
        let now = self.now;
        let ids: Vec<u32> = self.interfaces.keys().copied().collect();
        for id in ids {
            // Hellos first: nothing else may make a neighbour believe that we are dead.
            self.grace_if_due(id);
            self.hello_if_due(id);
        }
        self.finish_restart_if_due();
        let ids: Vec<u32> = self.interfaces.keys().copied().collect();
        for id in ids {
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
        self.age();
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
            let interface = self.interfaces.get(&id);
            let neighbor = interface.and_then(|interface| interface.neighbors.get(&router_id));
            let help = neighbor.and_then(|neighbor| neighbor.help);
            if help.is_some_and(|help| help.until <= now) {
                self.end_help_at_expiry(id, router_id);
            }
            let Some(interface) = self.interfaces.get_mut(&id) else {
                return;
            };
            let Some(neighbor) = interface.neighbors.get_mut(&router_id) else {
                continue;
            };
            if neighbor.silent_until() <= now {
                self.neighbor_event(id, router_id, NeighborEvent::InactivityTimer);
                continue;
            }
            if is_due(neighbor.exchange.keep_until) {
                neighbor.exchange.keep_until = None;
                neighbor.exchange.last_sent = None;
            }
            if let Confirmation::Settling(at) = neighbor.confirmation
                && at <= now
            {
                neighbor.confirmation = Confirmation::Given;
                self.spf.trigger(now, &self.config.spf_delay);
                // The others follow when our own routes are in place.
                let follow = now + INSTALL_TIME;
                self.reconcile_at = Some(self.reconcile_at.map_or(follow, |at| at.min(follow)));
            }
            let repeat = is_due(neighbor.exchange.repeat_at);
            let request = is_due(neighbor.request_at);
            let futile = neighbor.futile_requests >= MAX_FUTILE_REQUESTS;
            if request {
                neighbor.futile_requests += 1;
            }
            let retransmit = is_due(neighbor.retransmit_at);
            if repeat {
                self.repeat_dd(id, router_id);
            }
            if request && futile {
                // It described what it does not deliver; whatever the reason, begin anew.
                self.neighbor_event(id, router_id, NeighborEvent::BadLsReq);
            } else if request {
                self.send_request(id, router_id);
            }
            if retransmit {
                self.retransmit(id, router_id);
            }
        }
    }
}
