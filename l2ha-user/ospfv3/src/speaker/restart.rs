//! Our own graceful restart: RFC 3623 2, RFC 5187 2 and 3.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde::Serialize;

use super::Speaker;
use crate::config::Time;
use crate::event::Event;
use crate::graceful::{GracefulRestart, RestartEnd};
use crate::interface::{Interface, InterfaceEvent, InterfaceState};
use crate::lsdb::DbId;
use crate::neighbor::{Confirmation, NeighborState};
use crate::peer::Peer;
use crate::speaker::originator::desired::Desired;
use crate::wire::{
    ALL_SPF_ROUTERS, Grace, GraceReason, Hello, INITIAL_SEQUENCE, LinkKind, LsaBody, LsaKey,
    LsaType, Router, RouterLink,
};

/// How often a Grace-LSA is sent before the first Hello: nobody can acknowledge it yet, and the
/// Hello would end the adjacency without it (RFC 3623 2.1).
const GRACES: u8 = 3;
/// The pause between two of them.
const GRACE_GAP: Duration = Duration::from_millis(50);
/// How long the Grace-LSA stays after the restart: a neighbour that we are Full with may not be
/// Full with us before it has got what it has requested.
const FINISHING: Duration = Duration::from_secs(1);

/// Our restart, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RestartView {
    /// Milliseconds since it began.
    pub since_ms: u64,
    /// Milliseconds until it ends whatever happens.
    pub remaining_ms: u64,
    /// Why we restart.
    pub reason: GraceReason,
    /// Whether we are still in the life before.
    pub leaving: bool,
}

/// How far a restart is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// In the life before, saying so to the neighbours.
    Leaving,
    /// In the new life, finding out how things were.
    Resuming,
    /// Back; the neighbours hear of it at this time.
    Finishing(Time),
}

/// Our restart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Restart {
    announced: GracefulRestart,
    since: Time,
    phase: Phase,
}

impl Restart {
    fn until(&self) -> Time {
        self.since + Duration::from_secs(self.announced.period.into())
    }
}

impl Speaker {
    /// Asks the neighbours to go on as if nothing happened while this router restarts (RFC 3623
    /// 2.1, planned). The caller sends what [`poll_transmit`](Self::poll_transmit) gives, goes on
    /// until [`is_settled`](Self::is_settled), and forgets this speaker without
    /// [`shutdown`](Self::shutdown).
    pub fn begin_graceful_restart(&mut self, now: Time, announced: GracefulRestart) {
        self.now = now;
        // RFC 3623 3.1 (2): what we have not acknowledged would be a reason not to help us.
        let interfaces: Vec<u32> = self.interfaces.keys().copied().collect();
        for id in interfaces {
            self.send_delayed_acks(id);
        }
        self.restart = Some(Restart {
            announced,
            since: now,
            phase: Phase::Leaving,
        });
        self.reconcile_soon();
        self.settle();
    }

    /// Begins as the new life of a router whose forwarding plane has gone on alone. Called before
    /// the first interface is added. Until the restart is over there are no
    /// [`routes`](Self::routes), and those of before have to be kept.
    pub fn resume_graceful_restart(&mut self, now: Time, announced: GracefulRestart) {
        self.now = now;
        self.restart = Some(Restart {
            announced,
            since: now,
            phase: Phase::Resuming,
        });
    }

    /// Whether this is the new life of a router that restarts, and does not know yet how things
    /// were.
    pub fn is_resuming(&self) -> bool {
        matches!(
            self.restart,
            Some(Restart {
                phase: Phase::Resuming,
                ..
            })
        )
    }

    /// Our restart, if there is one.
    pub fn restart(&self) -> Option<RestartView> {
        let restart = self.restart.as_ref()?;
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Some(RestartView {
            since_ms: millis(self.now.saturating_sub(restart.since)),
            remaining_ms: millis(restart.until().saturating_sub(self.now)),
            reason: restart.announced.reason,
            leaving: restart.phase == Phase::Leaving,
        })
    }

    /// RFC 3623 2.2 (1): while we do not know how things were, whatever our life before has
    /// originated stands. What stays on the link is not concerned.
    pub(super) fn may_originate(&self, ty: LsaType) -> bool {
        !self.is_resuming() || matches!(ty, LsaType::LINK | LsaType::GRACE)
    }

    /// RFC 5187 2.1: one on each link, with our Interface ID as Link State ID.
    pub(super) fn desired_graces(&self, desired: &mut Desired) {
        let Some(restart) = &self.restart else {
            return;
        };
        let body = Grace {
            period: restart.announced.period.into(),
            reason: restart.announced.reason,
        };
        for interface in self.interfaces.values().filter(|i| i.speaks()) {
            let id = interface.config.id;
            let key = self.own_key(LsaType::GRACE, id);
            desired.insert((DbId::Link(id), key), LsaBody::Grace(body));
        }
    }

    /// Neighbours may still have the Grace-LSA of another life. One that is to mean something to
    /// them must be newer, and the number of this life is greater than any before.
    pub(super) fn first_sequence(&self, ty: LsaType) -> i32 {
        if ty == LsaType::GRACE {
            INITIAL_SEQUENCE.saturating_add_unsigned(self.config.authentication_epoch)
        } else {
            INITIAL_SEQUENCE
        }
    }

