//! A network of speakers in virtual time: links with delay, loss, duplication and reordering, all
//! from a seed, so that every run replays.

mod links;
mod names;
mod random;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ospfv3::{
    AreaConfig, Config, Edge, Event, Family, GracefulRestart, InterfaceConfig, InterfaceKind,
    Limits, MANY_LINKS, Prefix, Speaker, StubPrefix, Time,
};

pub(crate) use self::links::{End, Frame, Lan, Link, Weather};
pub(crate) use self::names::*;
pub(crate) use self::random::{Digest, Rng};

pub(crate) struct Net {
    pub(crate) now: Time,
    pub(crate) nodes: Vec<Option<Speaker>>,
    pub(crate) links: Vec<Link>,
    pub(crate) lans: Vec<Lan>,
    pub(crate) weather: Weather,
    pub(crate) rng: Rng,
    /// Everything that was sent, if wanted.
    pub(crate) captured: Option<Vec<Frame>>,
    /// A hash of every frame so far, and of when it was sent.
    pub(crate) digest: Digest,
    pub(crate) events: Vec<(Time, usize, Event)>,
    frames: BTreeMap<(Time, u64), Frame>,
    serial: u64,
    /// How far each node's clock is ahead of `now`.
    skew: BTreeMap<usize, Duration>,
    /// Who wants to be called when, by time and by node.
    timers: BTreeSet<(Time, usize)>,
    armed: BTreeMap<usize, Time>,
    /// Hello and dead interval, seconds.
    pub(crate) intervals: (u16, u16),
    pub(crate) limits: Limits,
    /// Areas of the interfaces, by Interface ID, that are not in the backbone.
    pub(crate) areas: BTreeMap<u32, Ipv4Addr>,
    /// What is taken from the neighbour, by Interface ID.
    pub(crate) edges: BTreeMap<u32, Edge>,
    /// Areas of the loopbacks, by node, that are not in the backbone.
    pub(crate) homes: BTreeMap<usize, Ipv4Addr>,
    /// Areas that are not like any other.
    pub(crate) kinds: BTreeMap<Ipv4Addr, AreaConfig>,
    pub(crate) mtu: u16,
    /// What nodes started from now on route.
    pub(crate) family: Family,
    /// Whether nodes started from now on help others with graceful restarts, and how strictly.
    pub(crate) helper: bool,
    pub(crate) strict: bool,
    /// Links beyond which nodes started from now on leave it to others to tell their neighbours.
    pub(crate) many_links: usize,
    /// Nodes that forward nothing.
    pub(crate) hosts: BTreeSet<usize>,
}

