//! Nodes joined by links.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    rc::Rc,
    time::Duration,
};

use config::{Ospf, OspfNetwork, Redistribute};
use linux::{ForeignRoute, HostRoutes};
use tokio::{
    runtime::Builder,
    sync::{mpsc, oneshot, watch},
    task::{JoinHandle, LocalSet, spawn_local},
    time::{Instant, sleep},
};
use tracing::Instrument as _;

use super::fakes::{FakeDetours, FakeKernel, FakeSessions, FakeWire, History, Links, Tables};
use crate::{
    bfd::Notice,
    detection::Detection,
    event_loop::{self, Ends},
    handle::Routing,
    restart_state::RestartState,
    types::{Desired, HostPrefix, Interface, Rotations},
};

/// Longer than it takes until everything is as it stays: adjacencies, routes, delayed LSAs.
pub(super) const AT_REST: Duration = Duration::from_secs(20);

/// Plays a test in virtual time.
pub(super) fn play(test: impl Future<Output = ()>) {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, test);
}

/// A running daemon's routing.
struct Running {
    routing: Routing,
    event_loop: JoinHandle<()>,
    notices: mpsc::UnboundedSender<Notice>,
}

/// A host, whose kernel outlives its daemon.
pub(super) struct Node {
    number: u32,
    pub(super) config: Ospf,
    pub(super) desired: Desired,
    links: Rc<RefCell<Links>>,
    memory: tempfile::TempDir,
    tables: Rc<RefCell<Tables>>,
    watched: Rc<RefCell<Vec<(u32, Ipv6Addr)>>>,
    /// Which key of BFD signs, by neighbour.
    signing: Rc<RefCell<BTreeMap<u32, u8>>>,
    rotations: watch::Sender<Rotations>,
    history: History,
    running: Option<Running>,
}

/// Nodes by number, from 1 on. The index of the interface that leads to a node is its number.
pub(super) struct Net {
    nodes: BTreeMap<u32, Node>,
    links: Rc<RefCell<Links>>,
}

/// The link-local address of a node on all its interfaces.
pub(super) fn link_local(node: u32) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, node as u16)
}

fn interface(node: u32, peer: u32) -> Interface {
    Interface {
        name: format!("l2-{peer}"),
        index: peer,
        link_local: link_local(node),
        mtu: 1442,
        carries: 1442,
        area: Ipv4Addr::UNSPECIFIED,
        network: OspfNetwork::PointToPoint,
        priority: 1,
        cost: 10,
        bfd: Some(bfd::Timers {
            interval: Duration::from_millis(50),
            multiplier: 3,
        }),
        bfd_keys: Vec::new(),
        keys: None,
        rotation: None,
        edge: None,
        prefixes: Vec::new(),
    }
}

fn config(node: u32) -> Ospf {
    Ospf {
        router_id: Ipv4Addr::new(10, 0, 0, node as u8),
        area: Ipv4Addr::UNSPECIFIED,
        hello_interval: 1,
        dead_interval: 4,
        cost: 10,
        bfd: None,
        instance_id: 0,
        ipv4: None,
        retransmit_interval: 1,
        table: 254,
        route_metric: 20,
        redistribute: Redistribute {
            connected: false,
            statics: false,
            metric: 20,
            type2: true,
            only: Vec::new(),
        },
        accept_default: false,
        accept: Vec::new(),
        graceful_restart: 30,
        graceful_helper: true,
        graceful_strict: true,
    }
}

impl Net {
    /// Nodes that are not started yet, with links between these pairs.
    pub(super) fn new(pairs: &[(u32, u32)]) -> Self {
        let links = Rc::new(RefCell::new(Links::default()));
        let mut nodes = BTreeMap::new();
        for &(one, other) in pairs {
            links.borrow_mut().join((one, other), (other, one));
            for (node, peer) in [(one, other), (other, one)] {
                let node = nodes
                    .entry(node)
                    .or_insert_with(|| Node::new(node, Rc::clone(&links)));
                let interface = interface(node.number, peer);
                node.desired.interfaces.push(interface);
            }
        }
        Self { nodes, links }
    }

