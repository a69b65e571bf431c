//! Link State Requests: RFC 2328 10.7 and 10.9.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Core;
use crate::lsdb::DbId;
use crate::neighbor::{NeighborEvent, NeighborState};
use crate::peer::Peer;
use crate::refusal::{Refusal, Refused};
use crate::wire::{LsaKey, PacketBody, Scope};

/// How long what another neighbour was asked for is left to it.
const ASKED_ELSEWHERE: Duration = Duration::from_secs(1);

impl Core {
    /// Moves every neighbour in Exchange or Loading on: the next request, or Full.
    pub(crate) fn advance_loading(&mut self) {
        let mut ready = Vec::new();
        for peer in &self.exchanging {
            let Some(neighbor) = self.neighbor(*peer) else {
                continue;
            };
            let loading = neighbor.state == NeighborState::Loading;
            let complete = neighbor.requests.is_empty();
            let idle = neighbor.requested.is_empty() && neighbor.request_at.is_none();
            if loading && complete || idle && !complete {
                ready.push((*peer, complete));
            }
        }
        if self.exchanging.is_empty() {
            self.asked.clear();
        }
        for (peer, complete) in ready {
            if complete {
                self.neighbor_event(peer, NeighborEvent::LoadingDone);
            } else {
                self.send_request(peer);
            }
        }
    }

    /// Asks for as much as fits into a packet, and again until it has come (RFC 2328 10.9). What another neighbour
    /// has been asked for is left to that one: a router that comes back to hundreds of neighbours would else
    /// get its database from each of them.
    pub(crate) fn send_request(&mut self, peer: Peer) {
        let now = self.now;
        let Some(interface) = self.interfaces.get_mut(&peer.interface) else {
            return;
        };
        let again = now + interface.config.retransmit();
        let most = interface.body_room() / LsaKey::REQUEST_LEN;
        let Some(neighbor) = interface.neighbors.get_mut(&peer.router_id) else {
            return;
        };
        let area = interface.config.area;
        let waiting = !neighbor.requests.is_empty();
        let wanted: Vec<LsaKey> = neighbor.requests.keys().copied().collect();
        let mut keys = Vec::new();
        for key in wanted {
            if keys.len() == most {
                break;
            }
            let db = match key.ty.scope() {
                Some(Scope::Area) => DbId::Area(area),
                Some(Scope::As) => DbId::As,
                _ => DbId::Link(peer.interface),
            };
            let asked = self.asked.get(&(db, key));
            let asked = asked.filter(|(it, at)| *it != peer && now < *at + ASKED_ELSEWHERE);
            let other = asked.and_then(|(other, _)| self.neighbor(*other));
            if other.is_some_and(|other| other.requested.contains(&key)) {
                continue;
            }
            self.asked.insert((db, key), (peer, now));
            keys.push(key);
        }
        let again = if keys.is_empty() {
            now + ASKED_ELSEWHERE
        } else {
            again
        };
        let Some(interface) = self.interfaces.get_mut(&peer.interface) else {
            return;
        };
        let Some(neighbor) = interface.neighbors.get_mut(&peer.router_id) else {
            return;
        };
        neighbor.requested = keys.iter().copied().collect();
        neighbor.request_at = waiting.then_some(again);
        if keys.is_empty() {
            return;
        }
        let address = neighbor.address;
        let destination = interface.unicast(address);
        self.send(
            peer.interface,
            destination,
            PacketBody::LinkStateRequest(keys),
        );
    }

    /// RFC 2328 10.7.
    pub(crate) fn receive_request(&mut self, peer: Peer, keys: Vec<LsaKey>) -> Result<(), Refused> {
        // Each once, however often it is asked for.
        let wanted: BTreeSet<LsaKey> = keys.into_iter().collect();
        let mut found: Vec<(DbId, LsaKey)> = Vec::with_capacity(wanted.len());
        for key in wanted {
            let db = self.db_for(peer.interface, key.ty);
            let db = db.filter(|db| {
                self.databases
                    .get(db)
                    .is_some_and(|d| d.get(&key).is_some())
            });
            let Some(db) = db else {
                let event = NeighborEvent::BadLsReq;
                self.neighbor_event(peer, event);
                return Err(Refusal::BadRequest.into());
            };
            found.push((db, key));
        }
        let Some(interface) = self.interfaces.get(&peer.interface) else {
            return Ok(());
        };
        let Some(neighbor) = interface.neighbors.get(&peer.router_id) else {
            return Ok(());
        };
        let destination = interface.unicast(neighbor.address);
        self.send_updates(peer.interface, destination, found);
        Ok(())
    }
}
