//! Interfaces as the caller configures them.

use std::time::Duration;

use super::Core;
use crate::config::{InterfaceConfig, StubPrefix};
use crate::interface::{Interface, InterfaceEvent};
use crate::lsdb::DbId;

impl Core {
    /// Changes an interface if its adjacencies can stay; whether they can.
    pub(crate) fn change_interface(&mut self, config: &InterfaceConfig) -> bool {
        let id = config.id;
        match self.interfaces.get_mut(&id) {
            Some(interface) if interface.config.adjacency_survives(config) => {
                let before = std::mem::replace(&mut interface.config, config.clone());
                self.interface_event(id, InterfaceEvent::NeighborChange);
                if before.hello() != config.hello() || before.dead() != config.dead() {
                    self.change_intervals(id, before.dead());
                }
                if before.rotation != config.rotation
                    || before.authentication != config.authentication
                {
                    self.tell_accepted(id);
                }
                if before.edge != config.edge {
                    self.review_edges();
                }
                self.content_changed();
                true
            }
            _ => false,
        }
    }

    /// Goes on with other intervals. The neighbours do not hear us until theirs are the same, nor we them;
    /// each is given the longer of both dead intervals for that.
    fn change_intervals(&mut self, id: u32, dead_before: Duration) {
        let now = self.now;
        let Some(interface) = self.interfaces.get_mut(&id) else {
            return;
        };
        if interface.hello_at.is_some() {
            interface.hello_at = Some(now);
        }
        let grace = dead_before.max(interface.config.dead());
        interface.give_time(now, grace);
        self.hello_if_due(id);
    }

    /// Adds an interface, which is down.
    pub(crate) fn insert_interface(&mut self, config: InterfaceConfig) {
        let edge = config.edge.is_some();
        self.interfaces.insert(config.id, Interface::new(config));
        if edge {
            self.review_edges();
        }
    }

    /// Removes an interface that is down; the database of its area, if it was the last one there.
    pub(crate) fn remove_interface(&mut self, id: u32) -> Option<DbId> {
        let gone = self.interfaces.remove(&id)?;
        self.outbox.retain(|packet| packet.interface != id);
        if gone.config.edge.is_some() {
            self.review_edges();
        }
        let area = gone.config.area;
        if self.interfaces.values().any(|i| i.config.area == area) {
            return None;
        }
        self.databases.remove(&DbId::Area(area));
        Some(DbId::Area(area))
    }

    /// The link is operational; whether the interface is up now.
    pub(crate) fn link_up(&mut self, id: u32) -> bool {
        let Some(interface) = self.interfaces.get(&id) else {
            return false;
        };
        let up = InterfaceEvent::Up {
            kind: interface.config.kind,
            eligible: interface.config.priority > 0,
        };
        !self.stopped && self.interface_event(id, up)
    }

    pub(crate) fn link_down(&mut self, id: u32) {
        self.interface_event(id, InterfaceEvent::Down);
    }

    pub(crate) fn set_prefixes(&mut self, id: u32, prefixes: Vec<StubPrefix>) {
        if let Some(interface) = self.interfaces.get_mut(&id)
            && interface.config.prefixes != prefixes
        {
            interface.config.prefixes = prefixes;
            self.content_changed();
        }
    }

    pub(crate) fn set_cost(&mut self, id: u32, cost: u16) {
        if let Some(interface) = self.interfaces.get_mut(&id)
            && interface.config.cost != cost
        {
            interface.config.cost = cost;
            self.content_changed();
        }
    }
}
