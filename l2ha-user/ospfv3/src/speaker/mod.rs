//! A router: the public face, and the state all the parts below work on.

mod core;
mod originator;
mod restart;
mod route_table;
mod timers;
mod views;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::config::{Config, ExternalPrefix, InterfaceConfig, StubPrefix, Time};
use crate::counters::Counters;
use crate::event::Event;
use crate::interface::{Interface, InterfaceEvent};
use crate::lsdb::{DbId, Lsdb};
use crate::neighbor::{NeighborEvent, Reason};
use crate::spf::{BoundaryRoute, Calculation, Route, Schedule};
use crate::wire::{LsaKey, LsaType, Prefix};

pub use core::helper::{GracefulView, HelpView, PastHelp};
use originator::originate::Own;
use restart::Restart;
pub use restart::RestartView;
pub use views::{AreaView, AuthView, DatabaseView, InterfaceView, LsaView, NeighborView};

/// A packet to send, hop limit 1 (RFC 5340 A.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Interface to send it out of.
    pub interface: u32,
    /// Our link-local address there.
    pub source: Ipv6Addr,
    /// AllSPFRouters, or a neighbour's link-local address.
    pub destination: Ipv6Addr,
    /// The OSPF packet, checksum filled in.
    pub bytes: Vec<u8>,
}

/// Destinations and the ways to them.
pub type Routes = BTreeMap<Prefix, Route>;

/// One OSPFv3 router.
#[derive(Clone, Debug)]
pub struct Speaker {
    config: Config,
    /// The latest time we have been told.
    now: Time,
    interfaces: BTreeMap<u32, Interface>,
    databases: BTreeMap<DbId, Lsdb>,
    /// What we remember of the LSAs we originated.
    own: BTreeMap<(DbId, LsaKey), Own>,
    /// Link State IDs of the Intra-Area-Prefix-LSAs that carry one local prefix each.
    prefix_ids: BTreeMap<(Ipv4Addr, Prefix), u32>,
    /// Link State IDs of the LSAs that carry one prefix of another area or AS each.
    ids: BTreeMap<(DbId, LsaType), BTreeMap<Prefix, u32>>,
    /// What we bring into the AS from outside.
    externals: BTreeMap<Prefix, ExternalPrefix>,
    /// Our own graceful restart.
    restart: Option<Restart>,
    /// How our last help ended, by interface and neighbour.
    past_helps: BTreeMap<(u32, Ipv4Addr), PastHelp>,
    /// When to compare what we should originate with what we have.
    reconcile_at: Option<Time>,
    spf: Schedule,
    calculation: Calculation,
    routes: Routes,
    /// Prefixes whose route has changed since [`Self::take_changes`].
    changes: BTreeSet<Prefix>,
    /// The ways to AS boundary routers.
    boundary: BTreeMap<Ipv4Addr, BoundaryRoute>,
    outbox: VecDeque<Transmit>,
    events: VecDeque<Event>,
    counters: Counters,
    /// When we were told the time of day, and what it was.
    wall: (Time, Duration),
    /// Sequence number of the last packet signed.
    sequence: u64,
    drained: bool,
    transit: bool,
    stopped: bool,
}

impl Speaker {
    /// A router without interfaces.
    pub fn new(config: Config, now: Time) -> Self {
        let sequence = u64::from(config.authentication_epoch) << 32;
        Self {
            config,
            now,
            interfaces: BTreeMap::new(),
            databases: BTreeMap::new(),
            own: BTreeMap::new(),
            prefix_ids: BTreeMap::new(),
            ids: BTreeMap::new(),
            externals: BTreeMap::new(),
            restart: None,
            past_helps: BTreeMap::new(),
            reconcile_at: None,
            spf: Schedule::default(),
            calculation: Calculation::default(),
            routes: Routes::new(),
            changes: BTreeSet::new(),
            boundary: BTreeMap::new(),
            outbox: VecDeque::new(),
            events: VecDeque::new(),
            counters: Counters::default(),
            wall: (now, Duration::ZERO),
            sequence,
            drained: false,
            transit: true,
            stopped: false,
        }
    }