    /// An interface has come up: in a new life the Grace-LSA comes before the first Hello (RFC 3623
    /// 2.1, unplanned).
    pub(super) fn grace_first(&mut self, id: u32) {
        let now = self.now;
        if !self.is_resuming() {
            return;
        }
        if let Some(interface) = self.interfaces.get_mut(&id) {
            interface.graces = GRACES;
            interface.grace_at = Some(now);
            interface.hello_at = None;
        }
        self.grace_if_due(id);
    }

    pub(super) fn grace_if_due(&mut self, id: u32) {
        let now = self.now;
        let Some(interface) = self.interfaces.get_mut(&id) else {
            return;
        };
        if interface.grace_at.is_none_or(|at| at > now) {
            return;
        }
        if let Some(graces) = interface.graces.checked_sub(1) {
            interface.graces = graces;
            interface.grace_at = Some(now + GRACE_GAP);
            self.reconcile_if_due();
            let key = self.own_key(LsaType::GRACE, id);
            self.send_updates(id, ALL_SPF_ROUTERS, [(DbId::Link(id), key)]);
            return;
        }
        interface.grace_at = None;
        interface.hello_at = Some(now);
        let heard = interface.neighbors.iter();
        let heard: Vec<Ipv4Addr> = heard
            .filter(|(_, neighbor)| neighbor.hears_us)
            .map(|(router_id, _)| *router_id)
            .collect();
        self.hello_if_due(id);
        for router_id in heard {
            let interface = id;
            self.two_way(Peer {
                interface,
                router_id,
            });
        }
    }

    /// Whether a Grace-LSA of ours that is to vanish must stay: a neighbour with which we have not
    /// begun the exchange may have it, and would not describe it to us if it came during the
    /// exchange of its own.
    pub(super) fn keeps_grace(&self, key: LsaKey) -> bool {
        let interface = self.interfaces.get(&key.id);
        let interface = interface.filter(|_| key.ty == LsaType::GRACE && self.is_ours(key.adv));
        interface.is_some_and(|interface| {
            let mut neighbors = interface.neighbors.values();
            neighbors.any(|n| matches!(n.state, NeighborState::Init | NeighborState::ExStart))
        })
    }

    pub(super) fn next_restart_deadline(&self) -> Option<Time> {
        let restart = self.restart.as_ref()?;
        match restart.phase {
            Phase::Leaving => None,
            Phase::Resuming => {
                let silence = restart.since + self.longest_silence();
                let silence = Some(silence).filter(|at| *at > self.now);
                Some(silence.map_or(restart.until(), |at| at.min(restart.until())))
            }
            Phase::Finishing(at) => Some(at),
        }
    }

    /// RFC 3623 2.3 (6): the last thing is to flush the Grace-LSAs.
    pub(super) fn finish_restart_if_due(&mut self) {
        let now = self.now;
        let Some(restart) = &self.restart else {
            return;
        };
        if let Phase::Finishing(at) = restart.phase
            && at <= now
        {
            self.restart = None;
            self.reconcile_soon();
        }
    }

    /// RFC 3623 2.3: looks whether the restart is over, and goes back to normal if so.
    pub(super) fn end_restart_if_done(&mut self) {
        let now = self.now;
        if !self.is_resuming() {
            return;
        }
        let Some(why) = self.judge_restart() else {
            return;
        };
        if let Some(restart) = &mut self.restart {
            restart.phase = Phase::Finishing(now + FINISHING);
        }
        // Our neighbours have never given the adjacencies up: the way back is there.
        for interface in self.interfaces.values_mut() {
            for neighbor in interface.neighbors.values_mut() {
                if neighbor.state == NeighborState::Full {
                    neighbor.confirmation = Confirmation::Given;
                }
            }
        }
        let ended = &mut self.counters.graceful.restarts_ended;
        *ended.entry(why).or_default() += 1;
        self.event(Event::RestartEnded { why });
        self.content_changed();
        // Before we compare what we should say with what our life before said: what a border router
        // says follows from its routes.
        self.spf.at_once(now);
        self.run_spf_if_due();
    }

    fn longest_silence(&self) -> Duration {
        let dead = self.interfaces.values().filter(|i| i.speaks());
        let dead = dead.map(|interface| interface.config.dead()).max();
        dead.unwrap_or(Duration::from_secs(40))
    }

