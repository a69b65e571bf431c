//! Signing what leaves and checking what comes, RFC 7166 4.

use std::net::Ipv6Addr;

use super::Core;
use crate::auth::{ProtocolId, WallTime};
use crate::config::Time;
use crate::event::Event;
use crate::peer::Peer;
use crate::refusal::{Refusal, Refused};
use crate::rotation::{Credential, NeighborRotation};
use crate::wire::{
    Decoded, Options, Packet, PacketBody, PacketType, Sections, Trailer, decode_accepted,
    encode_accepted,
};

/// How a packet was signed.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    kind: PacketType,
    sa_id: u16,
    sequence: u64,
    protocol_id: ProtocolId,
    /// What the sender accepts, if a Hello says so; why that cannot be read, if it cannot.
    accepts: Decoded<Option<Vec<Credential>>>,
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

    /// Puts a trailer behind a packet if its interface has keys: what is to be sent, which is nothing without a key
    /// whose time it is, and two packets where a neighbour may accept either key of a rotation.
    pub(crate) fn sign(&mut self, id: u32, source: Ipv6Addr, mut bytes: Vec<u8>) -> Vec<Vec<u8>> {
        let wall = self.wall();
        let Some(interface) = self.interfaces.get_mut(&id) else {
            return Vec::new();
        };
        if interface.config.authentication.is_none() {
            return vec![bytes];
        }
        let heard = interface.heard_protocol_id();
        // RFC 7166 4.2: the checksum is left out, the digest covers more.
        if let Some(checksum) = bytes.get_mut(12..14) {
            checksum.fill(0);
        }
        let mut signed = Vec::new();
        let mut expired = None;
        for signer in interface.signers(wall) {
            self.sequence += 1;
            let mut packet = bytes.clone();
            signer.key.sign(heard, self.sequence, source, &mut packet);
            signed.push(packet);
            expired = expired.or(signer.expired.then_some(signer.key.sa_id));
        }
        if signed.is_empty() {
            self.count(Refusal::AuthNoKey);
            return signed;
        }
        let is_new = interface.key_expired != expired.is_some();
        interface.key_expired = expired.is_some();
        if let Some(sa_id) = expired.filter(|_| is_new) {
            let interface = id;
            self.event(Event::LastKeyExpired { interface, sa_id });
        }
        signed
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
        let accepts = match kind {
            PacketType::Hello if !sections.signalling.is_empty() => {
                decode_accepted(sections.signalling)
            }
            _ => Ok(None),
        };
        let signed = Signed {
            kind,
            sa_id: trailer.sa_id,
            sequence: trailer.sequence,
            protocol_id,
            accepts,
        };
        Ok((packet, Some(signed)))
    }

    /// Remembers how a packet that passed was signed, if its sender is a neighbour. Its sequence number, for its type
    /// alone: packets of one type come in order, a Hello may overtake an update (RFC 7166 4.6).
    pub(crate) fn remember_signed(&mut self, peer: Peer, signed: &Signed) {
        if signed.accepts.is_err() {
            self.count(Refusal::Signalling);
        }
        let before = self.neighbor_rotation(peer);
        let Some(neighbor) = self.neighbor_mut(peer) else {
            return;
        };
        neighbor.sequences.insert(signed.kind, signed.sequence);
        neighbor.protocol_id = Some(signed.protocol_id);
        neighbor.signs_with = Some(signed.sa_id);
        if signed.kind == PacketType::Hello {
            neighbor.accepts = signed.accepts.clone().ok().flatten();
        }
        let after = self.neighbor_rotation(peer);
        if let Some(rotation) = after.filter(|_| before != after) {
            self.event(Event::RotationChanged { peer, rotation });
        }
    }

    /// How far a neighbour is, if its interface has a rotation.
    fn neighbor_rotation(&self, peer: Peer) -> Option<NeighborRotation> {
        let interface = self.interfaces.get(&peer.interface)?;
        let rotation = interface.config.rotation.as_ref()?;
        interface.neighbors.get(&peer.router_id)?.rotation(rotation)
    }

    /// What is behind a Hello: what this end accepts, where a secret is rotated. Not where a neighbour knows nothing of
    /// address families, as all of our own do: FRR 8.4, which does not, drops signed Hellos with such a block.
    pub(crate) fn signalling(&self, id: u32) -> Option<Vec<u8>> {
        let interface = self.interfaces.get(&id)?;
        let mut neighbors = interface.neighbors.values();
        if !neighbors.all(|neighbor| neighbor.options.contains(Options::AF)) {
            return None;
        }
        let config = &interface.config;
        config.authentication.as_ref()?;
        let rotation = config.rotation.as_ref()?;
        Some(encode_accepted(&rotation.accepts))
    }
}
