//! Receiving Link State Updates: RFC 2328 13 and 13.4, RFC 5340 4.5.1.

use std::cmp::Ordering;
use std::net::Ipv6Addr;
use std::sync::Arc;

use super::Core;
use crate::event::Event;
use crate::graceful::Phase;
use crate::interface::InterfaceState;
use crate::lsdb::{DbId, Origin};
use crate::neighbor::NeighborEvent;
use crate::pace::arrival_burst;
use crate::peer::Peer;
use crate::refusal::{Mismatch, Refusal, Refused};
use crate::wire::{BadLsa, DecodeError, Lsa, LsaBody, LsaHeader, LsaKey, LsaType, MAX_SEQUENCE};

/// What is left to do once every LSA of an update has been looked at.
#[derive(Default)]
struct Answers {
    /// Headers to acknowledge at once.
    acks: Vec<LsaHeader>,
    /// LSAs of which the neighbour has an older instance.
    newer: Vec<(DbId, LsaKey)>,
}

impl Core {
    /// RFC 2328 13.
    pub(crate) fn receive_update(
        &mut self,
        restart: Option<Phase>,
        peer: Peer,
        source: Ipv6Addr,
        lsas: Vec<Result<Lsa, BadLsa>>,
    ) -> Result<(), Refused> {
        let mut answers = Answers::default();
        let mut outcome = Ok(());
        for lsa in lsas {
            let origin = lsa.as_ref().ok().map(|lsa| lsa.key().adv);
            let result = match lsa {
                Ok(lsa) => self.receive_lsa(restart, peer, lsa, &mut answers),
                Err(bad) => self.receive_bad_lsa(peer, bad),
            };
            match result {
                Ok(()) => {}
                Err(Refusal::BadRequest) => {
                    // RFC 2328 13 (6): stop processing this packet.
                    let event = NeighborEvent::BadLsReq;
                    self.neighbor_event(peer, event);
                    outcome = Err(Refusal::BadRequest.into());
                    break;
                }
                Err(reason) => {
                    let limits = self.config.limits;
                    let whose = match (reason, origin) {
                        (Refusal::OriginFull, Some(origin)) => Some((limits.origin_lsas, origin)),
                        (Refusal::EdgeNotGranted, Some(origin)) => Some((0, origin)),
                        (Refusal::NeighborFull, _) => Some((limits.neighbor_lsas, peer.router_id)),
                        _ => None,
                    };
                    let whose = whose.map(|(limit, router_id)| Mismatch {
                        ours: u32::try_from(limit).unwrap_or(u32::MAX),
                        theirs: router_id.to_bits(),
                    });
                    self.refuse(peer.interface, source, reason, whose);
                }
            }
        }
        self.send_acks(peer.interface, Some(peer), answers.acks);
        if let Some(interface) = self.interfaces.get(&peer.interface)
            && let Some(neighbor) = interface.neighbors.get(&peer.router_id)
        {
            let destination = interface.unicast(neighbor.address);
            self.send_updates(peer.interface, destination, answers.newer);
        }
        outcome
    }

    /// An LSA that is nonsense under a right checksum will be no better the next time, and must not
    /// keep the adjacency from ever becoming Full: it is not requested again. One whose checksum is
    /// wrong is requested once more.
    fn receive_bad_lsa(&mut self, peer: Peer, bad: BadLsa) -> Result<(), Refusal> {
        if let Some(neighbor) = self.neighbor_mut(peer)
            && (bad.error != DecodeError::LsaChecksum || neighbor.futile_requests > 0)
        {
            neighbor.satisfied(&bad.header.key);
        }
        Err(bad.error.into())
    }

