//! Signing what leaves and checking what comes, RFC 7166 4.

use std::net::Ipv6Addr;

use super::Core;
use crate::auth::{ProtocolId, WallTime};
use crate::config::Time;
use crate::event::Event;
use crate::peer::Peer;
use crate::refusal::{Refusal, Refused};
use crate::wire::{Options, Packet, PacketBody, PacketType, Sections, Trailer};

/// How a packet was signed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signed {
    sequence: u64,
    protocol_id: ProtocolId,
}

impl Core {
    pub(crate) fn set_wall_clock(&mut self, now: Time, wall: WallTime) {
        self.wall = (now, wall);
    }

    pub(crate) fn wall(&self) -> WallTime {
        let now = self.now;
        let (at, wall) = self.wall;
        wall + now.saturating_sub(at)
    }

    /// RFC 7166 2.1: the AT bit stands in Hellos and Database Descriptions that have a trailer.
    pub(crate) fn announce_trailer(&self, id: u32, body: &mut PacketBody) {
        let signs = self
            .interfaces
            .get(&id)
            .is_some_and(|interface| interface.config.authentication.is_some());
        let options = match body {
            PacketBody::Hello(hello) => &mut hello.options,
            PacketBody::DatabaseDescription(dd) => &mut dd.options,
            _ => return,
        };
        if signs {
            *options = options.union(Options::AT);
        }
    }

    /// Puts a trailer behind a packet if its interface has keys; whether it may be sent.
    pub(crate) fn sign(&mut self, id: u32, source: Ipv6Addr, bytes: &mut Vec<u8>) -> bool {
        let wall = self.wall();
        let Some(interface) = self.interfaces.get_mut(&id) else {
            return false;
        };
        let heard = interface.heard_protocol_id();
        let Some(chain) = &interface.config.authentication else {
            return true;
        };
        let Some(signer) = chain.signer(wall) else {
            self.count(Refusal::AuthNoKey);
            return false;
        };
        self.sequence += 1;
        // RFC 7166 4.2: the checksum is left out, the digest covers more.
        if let Some(checksum) = bytes.get_mut(12..14) {
            checksum.fill(0);
        }
        signer.key.sign(heard, self.sequence, source, bytes);
        let (expired, sa_id) = (signer.expired, signer.key.sa_id);
        if interface.key_expired != expired {
            interface.key_expired = expired;
            if expired {
                let interface = id;
                self.event(Event::LastKeyExpired { interface, sa_id });
            }
        }
        true
    }

    /// Checks the trailer and reads the packet before it. RFC 7166 4.6.
    pub(crate) fn authenticate(
        &self,
        id: u32,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        bytes: &[u8],
    ) -> Result<(Packet, Option<Signed>), Refused> {
        let interface = self.interfaces.get(&id).ok_or(Refusal::UnknownInterface)?;
        let Some(chain) = &interface.config.authentication else {
            let announced = Sections::find(bytes).is_ok_and(|s| s.announced == Some(true));
            if announced {
                return Err(Refusal::AuthUnexpected.into());
            }
            let packet = Packet::decode(bytes, source, destination).map_err(Refusal::from)?;
            return Ok((packet, None));
        };
        let sections = Sections::find(bytes).map_err(Refusal::from)?;
        if sections.announced == Some(false) || sections.rest.is_empty() {
            return Err(Refusal::AuthMissing.into());
        }
        let trailer = Trailer::decode(sections.rest).map_err(|_| Refusal::AuthTrailer)?;
        let key = chain.find(trailer.sa_id).ok_or(Refusal::AuthUnknownKey)?;
        if !chain.accepts(key, self.wall()) {
            return Err(Refusal::AuthKeyExpired.into());
        }
        let verified = key.verify(source, bytes, &trailer);
        let protocol_id = verified.ok_or(Refusal::AuthDigest)?;
        let packet = Packet::decode_authenticated(sections.packet).map_err(Refusal::from)?;
        let neighbor = interface.neighbors.get(&packet.header.router_id);
        let kind = packet.body.packet_type();
        let last = neighbor.and_then(|neighbor| neighbor.sequences.get(&kind));
        if last.is_some_and(|last| trailer.sequence <= *last) {
            return Err(Refusal::AuthReplay.into());
        }
        let sequence = trailer.sequence;
        let signed = Signed {
            sequence,
            protocol_id,
        };
        Ok((packet, Some(signed)))
    }

    /// Remembers how a packet that passed was signed. Its sequence number, for its type alone: packets of one
    /// type come in order, a Hello may overtake an update (RFC 7166 4.6).
    pub(crate) fn remember_signed(&mut self, peer: Peer, kind: PacketType, signed: Signed) {
        if let Some(neighbor) = self.neighbor_mut(peer) {
            neighbor.sequences.insert(kind, signed.sequence);
            neighbor.protocol_id = Some(signed.protocol_id);
        }
    }
}