    /// A client, 1, and two servers, 2 and 3, each joined with each. Both servers have the service
    /// `2001:db8::80`, 2 at the better metric; everything is at rest.
    pub(super) async fn client_and_servers() -> Self {
        let mut net = Self::new(&[(1, 2), (1, 3), (2, 3)]);
        net.node(2).serve("2001:db8::80", 0);
        net.node(3).serve("2001:db8::80", 5);
        // Routes of the servers' own.
        net.node(1).serve("2001:db8::1", 0);
        for node in 1..=3 {
            net.node(node).start();
        }
        sleep(AT_REST).await;
        net.forget();
        net
    }

    pub(super) fn node(&mut self, number: u32) -> &mut Node {
        self.nodes.get_mut(&number).unwrap()
    }

    /// Forgets all that has been done.
    pub(super) fn forget(&mut self) {
        for node in self.nodes.values() {
            node.history.take();
        }
    }

    /// Cuts the link between two nodes, or mends it.
    pub(super) fn set_cut(&mut self, one: u32, other: u32, cut: bool) {
        self.links.borrow_mut().set_cut((one, other), cut);
    }
}

impl Node {
    fn new(number: u32, links: Rc<RefCell<Links>>) -> Self {
        Self {
            number,
            config: config(number),
            desired: Desired::default(),
            links,
            memory: tempfile::tempdir().unwrap(),
            tables: Rc::default(),
            watched: Rc::default(),
            signing: Rc::default(),
            rotations: watch::Sender::default(),
            history: History::default(),
            running: None,
        }
    }

    /// Starts the daemon.
    pub(super) fn start(&mut self) {
        let path = self.memory.path().join("node.ospf.json");
        let state = RestartState::begin(&path);
        let begin = (state.epoch, state.before);
        let (routing, handled) = Routing::of(state);
        let (notices, noticed) = mpsc::unbounded_channel();
        let history = &self.history;
        let sessions = FakeSessions {
            history: history.clone(),
            watched: Rc::clone(&self.watched),
            signing: Rc::clone(&self.signing),
            abandoned: false,
        };
        let ends = Ends {
            wire: Box::new(FakeWire {
                node: self.number,
                links: Rc::clone(&self.links),
                history: history.clone(),
            }),
            kernel: Box::new(FakeKernel {
                tables: Rc::clone(&self.tables),
                history: history.clone(),
            }),
            detection: Detection::new(Some(Box::new(sessions)), noticed),
            detours: Some(Box::new(FakeDetours::new(history.clone()))),
            rotations: self.rotations.clone(),
        };
        let config = self.config.clone();
        let event_loop = async move {
            let ran = event_loop::run(config, begin, ends, handled.requests);
            ran.await.unwrap();
            let _ = handled.finish.send(());
        };
        let number = self.number;
        let event_loop = spawn_local(event_loop.instrument(tracing::info_span!("node", number)));
        self.running = Some(Running {
            routing,
            event_loop,
            notices,
        });
        self.sync();
    }

    /// The routing of the daemon, which runs.
    pub(super) fn routing(&mut self) -> &mut Routing {
        &mut self.running.as_mut().unwrap().routing
    }

    /// Brings routing to what is desired, as a reload does.
    pub(super) fn sync(&mut self) {
        let desired = self.desired.clone();
        self.routing().sync(desired);
    }

    /// Goes on with another `[ospf]`, as a reload does. The answer comes once it holds.
    pub(super) fn configure(&mut self, change: impl FnOnce(&mut Ospf)) -> oneshot::Receiver<()> {
        change(&mut self.config);
        let config = self.config.clone();
        let done = self.routing().configure(config);
        self.sync();
        done
    }

    /// The daemon ends cleanly.
    pub(super) async fn stop(&mut self) {
        self.running.take().unwrap().routing.stop().await;
    }

    /// The daemon ends for a restart.
    pub(super) async fn stop_for_restart(&mut self) {
        let running = self.running.take().unwrap();
        running.routing.stop_for_restart().await;
    }

    /// The daemon is killed.
    pub(super) async fn crash(&mut self) {
        let running = self.running.take().unwrap();
        running.event_loop.abort();
        let _ = running.event_loop.await;
    }