    fn receive_lsa(
        &mut self,
        restart: Option<Phase>,
        peer: Peer,
        lsa: Lsa,
        answers: &mut Answers,
    ) -> Result<(), Refusal> {
        let now = self.now;
        let key = lsa.key();
        let header = *lsa.header();
        let db_id = self
            .db_for(peer.interface, key.ty)
            .ok_or(Refusal::LsaScope)?;
        let exchanging = !self.exchanging.is_empty();
        let ours = self.is_ours(key.adv);
        let requested = self
            .neighbor_mut(peer)
            .is_some_and(|n| n.requests.contains_key(&key));
        let origin = if requested {
            Origin::Requested
        } else {
            Origin::Flooded
        };
        let strangers = self.is_strangers(peer, &key);
        let database = self.databases.get_or_default(db_id);
        let Some(old) = database.get(&key) else {
            if strangers {
                return self.accept_lsa(restart, peer, db_id, lsa, origin);
            }
            let room = database.room(&lsa, peer, &self.config.limits).is_ok();
            if header.is_max_age() && (!exchanging || !room) {
                // RFC 2328 13 (4): no neighbour needs it, or there is no way to keep it.
                database.remember_removed(&header, now);
                answers.acks.push(header);
                if let Some(neighbor) = self.neighbor_mut(peer) {
                    neighbor.satisfied(&key);
                }
                return Ok(());
            }
            // One of ours is flushed again, however late it is.
            if !requested && !ours && database.is_late_copy(&header, now) {
                return Err(Refusal::LsaOlder);
            }
            return self.accept_lsa(restart, peer, db_id, lsa, origin);
        };
        let old_header = old.header(now);
        match header.compare(&old_header) {
            Ordering::Greater => {
                // RFC 2328 13 (5a)
                let (interval, burst) = (self.config.min_ls_arrival, arrival_burst(key.ty));
                let due = old.arrivals.due(interval, burst);
                if !requested && old.origin == Origin::Flooded && now < due {
                    return Err(Refusal::MinLsArrival);
                }
                self.accept_lsa(restart, peer, db_id, lsa, origin)
            }
            // RFC 2328 13 (6)
            Ordering::Less if requested => Err(Refusal::BadRequest),
            Ordering::Equal => {
                // RFC 2328 13 (6) would begin the exchange again. But what was described as newer for being
                // younger by more than MaxAgeDiff (13.1) has aged on its way, and may be no more than
                // MaxAgeDiff younger when it is here: again and again, until its router refreshes it.
                // A copy of an instance before the one that was described does not answer the request.
                if let Some(neighbor) = self.neighbor_mut(peer)
                    && neighbor.requests.get(&key).is_some_and(|it| {
                        (it.sequence, it.checksum) == (header.sequence, header.checksum)
                    })
                {
                    neighbor.satisfied(&key);
                }
                // RFC 2328 13 (7): an implied acknowledgment, or a duplicate to acknowledge at once.
                let implied = self
                    .neighbor_mut(peer)
                    .is_some_and(|n| n.acknowledged(&key));
                self.confirm_soon(key);
                if !implied {
                    answers.acks.push(header);
                } else if self.is_backup(peer.interface) {
                    self.acknowledge_later(peer, header);
                }
                Ok(())
            }
            Ordering::Less => {
                // RFC 2328 13 (8)
                let wrapping = old_header.is_max_age() && old_header.sequence == MAX_SEQUENCE;
                let recently = old
                    .last_sent
                    .is_some_and(|at| now < at + self.config.min_ls_arrival);
                if !wrapping && !recently {
                    answers.newer.push((db_id, key));
                }
                Err(Refusal::LsaOlder)
            }
        }
    }

    /// RFC 2328 13 (5b) to (5f).
    fn accept_lsa(
        &mut self,
        restart: Option<Phase>,
        peer: Peer,
        db_id: DbId,
        lsa: Lsa,
        origin: Origin,
    ) -> Result<(), Refusal> {
        let now = self.now;
        let key = lsa.key();
        let header = *lsa.header();
        let ours = self.is_ours(key.adv);
        if self.is_strangers(peer, &key) && !(ours && self.may_resume_from_edges(restart)) {
            self.set_aside(peer, &header);
            return match ours {
                true => self.outbid_edge(db_id, lsa),
                false => Err(Refusal::EdgeStranger),
            };
        }
        if let Err(reason) = self.check_edge(db_id, &lsa) {
            self.set_aside(peer, &header);
            return Err(reason);
        }
        let (prefixes, routers) = if ours {
            self.news_of_another(db_id, &lsa)
        } else {
            Default::default()
        };
        let database = self.databases.get_or_default(db_id);
        if !ours && let Err(full) = database.room(&lsa, peer, &self.config.limits) {
            // Not acknowledged, so it is offered again, and there may be room then. But an adjacency
            // that waits for it would never become Full, and an LSA at MaxAge never be removed while it waits.
            if let Some(neighbor) = self.neighbor_mut(peer) {
                neighbor.satisfied(&key);
            }
            return Err(full);
        }
        let lsa = Arc::new(lsa);
        let changed = database.install(Arc::clone(&lsa), now, origin, Some(peer));
        if origin == Origin::Flooded {
            database.arrived(&key, now, self.config.min_ls_arrival);
        }
        if !self.flood(db_id, key, Some(peer)) {
            self.acknowledge_later(peer, header);
        }
        if key.ty == LsaType::LINK {
            // As Designated Router we gather its prefixes and options.
            self.reconcile_soon();
        }
        if let LsaBody::Grace(grace) = lsa.body() {
            self.receive_grace(peer.interface, &header, *grace, restart);
        }
        if ours && restart == Some(Phase::Resuming) {
            // RFC 3623 2.2: it is taken as it is.
            self.counters.lsas_installed += 1;
        } else if ours {
            // RFC 2328 13.4: an instance of our own that is newer than ours.
            self.counters.self_originated_received += 1;
            self.event(Event::SelfOriginatedReceived {
                lsa: key,
                sequence: header.sequence,
                prefixes,
                routers,
            });
            self.reconcile_soon();
        } else {
            self.counters.lsas_installed += 1;
            if key.ty == LsaType::ROUTER {
                self.compare_links(db_id, key.adv);
            }
        }
        if changed {
            self.lsa_changed();
        }
        Ok(())
    }

    fn is_backup(&self, id: u32) -> bool {
        let state = self.interfaces.get(&id).map(|interface| interface.state);
        state == Some(InterfaceState::Backup)
    }
}
