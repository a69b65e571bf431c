//! The public face of a router, and the order in which its parts do what one call asks for.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::core::{Core, PastHelp};
use super::originator::Originator;
use super::restart::{Restart, RestartView};
use super::route_table::{RouteTable, Routes};
use crate::auth::WallTime;
use crate::config::{AreaConfig, Config, ExternalPrefix, InterfaceConfig, StubPrefix, Time};
use crate::counters::Counters;
use crate::event::Event;
use crate::graceful::{GracefulRestart, HelpEnd, Phase};
use crate::lsdb::DbId;
use crate::peer::Peer;
use crate::spf::Alternates;
use crate::transmit::Transmit;
use crate::wire::{ALL_SPF_ROUTERS, LsaType};

/// How certain it is that the path to a neighbour has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathFailure {
    /// BFD hears nothing; that may be for the neighbour's control plane alone.
    Unconfirmed,
    /// The path is gone, whatever the neighbour's control plane does: BFD has failed although the
    /// neighbour's forwarding plane answers for it.
    Confirmed,
}

/// What became of a neighbour whose path has failed. The greater outweighs the lesser where several
/// speakers share the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathOutcome {
    /// There was no such neighbour.
    Unknown,
    /// It is down, and the routes over it are to be given up.
    Lost,
    /// It stays adjacent: we help it with a graceful restart.
    Helped,
}

/// One OSPFv3 router.
#[derive(Clone, Debug)]
pub struct Speaker {
    pub(super) core: Core,
    pub(super) originator: Originator,
    table: RouteTable,
    restart: Restart,
}

impl Speaker {
    /// A router without interfaces.
    pub fn new(config: Config, now: Time) -> Self {
        Self {
            core: Core::new(config, now),
            originator: Originator::default(),
            table: RouteTable::default(),
            restart: Restart::default(),
        }
    }

    /// Adds an interface and brings it up, or changes one: its adjacencies stay if the change lets
    /// them. An Interface ID of 0 is not legal (RFC 5340 2.11) and ignored.
    pub fn add_interface(&mut self, now: Time, config: InterfaceConfig) {
        self.core.set_now(now);
        let id = config.id;
        if id == 0 {
            return;
        }
        if self.core.interfaces().contains_key(&id) {
            if self.core.change_interface(&config) {
                self.finish();
                return;
            }
            self.take_interface(id);
        }
        self.core.insert_interface(config);
        self.bring_up(id);
        self.finish();
    }

    /// The interface is gone: its neighbours are down and its prefixes withdrawn.
    pub fn remove_interface(&mut self, now: Time, id: u32) {
        self.core.set_now(now);
        self.take_interface(id);
        self.finish();
    }

    /// The carrier is back.
    pub fn interface_up(&mut self, now: Time, id: u32) {
        self.core.set_now(now);
        self.bring_up(id);
        self.finish();
    }

    /// The carrier is lost; the configuration stays.
    pub fn interface_down(&mut self, now: Time, id: u32) {
        self.core.set_now(now);
        self.bring_down(id);
        self.finish();
    }

    /// Replaces the prefixes advertised with an interface. What was withdrawn is flushed at once;
    /// what is new and local is advertised at once. See
    /// [`StubPrefix::local`].
    pub fn set_prefixes(&mut self, now: Time, interface: u32, prefixes: Vec<StubPrefix>) {
        self.core.set_now(now);
        self.core.set_prefixes(interface, prefixes);
        self.finish();
    }

    /// Changes the cost of an interface.
    pub fn set_cost(&mut self, now: Time, interface: u32, cost: u16) {
        self.core.set_now(now);
        self.core.set_cost(interface, cost);
        self.finish();
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
        self.core.set_now(now);
        let restart = self.restart.phase();
        self.core
            .receive(restart, interface, source, destination, bytes);
        self.finish();
    }

    /// Time has passed: does whatever is due. Harmless when nothing is.
    pub fn handle_timeout(&mut self, now: Time) {
        self.core.set_now(now);
        self.run_timers();
        self.finish();
        self.run_spf_if_due();
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called; possibly in the past.
    pub fn poll_timeout(&self) -> Option<Time> {
        let restart = self.restart.next_deadline(&self.core);
        self.core.next_timeout().into_iter().chain(restart).min()
    }

    /// The next packet to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.core.poll_transmit()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.core.poll_event()
    }

    /// BFD, or the like, reports that the path to a neighbour has failed: as if its inactivity timer
    /// had fired (RFC 5882 3.2, 4.1). A Hello brings it back.
    ///
    /// What is not certain does nothing while we help the neighbour with a graceful restart: that its
    /// control plane is gone is no news then. The loss of the path ends even that help (RFC 5882 4.3).
    pub fn path_failed(&mut self, now: Time, peer: Peer, failure: PathFailure) -> PathOutcome {
        self.core.set_now(now);
        if self.core.neighbor_state(peer).is_none() {
            return PathOutcome::Unknown;
        }
        match failure {
            PathFailure::Unconfirmed if self.core.is_helping(peer) => {
                self.core.counters_mut().graceful.deaths_ignored += 1;
                return PathOutcome::Helped;
            }
            PathFailure::Unconfirmed => {}
            PathFailure::Confirmed => self.core.end_help(peer, HelpEnd::PathLost),
        }
        self.core.neighbor_lost(peer);
        self.finish();
        PathOutcome::Lost
    }

