//! What a packet has to pass before anything uses it, RFC 5340 4.2.2.

use std::net::Ipv6Addr;

use super::Core;
use super::authenticate::Signed;
use crate::graceful::Phase;
use crate::neighbor::NeighborState;
use crate::peer::Peer;
use crate::refusal::{Refusal, Refused};
use crate::wire::{ALL_D_ROUTERS, ALL_SPF_ROUTERS, Packet, PacketBody};

impl Core {
    /// A packet came in; how far a restart of ours is.
    pub(crate) fn receive(
        &mut self,
        restart: Option<Phase>,
        id: u32,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        bytes: &[u8],
    ) {
        let outcome =
            self.check_packet(id, source, destination, bytes)
                .and_then(|(packet, signed)| {
                    let peer = Peer::new(id, packet.header.router_id);
                    // First: the answer is signed with what the neighbour accepts.
                    if let Some(signed) = &signed {
                        self.remember_signed(peer, signed);
                    }
                    self.dispatch(restart, peer, source, packet, signed.as_ref())
                });
        if let Err(Refused(reason, mismatch)) = outcome {
            self.refuse(id, source, reason, mismatch);
        }
    }

    fn check_packet(
        &self,
        id: u32,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        bytes: &[u8],
    ) -> Result<(Packet, Option<Signed>), Refused> {
        let interface = self.interfaces.get(&id).ok_or(Refusal::UnknownInterface)?;
        if !interface.is_up() {
            return Err(Refusal::InterfaceDown.into());
        }
        let config = &interface.config;
        if source == config.link_local {
            return Err(Refusal::OwnPacket.into());
        }
        // RFC 5340 2.5 and 4.2.2: link-local, as there are no virtual links here.
        if !source.is_unicast_link_local() {
            return Err(Refusal::SourceAddress.into());
        }
        // RFC 5340 4.2.2: AllDRouters is only for Designated Routers and their Backups.
        if destination == ALL_D_ROUTERS && !interface.is_dr_or_bdr() {
            return Err(Refusal::NotDesignated.into());
        }
        let for_us = [ALL_SPF_ROUTERS, ALL_D_ROUTERS, config.link_local];
        if !for_us.contains(&destination) {
            return Err(Refusal::DestinationAddress.into());
        }
        let (packet, signed) = self.authenticate(id, source, destination, bytes)?;
        let header = packet.header;
        if header.area != config.area {
            let (ours, theirs) = (config.area.to_bits(), header.area.to_bits());
            return Err(Refused::mismatch(Refusal::AreaMismatch, ours, theirs));
        }
        if header.instance_id != config.instance_id {
            let (ours, theirs) = (config.instance_id, header.instance_id);
            return Err(Refused::mismatch(Refusal::InstanceMismatch, ours, theirs));
        }
        if header.router_id.is_unspecified() {
            return Err(Refusal::ZeroRouterId.into());
        }
        if self.is_ours(header.router_id) {
            return Err(Refusal::DuplicateRouterId.into());
        }
        if let Some(edge) = config
            .edge
            .as_ref()
            .filter(|edge| edge.router_id != header.router_id)
        {
            let (ours, theirs) = (edge.router_id.to_bits(), header.router_id.to_bits());
            return Err(Refused::mismatch(Refusal::EdgeRouterId, ours, theirs));
        }
        Ok((packet, signed))
    }

    fn dispatch(
        &mut self,
        restart: Option<Phase>,
        peer: Peer,
        source: Ipv6Addr,
        packet: Packet,
        signed: Option<&Signed>,
    ) -> Result<(), Refused> {
        self.counters.received.add(packet.body.packet_type());
        if let PacketBody::Hello(hello) = packet.body {
            let resuming = restart == Some(Phase::Resuming);
            return self.receive_hello(peer, source, (&hello, signed), resuming);
        }
        // RFC 5340 4.2.2: the neighbour is known by its Router ID.
        let state = self.neighbor_state(peer).ok_or(Refusal::UnknownNeighbor)?;
        if let PacketBody::DatabaseDescription(dd) = packet.body {
            return self.receive_dd(peer, &dd);
        }
        // RFC 2328 10.7, 13 and 13.7: only from Exchange on.
        if state < NeighborState::Exchange {
            return Err(Refusal::NeighborState.into());
        }
        match packet.body {
            PacketBody::LinkStateRequest(keys) => self.receive_request(peer, keys),
            PacketBody::LinkStateUpdate(lsas) => self.receive_update(restart, peer, source, lsas),
            PacketBody::LinkStateAck(headers) => self.receive_acks(peer, &headers),
            PacketBody::Hello(_) | PacketBody::DatabaseDescription(_) => Ok(()),
        }
    }

    pub(crate) fn neighbor_state(&self, peer: Peer) -> Option<NeighborState> {
        self.neighbor(peer).map(|neighbor| neighbor.state)
    }
}
