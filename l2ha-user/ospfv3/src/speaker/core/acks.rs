//! Acknowledgments: RFC 2328 13.5 and 13.7.

use std::time::Duration;

use super::Core;
use crate::interface::InterfaceState;
use crate::peer::Peer;
use crate::refusal::{Refusal, Refused};
use crate::wire::{LSA_HEADER_LEN, LsaHeader, PacketBody};

/// How long acknowledgments wait for company. RFC 2328 13.5: shorter than RxmtInterval.
pub(super) const ACK_DELAY: Duration = Duration::from_millis(200);

impl Core {
    /// RFC 2328 13.7.
    pub(crate) fn receive_acks(
        &mut self,
        peer: Peer,
        headers: &[LsaHeader],
    ) -> Result<(), Refused> {
        let now = self.now;
        for header in headers {
            let Some(db) = self.db_for(peer.interface, header.key.ty) else {
                continue;
            };
            let entry = self.databases.get(&db).and_then(|db| db.get(&header.key));
            let same = entry.is_some_and(|entry| header.compare(&entry.header(now)).is_eq());
            let Some(neighbor) = self.neighbor_mut(peer) else {
                return Ok(());
            };
            if same {
                neighbor.acknowledged(&header.key);
                self.confirm_soon(header.key);
            } else if neighbor.unacknowledged.contains_key(&header.key) {
                self.count(Refusal::AckMismatch);
            }
        }
        Ok(())
    }

    /// RFC 2328 13.5, table 19: an LSA that was not flooded back is acknowledged with delay, except
    /// that the Backup leaves it to the Designated Router's flood unless it comes from that one.
    pub(crate) fn acknowledge_later(&mut self, peer: Peer, header: LsaHeader) {
        let Some(interface) = self.interfaces.get(&peer.interface) else {
            return;
        };
        let from_dr = interface.elected.dr == Some(peer.router_id);
        if interface.state != InterfaceState::Backup || from_dr {
            self.delay_ack(peer.interface, header);
        }
    }

    /// Acknowledges an LSA together with others, soon.
    fn delay_ack(&mut self, id: u32, header: LsaHeader) {
        let now = self.now;
        let Some(interface) = self.interfaces.get_mut(&id) else {
            return;
        };
        interface.delayed_acks.insert(header.key, header);
        interface.ack_at.get_or_insert(now + ACK_DELAY);
        if interface.delayed_acks.len() >= interface.body_room() / LSA_HEADER_LEN {
            self.send_delayed_acks(id);
        }
    }

    pub(crate) fn send_delayed_acks(&mut self, id: u32) {
        let Some(interface) = self.interfaces.get_mut(&id) else {
            return;
        };
        interface.ack_at = None;
        let headers: Vec<LsaHeader> = std::mem::take(&mut interface.delayed_acks)
            .into_values()
            .collect();
        self.send_acks(id, None, headers);
    }

    /// Sends acknowledgments, to one neighbour or to all.
    pub(crate) fn send_acks(&mut self, id: u32, to: Option<Peer>, headers: Vec<LsaHeader>) {
        let Some(interface) = self.interfaces.get(&id) else {
            return;
        };
        let neighbor = to.and_then(|peer| interface.neighbors.get(&peer.router_id));
        let destination = neighbor.map_or(interface.multicast(), |neighbor| {
            interface.unicast(neighbor.address)
        });
        let most = (interface.body_room() / LSA_HEADER_LEN).max(1);
        for chunk in headers.chunks(most) {
            self.send(id, destination, PacketBody::LinkStateAck(chunk.to_vec()));
        }
    }
}
