//! Everything that leaves: packets and events, both bounded.

use std::net::Ipv6Addr;

use super::Core;
use crate::event::Event;
use crate::lsdb::DbId;
use crate::refusal::{Mismatch, Refusal};
use crate::transmit::Transmit;
use crate::wire::{Header, LsaKey, LsaType, Options, Packet, PacketBody, PacketType, Scope, Write};

/// Bytes of the count that begins a Link State Update.
const UPDATE_FIXED_LEN: usize = 4;

impl Core {
    /// The header of packets from an interface, and their source address.
    fn origin(&self, id: u32) -> Option<(Header, Ipv6Addr)> {
        let config = &self.interfaces.get(&id)?.config;
        let header = Header {
            router_id: self.config.router_id,
            area: config.area,
            instance_id: config.instance_id,
        };
        Some((header, config.link_local))
    }

    /// Queues a packet.
    pub(crate) fn send(&mut self, id: u32, destination: Ipv6Addr, mut body: PacketBody) {
        let Some((header, source)) = self.origin(id) else {
            return;
        };
        let packet_type = body.packet_type();
        self.announce_trailer(id, &mut body);
        let mut signalling = None;
        if let PacketBody::Hello(hello) = &mut body {
            signalling = self.signalling(id);
            if signalling.is_some() {
                hello.options = hello.options.union(Options::L);
            }
        }
        let mut bytes = Packet { header, body }.encode(source, destination);
        bytes.extend(signalling.into_iter().flatten());
        self.enqueue(id, source, destination, packet_type, bytes);
    }

    fn enqueue(
        &mut self,
        id: u32,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        packet_type: PacketType,
        bytes: Vec<u8>,
    ) {
        if self.outbox.len() >= self.config.limits.packets {
            self.count(Refusal::OutputFull);
            return;
        }
        for bytes in self.sign(id, source, bytes) {
            self.counters.sent.add(packet_type);
            self.outbox.push_back(Transmit {
                interface: id,
                source,
                destination,
                bytes,
            });
        }
    }

    /// Sends LSAs in as few updates as the MTU allows; an LSA larger than that travels alone and
    /// is fragmented (RFC 2328 A.1).
    pub(crate) fn send_updates(
        &mut self,
        id: u32,
        destination: Ipv6Addr,
        keys: impl IntoIterator<Item = (DbId, LsaKey)>,
    ) {
        let now = self.now;
        let Some(interface) = self.interfaces.get(&id) else {
            return;
        };
        let room = interface.body_room();
        let delay = interface.config.transmit_delay.max(1);
        let mut count = 0u32;
        let mut body = vec![0; UPDATE_FIXED_LEN];
        for (db, key) in keys {
            let Some(database) = self.databases.get_mut(&db) else {
                continue;
            };
            let Some(entry) = database.get(&key) else {
                continue;
            };
            let lsa = entry.lsa.clone();
            // RFC 2328 13.3: the age grows by InfTransDelay.
            let age = entry.age(now).saturating_add(delay);
            database.sent(&key, now);
            if count > 0 && body.len() + lsa.len() > room {
                self.send_update(id, destination, count, &body);
                count = 0;
                body.truncate(UPDATE_FIXED_LEN);
            }
            lsa.encode_aged(age, &mut body);
            count += 1;
        }
        if count > 0 {
            self.send_update(id, destination, count, &body);
        }
    }

    fn send_update(&mut self, id: u32, destination: Ipv6Addr, count: u32, body: &[u8]) {
        let Some((header, source)) = self.origin(id) else {
            return;
        };
        let mut counted = Vec::with_capacity(body.len());
        counted.put_u32(count);
        counted.put(body.get(UPDATE_FIXED_LEN..).unwrap_or_default());
        let packet_type = PacketType::LinkStateUpdate;
        let bytes = header.frame(packet_type, &counted, source, destination);
        self.enqueue(id, source, destination, packet_type, bytes);
    }

    pub(crate) fn event(&mut self, event: Event) {
        if self.events.len() >= self.config.limits.events {
            self.counters.events_dropped += 1;
        } else {
            self.events.push_back(event);
        }
    }

    pub(crate) fn count(&mut self, reason: Refusal) {
        *self.counters.refused.entry(reason).or_default() += 1;
    }

    /// Counts a refusal, and reports it unless it belongs to normal operation.
    pub(crate) fn refuse(
        &mut self,
        interface: u32,
        source: Ipv6Addr,
        reason: Refusal,
        mismatch: Option<Mismatch>,
    ) {
        self.count(reason);
        if !reason.is_ordinary() {
            self.event(Event::Refused {
                interface,
                source,
                reason,
                mismatch,
            });
        }
    }

    /// The database an LSA of a type belongs to when it comes or goes over an interface; nothing
    /// for the reserved scope, nor for the AS in a stub area (RFC 5340 4.5.1, RFC 2328 13 (3)).
    pub(crate) fn db_for(&self, id: u32, ty: LsaType) -> Option<DbId> {
        let interface = self.interfaces.get(&id)?;
        let area = interface.config.area;
        let db = match ty.scope()? {
            Scope::Link => DbId::Link(id),
            Scope::Area => DbId::Area(area),
            Scope::As => DbId::As,
        };
        self.config.shares(db, id, area).then_some(db)
    }
}
