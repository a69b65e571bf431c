//! The database exchange as it is received: RFC 2328 10.6 and 10.8.

use std::net::Ipv6Addr;
use std::time::Duration;

use super::Core;
use crate::config::{InterfaceConfig, Time};
use crate::neighbor::{Exchange, NeighborEvent, NeighborState};
use crate::peer::Peer;
use crate::refusal::{Refusal, Refused};
use crate::wire::{DatabaseDescription, DdFlags, Family, LsaHeader, LsaKey, Options};

/// The flags of the first packet of an exchange.
pub(crate) const INITIAL: DdFlags = DdFlags {
    init: true,
    more: true,
    master: true,
};

/// How late packets may be. Shorter than any interval of retransmission, 1 s at least.
const LATE: Duration = Duration::from_millis(900);
/// How many sequence numbers that time may take.
const LATE_NUMBERS: u32 = 1000;

impl Core {
    /// RFC 2328 10.6.
    pub(crate) fn receive_dd(
        &mut self,
        peer: Peer,
        dd: &DatabaseDescription,
    ) -> Result<(), Refused> {
        let now = self.now;
        let Some(interface) = self.interfaces.get(&peer.interface) else {
            return Ok(());
        };
        let fits = check_mtu(self.config.family, &interface.config, dd);
        // The smaller end refuses, and the larger one has nothing to refuse: it sees it here.
        if let Some(neighbor) = self.neighbor_mut(peer) {
            neighbor.mtu = (!dd.other_mtu).then_some(dd.mtu);
        }
        fits?;
        if self.neighbor_state(peer) == Some(NeighborState::Init) {
            // It hears us, or it would not describe its database to us.
            self.two_way(peer);
        }
        let exchange = self.exchange_mut(peer);
        let late = exchange.is_some_and(|exchange| exchange.is_late_beginning(now, dd));
        match self.neighbor_state(peer) {
            Some(NeighborState::ExStart) => self.negotiate(peer, dd, late),
            Some(NeighborState::Exchange) => self.continue_exchange(peer, dd, late),
            Some(NeighborState::Loading | NeighborState::Full) => {
                self.after_exchange(peer, dd, late)
            }
            _ => Err(Refusal::NeighborState.into()),
        }
    }

    /// In ExStart: which router is master?
    fn negotiate(
        &mut self,
        peer: Peer,
        dd: &DatabaseDescription,
        late: bool,
    ) -> Result<(), Refused> {
        let now = self.now;
        let higher = peer.router_id > self.config.router_id;
        let Some(exchange) = self.exchange_mut(peer) else {
            return Ok(());
        };
        let claims = dd.flags == INITIAL && dd.headers.is_empty();
        if claims && higher {
            if late {
                // Were it answered twice, with what the database has become in between, it could
                // not be said which answer the master went on from.
                return Err(Refusal::DdDuplicate.into());
            }
            exchange.master = false;
            exchange.sequence = dd.sequence;
            exchange.began = Some((dd.sequence, now));
            exchange.repeat_at = None;
        } else if !dd.flags.init && !dd.flags.master && dd.sequence == exchange.sequence && !higher
        {
            exchange.master = true;
        } else {
            // The initial packet of a slave to be, or a straggler.
            if claims
                && exchange
                    .claimed
                    .is_some_and(|claimed| claimed != dd.sequence)
            {
                // It has begun again: what it says to our present number may be from before.
                self.start_exchange(peer);
            }
            if let Some(exchange) = self.exchange_mut(peer).filter(|_| claims) {
                exchange.claimed = Some(dd.sequence);
            }
            return Err(Refusal::DdDuplicate.into());
        }
        self.neighbor_event(peer, NeighborEvent::NegotiationDone);
        self.accept_dd(peer, dd);
        Ok(())
    }

    fn continue_exchange(
        &mut self,
        peer: Peer,
        dd: &DatabaseDescription,
        late: bool,
    ) -> Result<(), Refused> {
        let Some(exchange) = self.exchange_mut(peer) else {
            return Ok(());
        };
        let master = exchange.master;
        if is_duplicate(exchange.last_received, dd) {
            if !master {
                self.repeat_dd(peer);
            }
            return Err(Refusal::DdDuplicate.into());
        }
        if late || exchange.is_what_it_began_with(dd) {
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
            return self.restart_exchange(peer, dd);
        }
        self.accept_dd(peer, dd);
        Ok(())
    }

    /// In Loading and Full only a repetition is legal.
    fn after_exchange(
        &mut self,
        peer: Peer,
        dd: &DatabaseDescription,
        late: bool,
    ) -> Result<(), Refused> {
        let Some(exchange) = self.exchange_mut(peer) else {
            return Ok(());
        };
        let moved_on = !is_duplicate(exchange.last_received, dd);
        if moved_on && (late || exchange.is_what_it_began_with(dd)) {
            return Err(Refusal::DdDuplicate.into());
        }
        if is_duplicate(exchange.last_received, dd) {
            if exchange.master {
                return Err(Refusal::DdDuplicate.into());
            }
            // RFC 2328 10.8: kept for the dead interval, no longer.
            if exchange.last_sent.is_some() {
                self.repeat_dd(peer);
                return Err(Refusal::DdDuplicate.into());
            }
        }
        self.restart_exchange(peer, dd)
    }