    /// We were not running for a while (a suspended machine, steal time), so silence says nothing
    /// about the neighbours: each is given at least `grace` from now before its inactivity timer fires.
    pub fn paused(&mut self, now: Time, grace: Duration) {
        self.core.set_now(now);
        self.core.give_time(grace);
    }

    /// The routing table. Never holds a prefix that we advertise ourselves.
    pub fn routes(&self) -> &Routes {
        self.table.routes()
    }

    /// All counters.
    pub fn counters(&self) -> &Counters {
        self.core.counters()
    }

    /// Clean stop. All our LSAs are flushed (premature aging, RFC 2328 14.1), which makes every
    /// route to us vanish; then a Hello without neighbours makes each neighbour drop us at once
    /// (1-Way, RFC 2328 10.5). In this order, because a neighbour that has dropped us does not take
    /// our flush any more. The caller sends what [`poll_transmit`](Self::poll_transmit) gives, and
    /// may go on calling until [`is_acknowledged`](Self::is_acknowledged).
    pub fn shutdown(&mut self, now: Time) {
        self.core.set_now(now);
        self.core.stop();
        self.restart = Restart::default();
        self.core.content_changed();
        self.finish();
        self.core.send_final_hellos();
    }

    /// Whether every neighbour has acknowledged everything.
    pub fn is_acknowledged(&self) -> bool {
        self.core.is_acknowledged()
    }

    /// Drains this router, or ends it. While drained it clears the R bit (RFC 5340 4.8.1), gives its
    /// links the maximum metric (RFC 6987 2), and its local prefixes too, so that traffic goes
    /// through others, and to others that hold the same address; it stays the last resort.
    pub fn drain(&mut self, now: Time, on: bool) {
        self.core.set_now(now);
        if self.originator.set_drained(on) {
            self.core.content_changed();
        }
        self.finish();
    }

    /// Whether this router forwards packets of others. If not, it clears the R bit (RFC 5340 4.8.1),
    /// and no router computes a way through it; what it advertises itself stays as near as it is.
    pub fn set_transit(&mut self, now: Time, on: bool) {
        self.core.set_now(now);
        if self.originator.set_transit(on) {
            self.core.content_changed();
        }
        self.finish();
    }

    /// Says what time of day it is, for the lifetimes of keys. The speaker counts on from there;
    /// tell it again when the clock may have been set.
    pub fn set_wall_clock(&mut self, now: Time, wall: WallTime) {
        self.core.set_wall_clock(now, wall);
    }

    /// Configures an area. What kind of area it is, its routers have to agree on: the adjacencies
    /// fall if that changes.
    pub fn set_area(&mut self, now: Time, area: Ipv4Addr, config: AreaConfig) {
        self.core.set_now(now);
        let Some(fall) = self.core.change_area(area, config) else {
            return;
        };
        for id in fall {
            self.bring_down(id);
            self.bring_up(id);
        }
        self.core.content_changed();
        self.finish();
    }

    /// Says whether to help neighbours with a graceful restart from now on, and whether that help ends
    /// when the topology changes. A help that has begun goes on.
    pub fn set_graceful_helper(&mut self, helper: bool, strict: bool) {
        self.core.set_graceful_helper(helper, strict);
    }

    /// Whether we are an area border router: in several areas, the backbone among them. Without it
    /// no router would receive our summaries, and to call ourselves one would only keep us from using
    /// those of others (RFC 3509 2.1).
    pub fn is_area_border(&self) -> bool {
        self.core.is_area_border()
    }

    /// Replaces the prefixes advertised as lying outside of the AS. One that is an interface's too
    /// is advertised as that.
    pub fn set_externals(&mut self, now: Time, externals: Vec<ExternalPrefix>) {
        self.core.set_now(now);
        if self.originator.set_externals(externals) {
            self.core.content_changed();
        }
        self.finish();
    }

    /// Where traffic for a destination may go at once when the neighbour on an interface is gone: a
    /// way that leads neither back to us nor through that neighbour (RFC 5286). Of destinations
    /// that have no such way there is nothing.
    pub fn alternates(&self) -> Alternates {
        self.table.alternates(&self.core)
    }

    /// A number that grows with each route calculation: while it is the same,
    /// [`routes`](Self::routes) and [`alternates`](Self::alternates) are those of the calculation
    /// before.
    pub fn route_generation(&self) -> u64 {
        self.table.generation()
    }

    /// The neighbour that has an address on an interface.
    pub fn neighbor_at(&self, interface: u32, address: Ipv6Addr) -> Option<Peer> {
        self.core.neighbor_at(interface, address)
    }

