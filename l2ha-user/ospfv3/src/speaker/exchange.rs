//! The database exchange: RFC 2328 10.6, 10.8, and 7.2.

use std::net::Ipv4Addr;

use super::Speaker;
use super::hello::OPTIONS;
use super::receive::{Peer, Refused};
use crate::config::Time;
use crate::counters::Refusal;
use crate::lsdb::DbId;
use crate::neighbor::{NeighborEvent, NeighborState};
use crate::wire::{DatabaseDescription, DdFlags, LSA_HEADER_LEN, LsaHeader, LsaKey, PacketBody};

const INITIAL: DdFlags = DdFlags {
    init: true,
    more: true,
    master: true,
};

impl Speaker {
    /// Entering ExStart: claim to be the master (RFC 2328 10.3, 10.8).
    pub(super) fn start_exchange(&mut self, now: Time, id: u32, router_id: Ipv4Addr) {
        let Some(interface) = self.interfaces.get_mut(&id) else {
            return;
        };
        let mtu = interface.config.mtu;
        let Some(neighbor) = interface.neighbors.get_mut(&router_id) else {
            return;
        };
        let exchange = &mut neighbor.exchange;
        exchange.sequence = exchange.sequence.wrapping_add(1);
        exchange.master = true;
        exchange.last_received = None;
        exchange.last_sent = Some(DatabaseDescription {
            options: OPTIONS,
            mtu,
            flags: INITIAL,
            sequence: exchange.sequence,
            headers: Vec::new(),
        });
        self.repeat_dd(now, id, router_id);
    }

    /// Entering Exchange: list everything the neighbour should know of (RFC 2328 10.3).
    pub(super) fn list_database(&mut self, now: Time, id: u32, router_id: Ipv4Addr) {
        let Some(interface) = self.interfaces.get_mut(&id) else {
            return;
        };
        let again = now + interface.config.retransmit();
        let databases = [DbId::Link(id), DbId::Area(interface.config.area), DbId::As];
        let Some(neighbor) = interface.neighbors.get_mut(&router_id) else {
            return;
        };
        neighbor.exchange.summary.clear();
        for (_, database) in databases
            .iter()
            .filter_map(|id| self.databases.get_key_value(id))
        {
            for (key, entry) in database.iter() {
                if entry.is_max_age(now) {
                    // RFC 2328 10.3: dead ones are flooded to it rather than described.
                    neighbor.expect_ack(*key, again);
                } else {
                    neighbor.exchange.summary.push_back(*key);
                }
            }
        }
    }

    /// Sends the last Database Description again. As master, until it is answered.
    pub(super) fn repeat_dd(&mut self, now: Time, id: u32, router_id: Ipv4Addr) {
        let Some(interface) = self.interfaces.get_mut(&id) else {
            return;
        };
        let again = now + interface.config.retransmit();
        let Some(neighbor) = interface.neighbors.get_mut(&router_id) else {
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
        self.send(id, destination, PacketBody::DatabaseDescription(dd));
    }

    /// Describes the next part of the database.
    fn send_next_dd(&mut self, now: Time, peer: Peer) {
        let Some(interface) = self.interfaces.get_mut(&peer.interface) else {
            return;
        };
        let mtu = interface.config.mtu;
        let room = interface.body_room() - DatabaseDescription::FIXED_LEN;
        let databases = [
            DbId::Link(peer.interface),
            DbId::Area(interface.config.area),
            DbId::As,
        ];
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
            // One that has died since is flooded instead.
            if let Some(entry) = entry.filter(|entry| !entry.is_max_age(now)) {
                headers.push(entry.header(now));
            }
        }
        let exchange = &mut neighbor.exchange;
        let more = !exchange.summary.is_empty();
        exchange.last_sent = Some(DatabaseDescription {
            options: OPTIONS,
            mtu,
            flags: DdFlags {
                init: false,
                more,
                master: exchange.master,
            },
            sequence: exchange.sequence,
            headers,
        });
        self.repeat_dd(now, peer.interface, peer.router_id);
    }

