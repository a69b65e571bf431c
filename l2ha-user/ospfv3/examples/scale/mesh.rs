//! The network that a cluster file gives: servers in full mesh, clients with each server. Unlike the tests'
//! networks its nodes take time: each handles one packet after the other.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use ospfv3::{
    Config, Event, InterfaceConfig, InterfaceKind, PathFailure, Peer, Prefix, Speaker, SpfDelay,
    StubPrefix, Time,
};

/// Interface ID of the loopback.
const LOOPBACK: u32 = 1_000_000;
/// Seconds between Hellos, and of silence until OSPF itself gives a neighbour up.
const INTERVALS: (u16, u16) = (5, 20);
/// As the daemon has them (l2ha-user/routing/src/instances/instance.rs).
const LSA_THROTTLE: Duration = Duration::from_millis(1200);
const SPF_DELAY: SpfDelay = SpfDelay {
    initial: Duration::ZERO,
    hold: Duration::from_millis(25),
    max: Duration::from_millis(200),
};
/// MTU of a tunnel over an underlay of 1500 bytes.
pub(crate) const MTU: u16 = 1442;
/// IPv6 header, and the authentication trailer with HMAC-SHA-256 (RFC 7166 4.1): bytes around each packet.
const AROUND: u64 = 40 + 16 + 32;

/// What things take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Costs {
    /// From node to node.
    pub(crate) way: Duration,
    /// To read a packet and handle it.
    pub(crate) receive: Duration,
    /// To make a packet, sign and send it.
    pub(crate) send: Duration,
    /// To calculate routes.
    pub(crate) calculation: Duration,
}

/// Packets and bytes, by type: Hello, DD, Request, Update, Acknowledgment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) packets: [u64; 5],
    pub(crate) bytes: [u64; 5],
}

impl Traffic {
    fn add(&mut self, bytes: &[u8]) {
        let kind = usize::from(bytes[1].clamp(1, 5)) - 1;
        self.packets[kind] += 1;
        self.bytes[kind] += bytes.len() as u64 + AROUND;
    }

    pub(crate) fn since(&self, before: &Self) -> Self {
        let less = |now: &[u64; 5], before: &[u64; 5]| {
            let mut less = *now;
            for (now, before) in less.iter_mut().zip(before) {
                *now -= before;
            }
            less
        };
        Self {
            packets: less(&self.packets, &before.packets),
            bytes: less(&self.bytes, &before.bytes),
        }
    }
}

struct Frame {
    interface: u32,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    bytes: Vec<u8>,
}

enum What {
    /// A packet reaches a node.
    Arrives(Frame),
    /// A node is free again.
    Free,
    /// A node wants to be called.
    Timer,
    /// BFD tells a node that the path to another one has failed.
    Fails(usize),
}

/// What happens next, by time.
struct Next {
    at: Time,
    serial: u64,
    node: usize,
    what: What,
}

impl Ord for Next {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.serial).cmp(&(other.at, other.serial))
    }
}