    /// BFD says that the path to a neighbour has failed.
    pub(super) fn fail(&mut self, peer: u32, path_is_gone: bool) {
        self.notice(Notice::Failed {
            interface: peer,
            remote: link_local(peer),
            path_is_gone,
        });
    }

    /// BFD reports something.
    pub(super) fn notice(&self, notice: Notice) {
        self.notices().send(notice).unwrap();
    }

    /// Where BFD reports.
    pub(super) fn notices(&self) -> mpsc::UnboundedSender<Notice> {
        self.running.as_ref().unwrap().notices.clone()
    }

    /// Offers a service, from the next sync on.
    pub(super) fn serve(&mut self, address: &str, metric: u16) {
        self.desired.services.push(HostPrefix {
            address: address.parse().unwrap(),
            metric,
        });
    }

    /// Offers a service no longer, from the next sync on.
    pub(super) fn withdraw(&mut self, address: &str) {
        let address: IpAddr = address.parse().unwrap();
        let services = &mut self.desired.services;
        services.retain(|service| service.address != address);
    }

    /// What is desired of the interface to a node.
    pub(super) fn interface(&mut self, peer: u32) -> &mut Interface {
        let interfaces = &mut self.desired.interfaces;
        interfaces.iter_mut().find(|it| it.index == peer).unwrap()
    }

    /// To which nodes the kernel's route to a host address leads.
    pub(super) fn leads(&self, address: &str) -> Vec<u32> {
        let address: IpAddr = address.parse().unwrap();
        let length = if address.is_ipv4() { 32 } else { 128 };
        self.tables.borrow().leads(&(address, length))
    }

    /// Somebody removes the kernel's route to a host address.
    pub(super) fn lose(&self, address: &str) {
        self.tables
            .borrow_mut()
            .lose(&(address.parse().unwrap(), 128));
    }

    /// What the host has of its own; seen at the next sync.
    pub(super) fn set_host_routes(&self, host: HostRoutes) {
        self.tables.borrow_mut().host = host;
    }

    /// Routes of the kernel's and of people; seen at the next sync.
    pub(super) fn set_foreign_routes(&self, foreign: Vec<ForeignRoute>) {
        self.tables.borrow_mut().foreign = foreign;
    }

    /// The tables and metrics that there are routes with.
    pub(super) fn places(&self) -> Vec<(u32, u32)> {
        self.tables.borrow().places().into_iter().collect()
    }

    /// Whether the kernel forwards; seen at the next sync.
    pub(super) fn set_forwarding(&self, on: bool) {
        self.tables.borrow_mut().set_forwarding(on);
    }

    /// Whether the kernel has nothing of ours.
    pub(super) fn kernel_is_empty(&self) -> bool {
        self.tables.borrow().is_empty()
    }

    /// Which neighbours BFD watches.
    pub(super) fn watched(&self) -> Vec<u32> {
        self.watched.borrow().iter().map(|it| it.0).collect()
    }

    /// Which key of BFD signs, by neighbour; those without keys are missing.
    pub(super) fn signing(&self) -> BTreeMap<u32, u8> {
        self.signing.borrow().clone()
    }

    /// How far rotations are.
    pub(super) fn rotations(&self) -> Rotations {
        self.rotations.borrow().clone()
    }

    /// What the node has done since that was asked last; how long after `since`, in milliseconds.
    pub(super) fn timed(&self, since: Instant) -> Vec<(u128, String)> {
        let all = self.history.take().into_iter();
        all.map(|(time, what)| ((time - since).as_millis(), what))
            .collect()
    }

    /// What the node has done since that was asked last.
    pub(super) fn done(&self) -> Vec<String> {
        let all = self.history.take().into_iter();
        all.map(|(_, what)| what).collect()
    }

    /// Of this, what concerns routes and nexthop objects in the kernel.
    pub(super) fn done_to_routes(&self) -> Vec<String> {
        let orders = ["add", "turn", "drop", "put", "remove"];
        let mut done = self.done();
        done.retain(|what| orders.iter().any(|order| what.starts_with(order)));
        done
    }
}