    /// RFC 2328 10.6.
    pub(super) fn receive_dd(
        &mut self,
        now: Time,
        peer: Peer,
        dd: &DatabaseDescription,
    ) -> Result<(), Refused> {
        let Peer {
            interface: id,
            router_id,
        } = peer;
        let Some(interface) = self.interfaces.get(&id) else {
            return Ok(());
        };
        if dd.mtu > interface.config.mtu && !interface.config.mtu_ignore {
            let (ours, theirs) = (interface.config.mtu, dd.mtu);
            return Err(Refused::mismatch(Refusal::MtuMismatch, ours, theirs));
        }
        if self.neighbor_state(peer) == Some(NeighborState::Init) {
            // It hears us, or it would not describe its database to us.
            let event = NeighborEvent::TwoWayReceived { adjacency: true };
            self.neighbor_event(now, id, router_id, event);
        }
        match self.neighbor_state(peer) {
            Some(NeighborState::ExStart) => self.negotiate(now, peer, dd),
            Some(NeighborState::Exchange) => self.continue_exchange(now, peer, dd),
            Some(NeighborState::Loading | NeighborState::Full) => {
                self.after_exchange(now, peer, dd)
            }
            _ => Err(Refusal::NeighborState.into()),
        }
    }

    /// In ExStart: who is master?
    fn negotiate(
        &mut self,
        now: Time,
        peer: Peer,
        dd: &DatabaseDescription,
    ) -> Result<(), Refused> {
        let higher = peer.router_id > self.config.router_id;
        let Some(exchange) = self.exchange_mut(peer) else {
            return Ok(());
        };
        if dd.flags == INITIAL && dd.headers.is_empty() && higher {
            exchange.master = false;
            exchange.sequence = dd.sequence;
            exchange.repeat_at = None;
        } else if !dd.flags.init && !dd.flags.master && dd.sequence == exchange.sequence && !higher
        {
            exchange.master = true;
        } else {
            // The initial packet of a slave to be, or a straggler.
            return Err(Refusal::DdDuplicate.into());
        }
        self.neighbor_event(
            now,
            peer.interface,
            peer.router_id,
            NeighborEvent::NegotiationDone,
        );
        self.accept_dd(now, peer, dd);
        Ok(())
    }

    fn continue_exchange(
        &mut self,
        now: Time,
        peer: Peer,
        dd: &DatabaseDescription,
    ) -> Result<(), Refused> {
        let Some(exchange) = self.exchange_mut(peer) else {
            return Ok(());
        };
        let master = exchange.master;
        if is_duplicate(exchange.last_received, dd) {
            if !master {
                self.repeat_dd(now, peer.interface, peer.router_id);
            }
            return Err(Refusal::DdDuplicate.into());
        }
        let expected = if master {
            exchange.sequence
        } else {
            exchange.sequence.wrapping_add(1)
        };
        let same_options = exchange
            .last_received
            .is_none_or(|(_, options, _)| options == dd.options);
        if dd.flags.master == master || dd.flags.init || !same_options || dd.sequence != expected {
            return self.restart_exchange(now, peer, dd);
        }
        self.accept_dd(now, peer, dd);
        Ok(())
    }

    /// In Loading and Full only a repetition is legal.
    fn after_exchange(
        &mut self,
        now: Time,
        peer: Peer,
        dd: &DatabaseDescription,
    ) -> Result<(), Refused> {
        let Some(exchange) = self.exchange_mut(peer) else {
            return Ok(());
        };
        if is_duplicate(exchange.last_received, dd) {
            if exchange.master {
                return Err(Refusal::DdDuplicate.into());
            }
            // RFC 2328 10.8: kept for the dead interval, no longer.
            if exchange.last_sent.is_some() {
                self.repeat_dd(now, peer.interface, peer.router_id);
                return Err(Refusal::DdDuplicate.into());
            }
        }
        self.restart_exchange(now, peer, dd)
    }