impl PartialOrd for Next {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Next {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Next {}

/// A node, and what it has done.
#[derive(Default)]
pub(crate) struct Node {
    pub(crate) speaker: Option<Speaker>,
    inbox: VecDeque<Frame>,
    /// Most packets that have waited at once.
    pub(crate) waited: usize,
    busy_until: Time,
    /// Whether it is called when it is free.
    called: bool,
    armed: Option<Time>,
    pub(crate) sent: Traffic,
    pub(crate) received: Traffic,
    /// Time for which it was busy.
    pub(crate) busy: Duration,
    /// What handling packets and time took this machine.
    pub(crate) taken: Duration,
    pub(crate) handled: u64,
    /// When its routes last changed.
    pub(crate) routes_changed: Time,
    /// What its calculations took this machine.
    pub(crate) calculations: Vec<Duration>,
}

/// The network.
pub(crate) struct Mesh {
    pub(crate) servers: usize,
    pub(crate) nodes: Vec<Node>,
    pub(crate) now: Time,
    costs: Costs,
    /// Links beyond which LSAs are not sent on at once where others do it.
    many_links: usize,
    agenda: BinaryHeap<Reverse<Next>>,
    serial: u64,
}

/// Interface ID of the link to a node.
fn link_to(node: usize) -> u32 {
    node as u32 + 1
}

fn link_local(node: usize, to: usize) -> Ipv6Addr {
    Ipv6Addr::from_bits(0xfe80 << 112 | (node as u128) << 16 | to as u128)
}

pub(crate) fn router_id(node: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a00_0001 + node as u32)
}

/// The address that only one node has.
pub(crate) fn own(node: usize) -> Prefix {
    Prefix::host(Ipv6Addr::from_bits((0xfd00 << 112) | (node as u128 + 1)))
}

/// The address that each server has, the first one nearest.
pub(crate) fn service() -> Prefix {
    Prefix::host(Ipv6Addr::from_bits(0x2001_0db8 << 96 | 0x80))
}

impl Mesh {
    /// With no node running.
    pub(crate) fn new(servers: usize, clients: usize, costs: Costs, many_links: usize) -> Self {
        let nodes = (0..servers + clients).map(|_| Node::default()).collect();
        Self {
            servers,
            nodes,
            now: Duration::from_secs(1000),
            costs,
            many_links,
            agenda: BinaryHeap::new(),
            serial: 0,
        }
    }

    pub(crate) fn links(&self) -> usize {
        let clients = self.nodes.len() - self.servers;
        self.servers * (self.servers - 1) / 2 + self.servers * clients
    }

    fn neighbors(&self, node: usize) -> impl Iterator<Item = usize> {
        let end = if node < self.servers {
            self.nodes.len()
        } else {
            self.servers
        };
        (0..end).filter(move |other| *other != node)
    }

    /// A new process.
    pub(crate) fn start(&mut self, node: usize) {
        let now = self.now;
        let mut config = Config::new(router_id(node));
        config.many_links = self.many_links;
        config.min_ls_interval = LSA_THROTTLE;
        config.spf_delay = SPF_DELAY;
        let mut speaker = Speaker::new(config, now);
        speaker.set_transit(now, node < self.servers);
        let kind = InterfaceKind::Loopback;
        let mut loopback = InterfaceConfig::new("lo", LOOPBACK, kind, link_local(node, node));
        loopback.prefixes = vec![StubPrefix {
            prefix: own(node),
            metric: 0,
            local: true,
        }];
        if node < self.servers {
            loopback.prefixes.push(StubPrefix {
                prefix: service(),
                metric: 1 + node as u16 * u16::from(node > 0),
                local: true,
            });
        }
        speaker.add_interface(now, loopback);
        for other in self.neighbors(node) {
            let kind = InterfaceKind::PointToPoint;
            let address = link_local(node, other);
            let mut config = InterfaceConfig::new("l2", link_to(other), kind, address);
            config.mtu = MTU;
            config.cost = 100;
            (config.hello_interval, config.dead_interval) = INTERVALS;
            speaker.add_interface(now, config);
        }
        self.nodes[node] = Node {
            speaker: Some(speaker),
            sent: self.nodes[node].sent,
            busy_until: now,
            ..Node::default()
        };
        self.finish(node, now, Duration::ZERO);
    }

    /// The machine is gone, and BFD tells its neighbours within `spread`.
    pub(crate) fn die(&mut self, node: usize, spread: Duration) {
        self.nodes[node].speaker = None;
        self.nodes[node].inbox.clear();
        let others: Vec<usize> = self.neighbors(node).collect();
        let count = others.len() as u32;
        for (number, other) in (0..).zip(others) {
            let at = self.now + spread * number / count;
            self.push(at, other, What::Fails(node));
        }
    }

    fn push(&mut self, at: Time, node: usize, what: What) {
        self.serial += 1;
        self.agenda.push(Reverse(Next {
            at,
            serial: self.serial,
            node,
            what,
        }));
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.agenda.peek().is_some_and(|next| next.0.at <= until) {
            let Some(Reverse(next)) = self.agenda.pop() else {
                break;
            };
            self.now = next.at;
            self.happens(next);
        }
        self.now = until;
    }