    /// Our Router ID.
    pub fn router_id(&self) -> Ipv4Addr {
        self.config.router_id
    }

    /// Adds an interface and brings it up, or changes one: its adjacencies stay if the change lets
    /// them. An Interface ID of 0 is not legal (RFC 5340 2.11) and ignored.
    pub fn add_interface(&mut self, now: Time, config: InterfaceConfig) {
        self.now = now;
        let id = config.id;
        if id == 0 {
            return;
        }
        match self.interfaces.get_mut(&id) {
            Some(interface) if interface.config.adjacency_survives(&config) => {
                interface.config = config;
                self.interface_event(id, InterfaceEvent::NeighborChange);
                self.content_changed();
            }
            old => {
                if old.is_some() {
                    self.take_interface(id);
                }
                self.interfaces.insert(id, Interface::new(config));
                self.bring_up(id);
            }
        }
        self.settle();
    }

    /// The interface is gone: its neighbours are down and its prefixes withdrawn.
    pub fn remove_interface(&mut self, now: Time, id: u32) {
        self.now = now;
        self.take_interface(id);
        self.settle();
    }

    /// The carrier is back.
    pub fn interface_up(&mut self, now: Time, id: u32) {
        self.now = now;
        self.bring_up(id);
        self.settle();
    }

    /// The carrier is lost; the configuration stays.
    pub fn interface_down(&mut self, now: Time, id: u32) {
        self.now = now;
        self.bring_down(id);
        self.settle();
    }

    /// Replaces the prefixes advertised with an interface. What was withdrawn is flushed at once;
    /// what is new and local is advertised at once. See
    /// [`StubPrefix::local`].
    pub fn set_prefixes(&mut self, now: Time, interface: u32, prefixes: Vec<StubPrefix>) {
        self.now = now;
        let Some(interface) = self.interfaces.get_mut(&interface) else {
            return;
        };
        if interface.config.prefixes != prefixes {
            interface.config.prefixes = prefixes;
            self.content_changed();
        }
        self.settle();
    }

    /// Changes the cost of an interface.
    pub fn set_cost(&mut self, now: Time, interface: u32, cost: u16) {
        self.now = now;
        let Some(interface) = self.interfaces.get_mut(&interface) else {
            return;
        };
        if interface.config.cost != cost {
            interface.config.cost = cost;
            self.content_changed();
        }
        self.settle();
    }

    /// A packet came in. `bytes` begins with the OSPF header.
    pub fn handle_packet(
        &mut self,
        now: Time,
        interface: u32,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        bytes: &[u8],
    ) {
        self.now = now;
        self.receive(interface, source, destination, bytes);
        self.settle();
    }

    /// Time has passed: does whatever is due. Harmless when nothing is.
    pub fn handle_timeout(&mut self, now: Time) {
        self.now = now;
        self.run_timers();
        self.settle();
        self.run_spf_if_due();
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called; possibly in the past.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.next_timeout()
    }

