//! Interfaces, neighbours and databases: what packets and time do to them.
//!
//! What follows for our own LSAs and for the routes is entered in the [`Agenda`].

mod acks;
mod adjacency;
mod agenda;
mod aging;
mod areas;
mod authenticate;
mod confirm;
mod describe;
mod designated;
mod doubled;
mod edges;
mod exchange;
mod flood;
mod hello;
mod helper;
mod interfaces;
mod links;
mod output;
mod past_helps;
mod receive;
mod request;
mod tellers;
mod timers;
mod update;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use agenda::Agenda;
pub use past_helps::PastHelp;
use past_helps::PastHelps;

use crate::clocked::Clocked;
use crate::config::{Config, Time};
use crate::counters::Counters;
use crate::event::Event;
use crate::interface::Interface;
use crate::lsdb::{DbId, Lsdb};
use crate::neighbor::Neighbor;
use crate::peer::Peer;
use crate::transmit::Transmit;
use crate::wire::{LsaKey, LsaType};

/// What every part of a speaker works on.
#[derive(Clone, Debug)]
pub(crate) struct Core {
    config: Config,
    /// The latest time we have been told.
    now: Time,
    /// When we were told the time of day, and what it was.
    wall: (Time, Duration),
    /// Sequence number of the last packet signed.
    sequence: u64,
    interfaces: Clocked<u32, Interface>,
    databases: Clocked<DbId, Lsdb>,
    /// The routers at the edge that interfaces lead to.
    edges: Arc<BTreeSet<Ipv4Addr>>,
    /// LSAs of our own, and the sequence number that the next instance must exceed.
    outbid: BTreeMap<(DbId, LsaKey), i32>,
    /// The neighbours in Exchange and Loading.
    exchanging: BTreeSet<Peer>,
    /// Which neighbour was last asked for what, and when, during exchanges.
    asked: BTreeMap<(DbId, LsaKey), (Peer, Time)>,
    /// The interfaces that have something to flood when the present call ends.
    flooding: BTreeSet<u32>,
    /// The databases that may have LSAs to remove.
    expiring: BTreeSet<DbId>,
    /// Whether a neighbour may have learnt that we are adjacent.
    confirming: bool,
    /// How our last helps ended.
    past_helps: PastHelps,
    agenda: Agenda,
    outbox: VecDeque<Transmit>,
    events: VecDeque<Event>,
    counters: Counters,
    stopped: bool,
}

impl Core {
    pub(crate) fn new(config: Config, now: Time) -> Self {
        let sequence = u64::from(config.authentication_epoch) << 32;
        Self {
            config,
            now,
            wall: (now, Duration::ZERO),
            sequence,
            interfaces: Clocked::default(),
            databases: Clocked::default(),
            edges: Arc::default(),
            outbid: BTreeMap::new(),
            exchanging: BTreeSet::new(),
            asked: BTreeMap::new(),
            flooding: BTreeSet::new(),
            expiring: BTreeSet::new(),
            confirming: false,
            past_helps: PastHelps::default(),
            agenda: Agenda::default(),
            outbox: VecDeque::new(),
            events: VecDeque::new(),
            counters: Counters::default(),
            stopped: false,
        }
    }

    pub(crate) fn set_now(&mut self, now: Time) {
        self.now = now;
    }

    pub(crate) const fn now(&self) -> Time {
        self.now
    }

    pub(crate) const fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn interfaces(&self) -> &BTreeMap<u32, Interface> {
        &self.interfaces
    }

    pub(crate) fn databases(&self) -> &BTreeMap<DbId, Lsdb> {
        &self.databases
    }

    pub(crate) fn interface_ids(&self) -> Vec<u32> {
        self.interfaces.keys().copied().collect()
    }

    /// The interfaces that something is due on.
    pub(crate) fn due_interfaces(&mut self) -> Vec<u32> {
        self.interfaces.due(self.now)
    }

    /// Creates it if it is not there.
    pub(crate) fn database_mut(&mut self, id: DbId) -> &mut Lsdb {
        self.databases.get_or_default(id)
    }

    pub(crate) fn databases_mut(&mut self) -> impl Iterator<Item = (DbId, &mut Lsdb)> {
        self.databases.iter_mut().map(|(id, db)| (*id, db))
    }

    pub(crate) const fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) const fn counters_mut(&mut self) -> &mut Counters {
        &mut self.counters
    }

    /// Whether we have been shut down.
    pub(crate) const fn is_stopped(&self) -> bool {
        self.stopped
    }

    pub(crate) const fn stop(&mut self) {
        self.stopped = true;
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outbox.pop_front()
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(crate) fn own_key(&self, ty: LsaType, id: u32) -> LsaKey {
        LsaKey {
            ty,
            id,
            adv: self.config.router_id,
        }
    }

    pub(crate) fn is_ours(&self, router_id: Ipv4Addr) -> bool {
        router_id == self.config.router_id
    }

    fn neighbor(&self, peer: Peer) -> Option<&Neighbor> {
        let interface = self.interfaces.get(&peer.interface)?;
        interface.neighbors.get(&peer.router_id)
    }

    fn neighbor_mut(&mut self, peer: Peer) -> Option<&mut Neighbor> {
        let interface = self.interfaces.get_mut(&peer.interface)?;
        interface.neighbors.get_mut(&peer.router_id)
    }

    /// What we should originate may be different now.
    pub(crate) fn reconcile_soon(&mut self) {
        self.agenda.reconcile_by(self.now);
    }

    /// What we should originate may be different at `at`.
    pub(crate) fn reconcile_by(&mut self, at: Time) {
        self.agenda.reconcile_by(at);
    }

    pub(crate) fn is_reconcile_due(&self) -> bool {
        self.agenda.is_reconcile_due(self.now)
    }

    /// Whether to compare what we should originate with what we have.
    pub(crate) fn take_reconcile(&mut self) -> bool {
        self.agenda.take_reconcile(self.now)
    }

    /// What we should originate, or our own part of the shortest-path tree, may be different now.
    pub(crate) fn content_changed(&mut self) {
        self.reconcile_soon();
        self.links_changed();
    }

    /// Our own links or adjacencies have changed.
    fn links_changed(&mut self) {
        self.agenda.links_changed(self.now, &self.config.spf_delay);
    }

    /// An LSA came, went or changed.
    pub(crate) fn lsa_changed(&mut self) {
        self.agenda.lsa_changed(self.now, &self.config.spf_delay);
    }

    /// Our own links have changed in a way that waits for no back-off.
    pub(crate) fn compute_at_once(&mut self) {
        self.agenda.compute_at_once(self.now);
    }

    /// Whether to compute routes now.
    pub(crate) fn take_spf(&mut self) -> bool {
        self.agenda.take_spf(self.now)
    }

    /// Whether anything beside the databases has changed since this was last asked.
    pub(crate) fn take_links(&mut self) -> bool {
        self.agenda.take_links()
    }
}
