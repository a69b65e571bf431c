//! Flooding: RFC 2328 13.3 and 13.6, RFC 5340 4.5.2.

use std::cmp::Ordering;
use std::time::Duration;

use super::Core;
use super::acks::ACK_DELAY;
use super::tellers::{Tellers, WAIT};
use crate::config::{InterfaceKind, Time};
use crate::interface::InterfaceState;
use crate::lsdb::DbId;
use crate::neighbor::NeighborState;
use crate::peer::Peer;
use crate::wire::{LsaKey, LsaType};

/// Most LSAs sent again at once to one neighbour, and the pause before the next ones.
const RETRANSMIT_BURST: usize = 512;
const RETRANSMIT_PACE: Duration = Duration::from_millis(50);
/// How often a Grace-LSA is sent again to a neighbour that does not acknowledge it.
const GRACE_RETRANSMISSIONS: u32 = 10;
/// Slack after MinLSArrival: the way of the one instance may have been longer than the other's.
const ARRIVAL_SLACK: Duration = Duration::from_millis(100);

impl Core {
    /// Puts an LSA that was just installed on its way: on every retransmission list it belongs on,
    /// and out of every interface that has one. If the instance before was sent so lately that
    /// neighbours may drop this one for MinLSArrival, it is sent again as soon as they do not,
    /// rather than after RxmtInterval.
    ///
    /// Whether it goes back out of the interface it came from, which acknowledges it (RFC 2328
    /// 13.5).
    pub(crate) fn flood(&mut self, db: DbId, key: LsaKey, from: Option<Peer>) -> bool {
        let now = self.now;
        let entry = self
            .databases
            .get(&db)
            .and_then(|database| database.get(&key));
        let Some(entry) = entry else { return false };
        let mut back = false;
        self.confirming |= key.ty == LsaType::ROUTER && key.adv == self.config.router_id;
        let header = entry.header(now);
        let changed = entry.changed;
        let welcome = entry
            .previous_at
            .map(|at| at + self.config.min_ls_arrival + ARRIVAL_SLACK);
        let prompt = welcome.filter(|at| *at > now);
        if changed {
            self.end_helps_for_change(db, key, from);
        }
        let many = self.interfaces.len() > self.config.many_links;
        let tellers = self.databases.get(&db).filter(|_| {
            let of_area = matches!(db, DbId::Area(_));
            many && of_area && from.is_some() && key.adv != self.config.router_id
        });
        let tellers = tellers
            .map(|database| Tellers::new(database, &self.edges, self.config.router_id, key.adv));
        for (id, interface) in self.interfaces.iter_mut() {
            if !interface.is_up() || !self.config.shares(db, *id, interface.config.area) {
                continue;
            }
            // What is still to be acknowledged of an older instance needs no acknowledgement. If this one is at MaxAge and the older
            // one comes again from a neighbour that has removed both, it would stand for that, too.
            interface.delayed_acks.remove(&key);
            let later = now + interface.config.retransmit();
            let again_at = prompt.map_or(later, |at| at.min(later));
            let mut wanted = false;
            let point_to_point = interface.config.kind == InterfaceKind::PointToPoint;
            let tellers = tellers.as_ref().filter(|_| point_to_point);
            let mut waiting = false;
            for (router_id, neighbor) in &mut interface.neighbors {
                // RFC 2328 13 (5c): the old instance is on no list any more.
                neighbor.acknowledged(&key);
                // RFC 2328 13.3 (1a)
                if neighbor.state < NeighborState::Exchange {
                    continue;
                }
                // RFC 2328 13.3 (1b)
                if let Some(request) = neighbor.requests.get(&key) {
                    match header.compare(request) {
                        Ordering::Less => continue,
                        Ordering::Equal => {
                            neighbor.satisfied(&key);
                            continue;
                        }
                        Ordering::Greater => {
                            neighbor.satisfied(&key);
                        }
                    }
                }
                // RFC 2328 13.3 (1c)
                if from == Some(Peer::new(*id, *router_id)) {
                    continue;
                }
                // RFC 2328 13.3 (1d)
                if tellers.is_some_and(|tellers| tellers.others_tell(*router_id)) {
                    neighbor.expect_ack(key, now + WAIT);
                    self.counters.floods_waited += 1;
                    waiting = true;
                    continue;
                }
                neighbor.expect_ack(key, again_at);
                wanted = true;
            }
            if waiting {
                // It may be waiting for us too.
                interface.delayed_acks.insert(key, header);
                interface.ack_at.get_or_insert(now + ACK_DELAY);
            }
            let Some(from) = from.filter(|from| from.interface == *id) else {
                if wanted {
                    interface.flood.insert((db, key));
                    self.flooding.insert(*id);
                }
                continue;
            };
            // RFC 2328 13.3 (3) and (4): on this link the Designated Router floods, or has.
            let elected = interface.is_elected(from.router_id);
            if wanted && !elected && interface.state != InterfaceState::Backup {
                interface.flood.insert((db, key));
                self.flooding.insert(*id);
                back = true;
            }
        }
        back
    }

    /// Sends what this call has put on its way, packed together.
    pub(crate) fn send_floods(&mut self) {
        for id in std::mem::take(&mut self.flooding) {
            let Some(interface) = self.interfaces.get_mut(&id) else {
                continue;
            };
            let keys = std::mem::take(&mut interface.flood);
            let destination = interface.multicast();
            self.send_updates(id, destination, keys);
        }
    }

    /// RFC 2328 13.6: sends again what a neighbour has not acknowledged.
    pub(crate) fn retransmit(&mut self, peer: Peer) {
        let now = self.now;
        let Some(interface) = self.interfaces.get_mut(&peer.interface) else {
            return;
        };
        let databases = self.config.shared(peer.interface, interface.config.area);
        let again = now + interface.config.retransmit();
        let give_up = interface.config.retransmit() * GRACE_RETRANSMISSIONS;
        let Some(neighbor) = interface.neighbors.get_mut(&peer.router_id) else {
            return;
        };
        let mut keys = Vec::new();
        let mut gone = Vec::new();
        let mut next: Option<Time> = None;
        for (key, at) in &mut neighbor.unacknowledged {
            if *at <= now && keys.len() < RETRANSMIT_BURST {
                let entry = |db: &DbId| {
                    let entry = self.databases.get(db)?.get(key)?;
                    Some((*db, entry.installed()))
                };
                match databases.iter().find_map(entry) {
                    Some((_, since)) if key.ty == LsaType::GRACE && now >= since + give_up => {
                        // A router that does not help may ignore it, as FRR does.
                        self.counters.graceful.unacknowledged += 1;
                        gone.push(*key);
                    }
                    Some((db, _)) => keys.push((db, *key)),
                    None => gone.push(*key),
                }
                *at = again;
            }
            let at = if *at <= now {
                now + RETRANSMIT_PACE
            } else {
                *at
            };
            next = Some(next.map_or(at, |next| next.min(at)));
        }
        neighbor.retransmit_at = next;
        for key in gone {
            neighbor.acknowledged(&key);
            self.confirming |= key.ty == LsaType::ROUTER;
        }
        let address = neighbor.address;
        let destination = interface.unicast(address);
        self.counters.lsas_retransmitted += keys.len() as u64;
        self.send_updates(peer.interface, destination, keys);
    }
}