    /// The next packet to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outbox.pop_front()
    }

    /// The next piece of news.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Something that knows better, such as BFD, says that a neighbour is dead: as if its dead
    /// interval had ended (RFC 5882 3.2). A Hello brings it back.
    ///
    /// Nothing happens while we help the neighbour with a graceful restart: that its control plane
    /// is gone is no news (RFC 5882 4.3). See [`Self::path_lost`].
    pub fn neighbor_lost(&mut self, now: Time, interface: u32, router_id: Ipv4Addr) {
        self.now = now;
        if self.is_helping(interface, router_id) {
            self.counters.graceful.deaths_ignored += 1;
            return;
        }
        let event = NeighborEvent::InactivityTimer;
        self.neighbor_event_because(interface, router_id, event, Reason::DeclaredDead);
        // The failure of our own link waits for no back-off: what the others flood about it may have
        // come first and begun one.
        self.spf.at_once(now);
        self.settle();
    }

    /// We were not running for a while (a suspended machine, stolen time), so silence says nothing
    /// about the neighbours: each is given at least `grace` from now before it counts as dead.
    pub fn paused(&mut self, now: Time, grace: Duration) {
        self.now = now;
        for interface in self.interfaces.values_mut() {
            for neighbor in interface.neighbors.values_mut() {
                neighbor.dead_at = neighbor.dead_at.max(now + grace);
            }
        }
    }

    /// The routing table. Never holds a prefix that we advertise ourselves.
    pub fn routes(&self) -> &Routes {
        &self.routes
    }

    /// The prefixes whose route has come, gone or changed since this was last asked.
    pub fn take_changes(&mut self) -> BTreeSet<Prefix> {
        std::mem::take(&mut self.changes)
    }

    /// All counters.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Clean stop. All our LSAs are flushed (premature aging, RFC 2328 14.1), which makes every
    /// route to us vanish; then a Hello without neighbours makes each neighbour drop us at once
    /// (1-Way, RFC 2328 10.5). In this order, because a neighbour that has dropped us does not take
    /// our flush any more. The caller sends what [`poll_transmit`](Self::poll_transmit) gives, and
    /// may go on calling until [`is_settled`](Self::is_settled).
    pub fn shutdown(&mut self, now: Time) {
        self.now = now;
        self.stopped = true;
        self.restart = None;
        self.content_changed();
        self.settle();
        self.say_farewell();
    }

    /// Whether every neighbour has acknowledged everything.
    pub fn is_settled(&self) -> bool {
        let mut neighbors = self.interfaces.values().flat_map(|i| i.neighbors.values());
        neighbors.all(|n| n.unacknowledged.is_empty())
    }

    /// Drains this router, or ends it. While drained it clears the R bit (RFC 5340 4.8.1), gives its
    /// links the maximum metric (RFC 6987 2), and its local prefixes too, so that traffic goes
    /// through others, and to others that hold the same address; it stays the last resort.
    pub fn drain(&mut self, now: Time, on: bool) {
        self.now = now;
        if self.drained != on {
            self.drained = on;
            self.content_changed();
        }
        self.settle();
    }

    /// Whether this router forwards packets of others. If not, it clears the R bit (RFC 5340 4.8.1),
    /// and nobody computes a way through it; what it advertises itself stays as near as it is.
    pub fn set_transit(&mut self, now: Time, on: bool) {
        self.now = now;
        if self.transit != on {
            self.transit = on;
            self.content_changed();
        }
        self.settle();
    }

    fn bring_up(&mut self, id: u32) {
        let Some(interface) = self.interfaces.get(&id) else {
            return;
        };
        let up = InterfaceEvent::Up {
            kind: interface.config.kind,
            eligible: interface.config.priority > 0,
        };
        if !self.stopped && self.interface_event(id, up) {
            self.start_hellos(id);
        }
    }

    fn bring_down(&mut self, id: u32) {
        self.interface_event(id, InterfaceEvent::Down);
    }

    fn take_interface(&mut self, id: u32) {
        self.bring_down(id);
        if let Some(gone) = self.interfaces.remove(&id) {
            self.outbox.retain(|packet| packet.interface != id);
            let area = gone.config.area;
            if !self.interfaces.values().any(|i| i.config.area == area) {
                self.databases.remove(&DbId::Area(area));
                self.own.retain(|(db, _), _| *db != DbId::Area(area));
                self.ids.retain(|(db, _), _| *db != DbId::Area(area));
            }
        }
    }

    /// What we should originate, or our own part of the shortest-path tree, may be different now.
    fn content_changed(&mut self) {
        let now = self.now;
        self.reconcile_soon();
        self.spf.trigger(now, &self.config.spf_delay);
    }

    /// Brings everything into order at the end of a call: own LSAs, dead LSAs, requests, floods.
    fn settle(&mut self) {
        let now = self.now;
        // Each round is caused by the one before; three are the most that any chain needs.
        for _ in 0..4 {
            self.end_restart_if_done();
            self.reconcile_if_due();
            self.remove_dead();
            self.advance_loading();
            if self.reconcile_at.is_none_or(|at| at > now) {
                break;
            }
        }
        self.send_floods();
        self.confirm_adjacencies();
    }
}