    fn happens(&mut self, next: Next) {
        let (now, number) = (self.now, next.node);
        let node = &mut self.nodes[number];
        if node.speaker.is_none() {
            return;
        }
        match next.what {
            What::Arrives(frame) => {
                node.received.add(&frame.bytes);
                node.inbox.push_back(frame);
                node.waited = node.waited.max(node.inbox.len());
            }
            What::Free => node.called = false,
            What::Timer if node.armed != Some(next.at) => return,
            What::Timer => node.armed = None,
            What::Fails(other) => {
                // BFD's report goes before every packet that waits.
                let peer = Peer::new(link_to(other), router_id(other));
                let cost = self.act(number, |now, speaker| {
                    speaker.path_failed(now, peer, PathFailure::Unconfirmed);
                });
                let start = self.nodes[number].busy_until.max(now);
                self.finish(number, start, cost);
                return;
            }
        }
        if node.busy_until > now {
            self.call(number);
            return;
        }
        // As the daemon has it: packets first, then time, except that a calculation that is due waits for
        // one packet only.
        let frame = node.inbox.pop_front();
        let receive = self.costs.receive;
        let mut cost = Duration::ZERO;
        if let Some(frame) = frame {
            cost += receive
                + self.act(number, |now, speaker| {
                    let (source, to) = (frame.source, frame.destination);
                    speaker.handle_packet(now, frame.interface, source, to, &frame.bytes);
                });
        }
        let timeout = |node: &Node| node.speaker.as_ref().and_then(Speaker::poll_timeout);
        if timeout(&self.nodes[number]).is_some_and(|at| at <= now) {
            cost += self.act(number, |now, speaker| speaker.handle_timeout(now));
        }
        self.finish(number, now, cost);
    }

    /// What a node does, and what it takes beside packets.
    fn act(&mut self, number: usize, act: impl FnOnce(Time, &mut Speaker)) -> Duration {
        let node = &mut self.nodes[number];
        let Some(speaker) = &mut node.speaker else {
            return Duration::ZERO;
        };
        let generation = speaker.route_generation();
        let start = Instant::now();
        act(self.now, speaker);
        let taken = start.elapsed();
        node.taken += taken;
        node.handled += 1;
        if speaker.route_generation() == generation {
            return Duration::ZERO;
        }
        node.calculations.push(taken);
        self.costs.calculation
    }

    /// Sends what a node has to send from `start` on, and has it called again.
    fn finish(&mut self, number: usize, start: Time, cost: Duration) {
        let mut at = start + cost;
        let mut frames = Vec::new();
        let node = &mut self.nodes[number];
        let Some(speaker) = &mut node.speaker else {
            return;
        };
        while let Some(event) = speaker.poll_event() {
            if event == Event::RoutesChanged {
                node.routes_changed = at;
            }
        }
        while let Some(packet) = speaker.poll_transmit() {
            at += self.costs.send;
            node.sent.add(&packet.bytes);
            let frame = Frame {
                interface: link_to(number),
                source: packet.source,
                destination: packet.destination,
                bytes: packet.bytes,
            };
            frames.push((at + self.costs.way, packet.interface as usize - 1, frame));
        }
        node.busy += at - start;
        node.busy_until = node.busy_until.max(at);
        let timeout = speaker.poll_timeout();
        let timer = timeout.filter(|at| node.armed.is_none_or(|armed| *at < armed));
        if let Some(at) = timer {
            let at = at.max(self.now);
            node.armed = Some(at);
            self.push(at, number, What::Timer);
        }
        for (at, to, frame) in frames {
            self.push(at, to, What::Arrives(frame));
        }
        if !self.nodes[number].inbox.is_empty() {
            self.call(number);
        }
    }

    /// Has a node called when it is free.
    fn call(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        if !node.called {
            node.called = true;
            let at = node.busy_until.max(self.now);
            self.push(at, number, What::Free);
        }
    }
}