    /// SeqNumberMismatch. If the packet that broke the exchange begins a new one, as after a
    /// restart of the neighbour, it is taken as such instead of waiting for its repetition.
    fn restart_exchange(&mut self, peer: Peer, dd: &DatabaseDescription) -> Result<(), Refused> {
        let higher = peer.router_id > self.config.router_id;
        if let Some(exchange) = self.exchange_mut(peer) {
            exchange.yields = dd.flags == INITIAL && higher;
        }
        self.neighbor_event(peer, NeighborEvent::SeqNumberMismatch);
        if dd.flags == INITIAL {
            let _ = self.negotiate(peer, dd, false);
        }
        Err(Refusal::DdSequence.into())
    }

    /// The packet is the next in sequence (RFC 2328 10.6, 10.8).
    fn accept_dd(&mut self, peer: Peer, dd: &DatabaseDescription) {
        for header in &dd.headers {
            self.request_if_newer(peer, header);
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
                self.send_next_dd(peer);
            } else {
                self.finish_exchange(peer);
            }
        } else {
            exchange.sequence = dd.sequence;
            self.send_next_dd(peer);
            let Some(exchange) = self.exchange_mut(peer) else {
                return;
            };
            let more = exchange
                .last_sent
                .as_ref()
                .is_none_or(|sent| sent.flags.more);
            if !more && !dd.flags.more {
                self.finish_exchange(peer);
            }
        }
    }

    fn finish_exchange(&mut self, peer: Peer) {
        let now = self.now;
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
        self.neighbor_event(peer, event);
    }

    fn request_if_newer(&mut self, peer: Peer, header: &LsaHeader) {
        let now = self.now;
        let key: LsaKey = header.key;
        if let Err(error) = header.check() {
            // It would be refused when it comes, and Loading would never end.
            let source = self.neighbor(peer).map(|neighbor| neighbor.address);
            let source = source.unwrap_or(Ipv6Addr::UNSPECIFIED);
            self.refuse(peer.interface, source, error.into(), None);
            return;
        }
        let Some(db) = self.db_for(peer.interface, key.ty) else {
            self.count(Refusal::LsaScope);
            return;
        };
        if !self.may_request(peer, &key) {
            self.count(Refusal::EdgeStranger);
            return;
        }
        let ours = self
            .databases
            .get(&db)
            .and_then(|db| db.get(&key))
            .map(|e| e.header(now));
        if ours.is_some_and(|ours| header.compare(&ours).is_le()) {
            return;
        }
        let limits = self.config.limits;
        let limit = limits.lsas.min(limits.neighbor_lsas);
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

    fn exchange_mut(&mut self, peer: Peer) -> Option<&mut Exchange> {
        self.neighbor_mut(peer)
            .map(|neighbor| &mut neighbor.exchange)
    }
}

impl Exchange {
    /// Whether this is a copy of the packet that began the exchange we are in, have just ended or have
    /// given up, as slave, or of one before that. To begin again with it would leave us in an exchange that
    /// the master knows nothing of. A master that was not answered repeats itself later than a copy
    /// comes.
    fn is_late_beginning(&mut self, now: Time, dd: &DatabaseDescription) -> bool {
        let Some((began, at)) = self.began.filter(|_| dd.flags == INITIAL) else {
            return false;
        };
        if began == dd.sequence {
            self.began = Some((began, now));
        }
        now < at + LATE && began.wrapping_sub(dd.sequence) < LATE_NUMBERS
    }

    /// Whether it is the packet that began this exchange.
    fn is_what_it_began_with(&self, dd: &DatabaseDescription) -> bool {
        let began = self.began.map(|(began, _)| began);
        !self.master && dd.flags == INITIAL && began == Some(dd.sequence)
    }
}

/// RFC 2328 10.6; RFC 5838 2.7: outside of the IPv6 family two MTUs have to fit, that of the family
/// and that of the IPv6 packets OSPF itself travels in. One field names both unless M6 is set; then
/// the latter is at least the 1280 of every IPv6 link.
fn check_mtu(
    family: Family,
    config: &InterfaceConfig,
    dd: &DatabaseDescription,
) -> Result<(), Refused> {
    let ours = config.family_mtu(family);
    if config.mtu_ignore {
        Ok(())
    } else if dd.mtu > ours {
        Err(Refused::mismatch(Refusal::MtuMismatch, ours, dd.mtu))
    } else if dd.mtu > config.mtu && !dd.other_mtu {
        let (ours, theirs) = (config.mtu, dd.mtu);
        Err(Refused::mismatch(Refusal::Ipv6MtuMismatch, ours, theirs))
    } else {
        Ok(())
    }
}

fn is_duplicate(last: Option<(DdFlags, Options, u32)>, dd: &DatabaseDescription) -> bool {
    last == Some((dd.flags, dd.options, dd.sequence))
}
