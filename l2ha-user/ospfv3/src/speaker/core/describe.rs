//! Describing our database to a neighbour: RFC 2328 10.3 and 10.8.

use super::Core;
use super::exchange::INITIAL;
use crate::config::{Config, InterfaceConfig};
use crate::neighbor::NeighborState;
use crate::peer::Peer;
use crate::wire::{DatabaseDescription, DdFlags, LSA_HEADER_LEN, LsaType, PacketBody};

impl Core {
    /// Entering ExStart: claim to be the master (RFC 2328 10.3, 10.8).
    pub(crate) fn start_exchange(&mut self, peer: Peer) {
        let now = self.now;
        let Some(interface) = self.interfaces.get_mut(&peer.interface) else {
            return;
        };
        let first = first_dd(&self.config, &interface.config);
        let Some(neighbor) = interface.neighbors.get_mut(&peer.router_id) else {
            return;
        };
        let exchange = &mut neighbor.exchange;
        // RFC 2328 10.8 recommends the time of day: a late answer to what we said before a restart
        // must not pass for one to this exchange.
        exchange.sequence = match exchange.sequence {
            0 => u32::try_from(now.as_millis() & u128::from(u32::MAX)).map_or(1, |ms| ms | 1),
            last => last.wrapping_add(1),
        };
        exchange.master = true;
        exchange.claimed = None;
        exchange.last_received = None;
        exchange.last_sent = Some(DatabaseDescription {
            sequence: exchange.sequence,
            ..first
        });
        if !std::mem::take(&mut exchange.yields) {
            self.repeat_dd(peer);
        }
    }

    /// Entering Exchange: list everything the neighbour should know of (RFC 2328 10.3).
    pub(crate) fn list_database(&mut self, peer: Peer) {
        let now = self.now;
        let Some(interface) = self.interfaces.get_mut(&peer.interface) else {
            return;
        };
        let databases = self.config.shared(peer.interface, interface.config.area);
        let Some(neighbor) = interface.neighbors.get_mut(&peer.router_id) else {
            return;
        };
        neighbor.exchange.summary.clear();
        for (_, database) in databases
            .iter()
            .filter_map(|id| self.databases.get_key_value(id))
        {
            for (key, entry) in database.iter() {
                let grace_of_another = key.ty == LsaType::GRACE && key.adv != peer.router_id;
                if grace_of_another && !entry.is_max_age(now) {
                    // It is for those that are adjacent already (RFC 3623 3.1), and a router that does not
                    // help may drop it: FRR would ask for it in Loading without end.
                    continue;
                }
                if entry.is_max_age(now) {
                    // RFC 2328 10.3: those at MaxAge are flooded to it rather than described. At once: a
                    // router that has just restarted must learn what it has to supersede.
                    neighbor.expect_ack(*key, now);
                } else {
                    neighbor.exchange.summary.push_back(*key);
                }
            }
        }
    }

    /// Sends the last Database Description again. As master, until it is answered.
    pub(crate) fn repeat_dd(&mut self, peer: Peer) {
        let now = self.now;
        let Some(interface) = self.interfaces.get_mut(&peer.interface) else {
            return;
        };
        let again = now + interface.config.retransmit();
        let Some(neighbor) = interface.neighbors.get_mut(&peer.router_id) else {
            return;
        };
        let Some(dd) = neighbor.exchange.last_sent.clone() else {
            return;
        };
        let repeats = neighbor.exchange.master
            && matches!(
                neighbor.state,
                NeighborState::ExStart | NeighborState::Exchange
            );
        neighbor.exchange.repeat_at = repeats.then_some(again);
        let address = neighbor.address;
        let destination = interface.unicast(address);
        self.send(
            peer.interface,
            destination,
            PacketBody::DatabaseDescription(dd),
        );
    }

    /// Describes the next part of the database.
    pub(crate) fn send_next_dd(&mut self, peer: Peer) {
        let now = self.now;
        let Some(interface) = self.interfaces.get_mut(&peer.interface) else {
            return;
        };
        let first = first_dd(&self.config, &interface.config);
        let room = interface.body_room() - DatabaseDescription::FIXED_LEN;
        let databases = self.config.shared(peer.interface, interface.config.area);
        let Some(neighbor) = interface.neighbors.get_mut(&peer.router_id) else {
            return;
        };
        let mut headers = Vec::new();
        while headers.len() < room / LSA_HEADER_LEN {
            let Some(key) = neighbor.exchange.summary.pop_front() else {
                break;
            };
            let entry = databases
                .iter()
                .find_map(|id| self.databases.get(id).and_then(|db| db.get(&key)));
            // One that has reached MaxAge since is flooded instead.
            if let Some(entry) = entry.filter(|entry| !entry.is_max_age(now)) {
                headers.push(entry.header(now));
            }
        }
        let exchange = &mut neighbor.exchange;
        let more = !exchange.summary.is_empty();
        exchange.last_sent = Some(DatabaseDescription {
            flags: DdFlags {
                init: false,
                more,
                master: exchange.master,
            },
            sequence: exchange.sequence,
            headers,
            ..first
        });
        self.repeat_dd(peer);
    }
}

/// What begins an exchange on an interface, without a sequence number.
fn first_dd(config: &Config, interface: &InterfaceConfig) -> DatabaseDescription {
    let mtu = interface.family_mtu(config.family);
    DatabaseDescription {
        options: config.options(interface.area),
        mtu,
        // RFC 5838 2.7
        other_mtu: mtu != interface.mtu,
        flags: INITIAL,
        sequence: 0,
        headers: Vec::new(),
    }
}