    /// SeqNumberMismatch. If the packet that broke the exchange begins a new one, as after a
    /// restart of the neighbour, it is taken as such instead of waiting for its repetition.
    fn restart_exchange(
        &mut self,
        now: Time,
        peer: Peer,
        dd: &DatabaseDescription,
    ) -> Result<(), Refused> {
        self.neighbor_event(
            now,
            peer.interface,
            peer.router_id,
            NeighborEvent::SeqNumberMismatch,
        );
        if dd.flags == INITIAL {
            let _ = self.negotiate(now, peer, dd);
        }
        Err(Refusal::DdSequence.into())
    }

    /// The packet is the next in sequence (RFC 2328 10.6, 10.8).
    fn accept_dd(&mut self, now: Time, peer: Peer, dd: &DatabaseDescription) {
        for header in &dd.headers {
            self.request_if_newer(now, peer, header);
        }
        let Some(exchange) = self.exchange_mut(peer) else {
            return;
        };
        exchange.last_received = Some((dd.flags, dd.options, dd.sequence));
        let we_said_more = exchange
            .last_sent
            .as_ref()
            .is_none_or(|sent| sent.flags.more);
        if exchange.master {
            exchange.sequence = exchange.sequence.wrapping_add(1);
            if we_said_more || dd.flags.more {
                self.send_next_dd(now, peer);
            } else {
                self.finish_exchange(now, peer);
            }
        } else {
            exchange.sequence = dd.sequence;
            self.send_next_dd(now, peer);
            let Some(exchange) = self.exchange_mut(peer) else {
                return;
            };
            let more = exchange
                .last_sent
                .as_ref()
                .is_none_or(|sent| sent.flags.more);
            if !more && !dd.flags.more {
                self.finish_exchange(now, peer);
            }
        }
    }

    fn finish_exchange(&mut self, now: Time, peer: Peer) {
        let Some(interface) = self.interfaces.get_mut(&peer.interface) else {
            return;
        };
        let dead = interface.config.dead();
        let Some(neighbor) = interface.neighbors.get_mut(&peer.router_id) else {
            return;
        };
        neighbor.exchange.repeat_at = None;
        if neighbor.exchange.master {
            neighbor.exchange.last_sent = None;
        } else {
            neighbor.exchange.keep_until = Some(now + dead);
        }
        let event = NeighborEvent::ExchangeDone {
            complete: neighbor.requests.is_empty(),
        };
        self.neighbor_event(now, peer.interface, peer.router_id, event);
    }

    fn request_if_newer(&mut self, now: Time, peer: Peer, header: &LsaHeader) {
        let key: LsaKey = header.key;
        let Some(db) = self.db_for(peer.interface, key.ty) else {
            self.count(Refusal::LsaScope);
            return;
        };
        let ours = self
            .databases
            .get(&db)
            .and_then(|db| db.get(&key))
            .map(|e| e.header(now));
        if ours.is_some_and(|ours| header.compare(&ours).is_le()) {
            return;
        }
        let limit = self.config.limits.lsas;
        let Some(interface) = self.interfaces.get_mut(&peer.interface) else {
            return;
        };
        let Some(neighbor) = interface.neighbors.get_mut(&peer.router_id) else {
            return;
        };
        if neighbor.requests.len() >= limit && !neighbor.requests.contains_key(&key) {
            self.count(Refusal::DatabaseFull);
            return;
        }
        neighbor.requests.insert(key, *header);
    }

    fn exchange_mut(&mut self, peer: Peer) -> Option<&mut crate::neighbor::Exchange> {
        let interface = self.interfaces.get_mut(&peer.interface)?;
        interface
            .neighbors
            .get_mut(&peer.router_id)
            .map(|n| &mut n.exchange)
    }
}

fn is_duplicate(
    last: Option<(DdFlags, crate::wire::Options, u32)>,
    dd: &DatabaseDescription,
) -> bool {
    last == Some((dd.flags, dd.options, dd.sequence))
}