    fn judge_restart(&self) -> Option<RestartEnd> {
        let now = self.now;
        let restart = self.restart.as_ref()?;
        let silence = now >= restart.since + self.longest_silence();
        let mut complete = true;
        for area in self.active_areas() {
            let speaking =
                |interface: &&Interface| interface.config.area == area && interface.speaks();
            let neighbors = || {
                let interfaces = self.interfaces.values().filter(speaking);
                interfaces.flat_map(|interface| interface.neighbors.values())
            };
            if !self.interfaces.values().any(|i| speaking(&i)) && !silence {
                // The loopback alone; or a link that is still to come.
                continue;
            }
            let Some(links) = self.links_of_before(area) else {
                // Nobody knows of a life before, or nobody has told us yet.
                let making = |n: &crate::neighbor::Neighbor| {
                    (NeighborState::Init..NeighborState::Full).contains(&n.state)
                };
                let full = neighbors().any(|n| n.state == NeighborState::Full);
                complete &= !neighbors().any(making) && (full || silence);
                continue;
            };
            for link in links {
                match self.is_back(area, &link) {
                    Ok(true) => {}
                    Ok(false) => complete = false,
                    Err(RestartEnd::NeighborMissing) if !silence => complete = false,
                    Err(why) => return Some(why),
                }
            }
        }
        let any = self.interfaces.values().any(Interface::speaks);
        if complete && (any || silence) {
            Some(RestartEnd::Completed)
        } else if now >= restart.until() {
            Some(RestartEnd::Expired)
        } else {
            None
        }
    }

    /// The links of our Router-LSA as it was before the restart.
    fn links_of_before(&self, area: Ipv4Addr) -> Option<Vec<RouterLink>> {
        let routers = self.router_lsas(area, self.config.router_id);
        let links: Vec<&Router> = routers.collect();
        if links.is_empty() {
            return None;
        }
        let links = links.into_iter().flat_map(|router| &router.links);
        Some(links.copied().collect())
    }

    /// The Router-LSAs of a router, alive.
    fn router_lsas(&self, area: Ipv4Addr, router_id: Ipv4Addr) -> impl Iterator<Item = &Router> {
        let now = self.now;
        let database = self.databases.get(&DbId::Area(area));
        database
            .into_iter()
            .flat_map(|database| database.of_type(LsaType::ROUTER))
            .filter(move |entry| entry.lsa.key().adv == router_id && !entry.is_max_age(now))
            .filter_map(|entry| match entry.lsa.body() {
                LsaBody::Router(router) => Some(router),
                _ => None,
            })
    }

    /// RFC 3623 2.3 (1) and (2): whether an adjacency of before is there again, or will never be.
    fn is_back(&self, area: Ipv4Addr, link: &RouterLink) -> Result<bool, RestartEnd> {
        let interface = self.interfaces.get(&link.interface_id);
        let interface = interface.filter(|interface| interface.speaks());
        let interface = interface.ok_or(RestartEnd::NeighborMissing)?;
        let own = self.config.router_id;
        let them = link.neighbor_router_id;
        if link.kind == LinkKind::Transit {
            let before = (them, link.neighbor_interface_id);
            return match interface.transit_network(own) {
                Some(network) if network == before => Ok(true),
                // Another has taken the office over, and who held it has been heard.
                Some(_) if them == own || interface.neighbors.contains_key(&them) => {
                    Err(RestartEnd::Inconsistent)
                }
                Some(_) => Err(RestartEnd::NeighborMissing),
                None => Ok(false),
            };
        }
        let neighbor = interface.neighbors.get(&them);
        let neighbor = neighbor.ok_or(RestartEnd::NeighborMissing)?;
        let mut theirs = self.router_lsas(area, them).peekable();
        let known = theirs.peek().is_some();
        let back = theirs.flat_map(|router| &router.links).any(|back| {
            back.neighbor_router_id == own && back.neighbor_interface_id == link.interface_id
        });
        if known && !back {
            return Err(RestartEnd::Inconsistent);
        }
        Ok(neighbor.state == NeighborState::Full)
    }

    /// RFC 3623 2.2: a neighbour still holds us for Designated Router, so that is what we are.
    pub(super) fn regain_office(&mut self, peer: Peer, hello: &Hello) {
        let own = self.config.router_id;
        if !self.is_resuming() || hello.designated_router != own {
            return;
        }
        let Some(interface) = self.interfaces.get_mut(&peer.interface) else {
            return;
        };
        if interface.state == InterfaceState::Waiting && hello.neighbors.contains(&own) {
            interface.elected.dr = Some(own);
            self.interface_event(peer.interface, InterfaceEvent::BackupSeen);
        }
    }
}

impl Speaker {
    /// The Link State ID under which our life before has advertised a prefix, so that it goes on
    /// under that: by prefix, of the Intra-Area-Prefix-LSAs with one prefix each.
    pub(super) fn prefix_ids_of_before(&self, area: Ipv4Addr) -> Vec<(crate::wire::Prefix, u32)> {
        let now = self.now;
        let Some(database) = self.databases.get(&DbId::Area(area)) else {
            return Vec::new();
        };
        database
            .of_type(LsaType::INTRA_AREA_PREFIX)
            .filter(|entry| self.is_ours(entry.lsa.key().adv) && !entry.is_max_age(now))
            .filter_map(|entry| {
                let LsaKey { id, .. } = entry.lsa.key();
                match entry.lsa.body() {
                    LsaBody::IntraAreaPrefix(body) if body.prefixes.len() == 1 => {
                        Some((body.prefixes.first()?.prefix, id))
                    }
                    _ => None,
                }
            })
            .collect()
    }
}