    /// Whether there are neighbours on an interface, in whatever state.
    pub fn has_neighbors(&self, interface: u32) -> bool {
        let interface = self.core.interfaces().get(&interface);
        interface.is_some_and(|interface| !interface.neighbors.is_empty())
    }

    /// How our last helps with graceful restarts ended.
    pub fn past_helps(&self) -> impl Iterator<Item = (Peer, PastHelp)> {
        self.core.past_helps()
    }

    /// Asks the neighbours to go on as if nothing happened while this router restarts (RFC 3623
    /// 2.1, planned). The caller sends what [`poll_transmit`](Self::poll_transmit) gives, goes on
    /// until [`is_acknowledged`](Self::is_acknowledged), and forgets this speaker without
    /// [`shutdown`](Self::shutdown).
    pub fn begin_graceful_restart(&mut self, now: Time, announced: GracefulRestart) {
        self.core.set_now(now);
        // RFC 3623 3.1 (2): what we have not acknowledged would be a reason not to help us.
        for id in self.core.interface_ids() {
            self.core.send_delayed_acks(id);
        }
        self.restart = Restart::new(announced, now, Phase::Announcing);
        self.core.reconcile_soon();
        self.finish();
    }

    /// Begins as a router that has restarted while its forwarding plane went on alone. Called before
    /// the first interface is added. Until the restart is over there are no
    /// [`routes`](Self::routes), and those of before have to be kept.
    pub fn resume_graceful_restart(&mut self, now: Time, announced: GracefulRestart) {
        self.core.set_now(now);
        self.restart = Restart::new(announced, now, Phase::Resuming);
    }

    /// Whether this router has restarted gracefully, and is still learning its adjacencies and LSAs of
    /// before.
    pub fn is_resuming(&self) -> bool {
        self.restart.is_resuming()
    }

    /// Our restart, if there is one.
    pub fn restart(&self) -> Option<RestartView> {
        self.restart.view(self.core.now())
    }

    fn bring_up(&mut self, id: u32) {
        if self.core.link_up(id) {
            self.core.start_hellos(id, self.restart.is_resuming());
            self.send_grace_if_due(id);
            self.core.hello_if_due(id);
        }
    }

    fn bring_down(&mut self, id: u32) {
        self.core.link_down(id);
        self.originator.forget(DbId::Link(id));
    }

    fn take_interface(&mut self, id: u32) {
        self.bring_down(id);
        if let Some(area) = self.core.remove_interface(id) {
            self.originator.forget(area);
        }
    }

    fn send_grace_if_due(&mut self, id: u32) {
        if self.core.take_grace(id) {
            self.reconcile_if_due();
            let key = self.core.own_key(LsaType::GRACE, id);
            self.core
                .send_updates(id, ALL_SPF_ROUTERS, [(DbId::Link(id), key)]);
        }
    }

    fn run_timers(&mut self) {
        for id in self.core.due_interfaces() {
            // Hellos first: nothing else may delay them until a neighbour's inactivity timer fires.
            self.send_grace_if_due(id);
            self.core.hello_if_due(id);
        }
        if self.restart.finish_if_due(self.core.now()) {
            self.core.reconcile_soon();
        }
        self.core.run_timers();
        while let Some((db, key)) = self.core.pop_due() {
            if self.core.is_ours(key.adv) {
                self.originator.refresh(&mut self.core, db, key);
            } else {
                self.core.age_out(db, key);
            }
        }
    }

    fn run_spf_if_due(&mut self) {
        // RFC 3623 2.2 (2): the routes of before the restart stay until it is over.
        if !self.core.take_spf() || self.restart.is_resuming() {
            return;
        }
        let externals = self.originator.externals().keys().copied();
        if self.table.calculate(&mut self.core, externals) && self.core.is_area_border() {
            // RFC 2328 12.4.3: other areas hear of it.
            self.core.reconcile_soon();
            self.finish();
        }
    }

    fn reconcile_if_due(&mut self) {
        if self.core.take_reconcile() {
            self.originator
                .reconcile(&mut self.core, &self.table, &self.restart);
        }
    }

    /// RFC 3623 2.3: looks whether our restart is over, and goes back to normal if so.
    fn end_restart_if_done(&mut self) {
        if self.restart.end_if_done(&mut self.core) {
            self.core.content_changed();
            // Before we compare what we should originate with what we originated before the restart:
            // the summaries of a border router follow from its routes.
            self.core.compute_at_once();
            self.run_spf_if_due();
        }
    }

    /// What is left to do at the end of a call: own LSAs, LSAs at MaxAge, requests, floods.
    fn finish(&mut self) {
        // Each round is caused by the one before; three are the most that any chain needs.
        for _ in 0..4 {
            self.end_restart_if_done();
            self.reconcile_if_due();
            for (db, key) in self.core.remove_expired() {
                // RFC 2328 12.1.6: only now may the sequence begin again.
                self.originator.forget_lsa(db, key);
            }
            self.core.advance_loading();
            if !self.core.is_reconcile_due() {
                break;
            }
        }
        self.core.send_floods();
        self.core.confirm_adjacencies();
        self.core.settle();
    }
}