impl Net {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            now: Duration::from_secs(1000),
            nodes: Vec::new(),
            links: Vec::new(),
            lans: Vec::new(),
            weather: Weather::FAIR,
            rng: Rng(seed),
            captured: None,
            digest: Digest::default(),
            events: Vec::new(),
            frames: BTreeMap::new(),
            serial: 0,
            skew: BTreeMap::new(),
            timers: BTreeSet::new(),
            armed: BTreeMap::new(),
            intervals: (1, 4),
            limits: Limits::default(),
            areas: BTreeMap::new(),
            edges: BTreeMap::new(),
            homes: BTreeMap::new(),
            kinds: BTreeMap::new(),
            mtu: 1500,
            family: Family::Ipv6,
            helper: true,
            strict: true,
            many_links: MANY_LINKS,
            hosts: BTreeSet::new(),
        }
    }

    /// Nodes with a loopback each, and links between them.
    pub(crate) fn build(seed: u64, count: usize, links: &[(usize, usize, u16)]) -> Self {
        let mut net = Self::drawn(seed, count, links);
        for node in 0..count {
            net.start(node);
        }
        net
    }

    /// The same, with no node started yet.
    pub(crate) fn drawn(seed: u64, count: usize, links: &[(usize, usize, u16)]) -> Self {
        let mut net = Self::new(seed);
        for _ in 0..count {
            net.nodes.push(None);
        }
        for (a, b, cost) in links {
            // Interface IDs of the two ends differ, so that mixing them up shows.
            let number = net.links.len() as u32;
            let ends = [
                End {
                    node: *a,
                    interface: 10 + number * 2,
                },
                End {
                    node: *b,
                    interface: 11 + number * 2,
                },
            ];
            net.links.push(Link {
                ends,
                cost: *cost,
                cut: false,
            });
        }
        net
    }

    /// The address only this node has, of the family that is routed.
    pub(crate) fn own(&self, node: usize) -> Prefix {
        match self.family {
            Family::Ipv6 => own_prefix(node),
            Family::Ipv4 => Prefix::host(Ipv4Addr::from_bits(0x0aff_0001 + node as u32)),
        }
    }

    /// The address that several have.
    pub(crate) fn anycast(&self) -> Prefix {
        match self.family {
            Family::Ipv6 => anycast(),
            Family::Ipv4 => Prefix::host(Ipv4Addr::new(192, 0, 2, 80)),
        }
    }

    /// The IPv4 address of a node on an Ethernet; every second has none.
    pub(crate) fn lan_ipv4(&self, end: End) -> Option<Ipv4Addr> {
        let numbered = self.family == Family::Ipv4 && end.node.is_multiple_of(2);
        numbered.then(|| Ipv4Addr::from_bits(0x0a4d_0001 + end.node as u32))
    }

    pub(crate) fn interface_config(&self, end: End, cost: u16) -> InterfaceConfig {
        let kind = InterfaceKind::PointToPoint;
        let name = format!("n{}i{}", end.node, end.interface);
        let mut config = InterfaceConfig::new(&name, end.interface, kind, link_local(end));
        config.cost = cost;
        config.mtu = self.mtu;
        config.instance_id = self.family.instance();
        if let Some(area) = self.areas.get(&end.interface) {
            config.area = *area;
        }
        config.edge = self.edges.get(&end.interface).cloned();
        (config.hello_interval, config.dead_interval) = self.intervals;
        config
    }

    /// An end on an Ethernet.
    pub(crate) fn lan_interface_config(&self, end: End) -> InterfaceConfig {
        let mut config = self.interface_config(end, 10);
        config.kind = InterfaceKind::Broadcast;
        config.ipv4 = self.lan_ipv4(end);
        let addr = Ipv6Addr::from_bits(0x2001_0db8_00ff << 80);
        let prefix = match (self.family, config.ipv4) {
            (Family::Ipv6, _) => Prefix::new(addr, 64),
            (Family::Ipv4, Some(addr)) => Prefix::new(addr, 16),
            (Family::Ipv4, None) => None,
        };
        let prefixes = prefix.map(|prefix| StubPrefix {
            prefix,
            metric: 10,
            local: false,
        });
        config.prefixes = prefixes.into_iter().collect();
        config
    }

    /// Starts a node that is not running: a new process with no memory.
    pub(crate) fn start(&mut self, node: usize) {
        self.start_with(node, vec![local(self.own(node))]);
    }

    pub(crate) fn start_with(&mut self, node: usize, prefixes: Vec<StubPrefix>) {
        self.begin(node, prefixes, None);
    }

    /// A new process whose forwarding plane has gone on.
    pub(crate) fn resume(&mut self, node: usize, prefixes: Vec<StubPrefix>, how: GracefulRestart) {
        self.begin(node, prefixes, Some(how));
    }

    fn begin(&mut self, node: usize, prefixes: Vec<StubPrefix>, how: Option<GracefulRestart>) {
        let mut config = Config::new(router_id(node));
        config.limits = self.limits;
        config.family = self.family;
        config.areas = self.kinds.clone();
        config.graceful_helper = self.helper;
        config.graceful_strict = self.strict;
        config.many_links = self.many_links;
        let now = self.clock(node);
        let mut speaker = Speaker::new(config, now);
        speaker.set_transit(now, !self.hosts.contains(&node));
        if let Some(how) = how {
            speaker.resume_graceful_restart(now, how);
        }
        let loopback = End {
            node,
            interface: LOOPBACK,
        };
        let kind = InterfaceKind::Loopback;
        let mut config = InterfaceConfig::new("lo", LOOPBACK, kind, link_local(loopback));
        config.prefixes = prefixes;
        if let Some(area) = self.homes.get(&node) {
            config.area = *area;
        }
        speaker.add_interface(now, config);
        for link in &self.links {
            for end in link.ends.iter().filter(|end| end.node == node) {
                speaker.add_interface(now, self.interface_config(*end, link.cost));
            }
        }
        for lan in &self.lans {
            for end in lan.ends.iter().filter(|end| end.node == node) {
                speaker.add_interface(now, self.lan_interface_config(*end));
            }
        }
        self.nodes[node] = Some(speaker);
        self.collect(node);
    }

    /// The process is gone, without a word.
    pub(crate) fn crash(&mut self, node: usize) {
        self.nodes[node] = None;
    }

    /// The process ends in order.
    pub(crate) fn stop(&mut self, node: usize) {
        let now = self.clock(node);
        self.with(node, |speaker| speaker.shutdown(now));
        self.nodes[node] = None;
    }

    /// What a node's clock shows.
    pub(crate) fn clock(&self, node: usize) -> Time {
        self.now + self.skew.get(&node).copied().unwrap_or_default()
    }

    /// A node's clock jumps ahead: its machine was suspended, or so it looks to it.
    pub(crate) fn jump(&mut self, node: usize, by: Duration) {
        *self.skew.entry(node).or_default() += by;
        self.arm(node);
    }

    fn arm(&mut self, node: usize) {
        if let Some(at) = self.armed.remove(&node) {
            self.timers.remove(&(at, node));
        }
        let skew = self.clock(node) - self.now;
        let at = self.nodes[node].as_ref().and_then(Speaker::poll_timeout);
        if let Some(at) = at {
            let at = at.saturating_sub(skew);
            self.armed.insert(node, at);
            self.timers.insert((at, node));
        }
    }

    pub(crate) fn node(&self, node: usize) -> &Speaker {
        self.nodes[node].as_ref().unwrap()
    }

    pub(crate) fn with<T>(&mut self, node: usize, act: impl FnOnce(&mut Speaker) -> T) -> T {
        let result = act(self.nodes[node].as_mut().unwrap());
        self.collect(node);
        result
    }

    pub(crate) fn set_prefixes(&mut self, node: usize, prefixes: Vec<StubPrefix>) {
        let now = self.now;
        self.with(node, |speaker| {
            speaker.set_prefixes(now, LOOPBACK, prefixes)
        });
    }

    /// Takes what a node wants to send and puts it on the links.
    pub(crate) fn collect(&mut self, node: usize) {
        self.arm(node);
        let Some(speaker) = self.nodes[node].as_mut() else {
            return;
        };
        while let Some(event) = speaker.poll_event() {
            self.events.push((self.now, node, event));
        }
        let mut sent = Vec::new();
        while let Some(packet) = speaker.poll_transmit() {
            sent.push(packet);
        }
        for packet in sent {
            let from = End {
                node,
                interface: packet.interface,
            };
            for (to, cut) in self.receivers(from, packet.destination) {
                let frame = Frame {
                    to,
                    source: packet.source,
                    destination: packet.destination,
                    bytes: packet.bytes.clone(),
                };
                self.carry(frame, cut);
            }
        }
    }

    /// Who would get a packet, and whether the way there is cut.
    fn receivers(&self, from: End, destination: Ipv6Addr) -> Vec<(End, bool)> {
        // As `build` numbers them; and any other numbering.
        let usual = from.interface.checked_sub(10).map(|n| n as usize / 2);
        let usual = usual.and_then(|number| self.links.get(number));
        let usual = usual.filter(|link| link.ends.contains(&from));
        if let Some(link) =
            usual.or_else(|| self.links.iter().find(|link| link.ends.contains(&from)))
        {
            let [a, b] = link.ends;
            return vec![(if a == from { b } else { a }, link.cut)];
        }
        let Some(lan) = self.lans.iter().find(|lan| lan.ends.contains(&from)) else {
            return Vec::new();
        };
        let cut = |end: &End| lan.cut.contains(&end.node) || lan.cut.contains(&from.node);
        let hears = |end: &&End| {
            **end != from && (destination.is_multicast() || destination == link_local(**end))
        };
        lan.ends
            .iter()
            .filter(hears)
            .map(|end| (*end, cut(end)))
            .collect()
    }

    fn carry(&mut self, frame: Frame, cut: bool) {
        if let Some(captured) = &mut self.captured {
            captured.push(frame.clone());
        }
        self.digest.add(&self.now.as_nanos().to_be_bytes());
        self.digest.add(&frame.to.interface.to_be_bytes());
        self.digest.add(&frame.destination.octets());
        self.digest.add(&frame.bytes);
        if cut || self.rng.percent(self.weather.loss_percent) {
            return;
        }
        let copies = 1 + u64::from(self.rng.percent(self.weather.duplicate_percent));
        for _ in 0..copies {
            let jitter = self.rng.below(self.weather.jitter.as_micros() as u64 + 1);
            let at = self.now + self.weather.delay + Duration::from_micros(jitter);
            self.serial += 1;
            self.frames.insert((at, self.serial), frame.clone());
        }
    }

    /// Runs until `until`.
    pub(crate) fn run_until(&mut self, until: Time) {
        let mut idle_steps = 0;
        for node in 0..self.nodes.len() {
            self.arm(node);
        }
        loop {
            let frame = self.frames.keys().next().map(|(at, _)| *at);
            let timer = self.timers.first().map(|(at, _)| *at);
            let Some(next) = frame
                .into_iter()
                .chain(timer)
                .min()
                .filter(|at| *at <= until)
            else {
                self.now = until;
                return;
            };
            if next > self.now {
                self.now = next;
                idle_steps = 0;
            }
            idle_steps += 1;
            assert!(idle_steps < 100_000, "time stands still at {:?}", self.now);
            while let Some(entry) = self.frames.first_entry() {
                if entry.key().0 > self.now {
                    break;
                }
                let frame = entry.remove();
                self.deliver(&frame);
            }
            let due = self.timers.iter().take_while(|(at, _)| *at <= self.now);
            let due: BTreeSet<usize> = due.map(|(_, node)| *node).collect();
            for node in due {
                let now = self.clock(node);
                if let Some(speaker) = self.nodes[node].as_mut() {
                    speaker.handle_timeout(now);
                }
                self.collect(node);
            }
        }
    }

    pub(crate) fn deliver(&mut self, frame: &Frame) {
        let (now, node) = (self.clock(frame.to.node), frame.to.node);
        let Some(speaker) = self.nodes[node].as_mut() else {
            return;
        };
        let Frame {
            source,
            destination,
            ..
        } = *frame;
        speaker.handle_packet(now, frame.to.interface, source, destination, &frame.bytes);
        self.collect(node);
    }

    pub(crate) fn run(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    pub(crate) fn run_ms(&mut self, ms: u64) {
        self.run(Duration::from_millis(ms));
    }

    /// Runs in small steps until `done`, at most `limit`; how long it took.
    pub(crate) fn run_while(
        &mut self,
        limit: Duration,
        mut not_done: impl FnMut(&Self) -> bool,
    ) -> Duration {
        let start = self.now;
        while not_done(self) {
            assert!(
                self.now < start + limit,
                "not within {limit:?}\n{}",
                self.describe()
            );
            self.run_ms(1);
        }
        self.now - start
    }

    /// For the message of a failed assertion.
    pub(crate) fn describe(&self) -> String {
        let mut text = String::new();
        for (node, speaker) in self.nodes.iter().enumerate() {
            let Some(speaker) = speaker else { continue };
            text += &format!("--- node {node}\n");
            for n in speaker.neighbors() {
                text += &format!("  {} {:?} on {}\n", n.router_id, n.state, n.interface_name);
            }
            for (prefix, route) in speaker.routes() {
                text += &format!("  {prefix} {} {:?}\n", route.metric, route.nexthops);
            }
            for lsa in speaker.database().lsas {
                text += &format!(
                    "  {:?} {} {} {} age {} seq {:08x} {:?}\n",
                    lsa.scope,
                    lsa.ty.name(),
                    lsa.link_state_id,
                    lsa.advertising_router,
                    lsa.age,
                    lsa.sequence,
                    lsa.body
                );
            }
        }
        text
    }
}
