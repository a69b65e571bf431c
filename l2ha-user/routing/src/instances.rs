//! The instances of OSPF that share interfaces and sockets: one for IPv6 and, where it is wanted, one
//! for IPv4 (RFC 5838).

mod instance;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use config::Ospf;
use ospfv3::{
    Event, ExternalPrefix, Family, GracefulRestart, InterfaceState, NeighborState, NeighborView,
    PathFailure, PathOutcome, Speaker, Time, Transmit, wire::Header,
};

pub(crate) use self::instance::Instance;
use crate::types::{Desired, Interface, RotationState, Rotations};

/// All of them, IPv6 first.
pub(crate) struct Instances {
    config: Ospf,
    /// What sequence numbers of authenticated packets begin with: in this run of the router, and one more
    /// for those that begin later, which neighbours would take for replays of those before.
    epoch: u32,
    list: Vec<Instance>,
    /// Whether this node is the last resort.
    drained: bool,
}

impl Instances {
    /// Those that the configuration wants; `epoch` is what sequence numbers of authenticated packets
    /// begin with.
    pub(crate) fn new(config: &Ospf, epoch: u32, restart: Option<GracefulRestart>) -> Self {
        let six = (Family::Ipv6, config.instance_id);
        let four = config.ipv4.map(|id| (Family::Ipv4, id));
        let start = |which| Instance::new(config, epoch, which, Duration::ZERO, restart);
        if let Some(restart) = restart {
            tracing::info!(
                seconds = restart.period,
                reason = %restart.reason,
                "an earlier daemon has left the data plane in place: the neighbours are asked to go \
                 on as if nothing happened"
            );
        }
        Self {
            config: config.clone(),
            epoch,
            list: [Some(six), four].into_iter().flatten().map(start).collect(),
            drained: false,
        }
    }

    /// Takes another configuration. Another Router ID or Instance ID makes other speakers, which have
    /// nothing yet; what those before have still to send is returned.
    pub(crate) fn configure(&mut self, now: Time, config: &Ospf) -> Option<Vec<Transmit>> {
        let before = std::mem::replace(&mut self.config, config.clone());
        self.each(|speaker| {
            speaker.set_graceful_helper(config.graceful_helper, config.graceful_strict);
        });
        if (before.router_id, before.instance_id) == (config.router_id, config.instance_id) {
            return None;
        }
        tracing::info!(
            router_id = %config.router_id, instance = config.instance_id,
            "OSPF begins anew as another router"
        );
        self.epoch = self.epoch.saturating_add(1);
        let (mut last_packets, mut list) = (Vec::new(), Vec::new());
        for mut gone in self.list.drain(..) {
            gone.speaker.shutdown(now);
            last_packets.extend(std::iter::from_fn(|| gone.speaker.poll_transmit()));
            let id = match gone.family {
                Family::Ipv6 => config.instance_id,
                Family::Ipv4 => gone.id,
            };
            let which = (gone.family, id);
            let mut instance = Instance::new(config, self.epoch, which, now, None);
            instance.speaker.drain(now, self.drained);
            list.push(instance);
        }
        self.list = list;
        Some(last_packets)
    }

    /// That of IPv6, which is always there.
    pub(crate) fn ipv6(&self) -> Option<&Instance> {
        self.list.first()
    }

    pub(crate) fn ipv4(&self) -> Option<&Instance> {
        self.list
            .iter()
            .find(|instance| instance.family == Family::Ipv4)
    }

    /// All, IPv6 first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Instance> {
        self.list.iter()
    }

    /// Does the same with all speakers.
    pub(crate) fn each(&mut self, mut act: impl FnMut(&mut Speaker)) {
        for instance in &mut self.list {
            act(&mut instance.speaker);
        }
    }

    /// Makes this node the last resort (RFC 6987), or ends that.
    pub(crate) fn drain(&mut self, now: Time, on: bool) {
        self.drained = on;
        self.each(|speaker| speaker.drain(now, on));
    }

    /// Starts or ends IPv4: its Instance ID, or nothing. What an instance that ends has still to
    /// send is returned; whether anything has changed, too.
    pub(crate) fn set_ipv4(&mut self, now: Time, wanted: Option<u8>) -> (bool, Vec<Transmit>) {
        let mut last_packets = Vec::new();
        if self.ipv4().map(|instance| instance.id) == wanted {
            return (false, last_packets);
        }
        for gone in self.list.extract_if(1.., |_| true) {
            let mut speaker = gone.speaker;
            tracing::info!(instance = gone.id, "IPv4 is no longer routed");
            speaker.shutdown(now);
            last_packets.extend(std::iter::from_fn(|| speaker.poll_transmit()));
        }
        if let Some(id) = wanted {
            tracing::info!(instance = id, "IPv4 is routed now");
            self.epoch = self.epoch.saturating_add(1);
            let which = (Family::Ipv4, id);
            let mut instance = Instance::new(&self.config, self.epoch, which, now, None);
            instance.speaker.drain(now, self.drained);
            self.list.push(instance);
        }
        (true, last_packets)
    }

    /// An interface that is new, or has other keys or prefixes than before.
    pub(crate) fn add_interface(&mut self, now: Time, interface: &Interface) {
        for instance in &mut self.list {
            let config = instance.interface(&self.config, interface);
            instance.speaker.add_interface(now, config);
        }
    }

    /// The anycast addresses, each in its family.
    pub(crate) fn set_services(&mut self, now: Time, desired: &Desired) {
        for instance in &mut self.list {
            let loopback = instance.loopback(&self.config, desired);
            instance.speaker.add_interface(now, loopback);
        }
    }

    /// What lies outside of the AS, by family.
    pub(crate) fn set_externals(
        &mut self,
        now: Time,
        externals: impl Fn(Family) -> Vec<ExternalPrefix>,
    ) {
        for instance in &mut self.list {
            let externals = externals(instance.family);
            instance.speaker.set_externals(now, externals);
        }
    }

    /// Takes note of whether this node forwards packets of a family.
    pub(crate) fn set_transit(&mut self, now: Time, forwards: impl Fn(Family) -> bool) {
        for instance in &mut self.list {
            let on = forwards(instance.family);
            instance.set_transit(now, on);
        }
    }

    /// A packet goes to the instance it names. One that names another goes to IPv6's, which refuses
    /// it and counts that as it should.
    pub(crate) fn handle_packet(
        &mut self,
        now: Time,
        interface: u32,
        (source, destination): (Ipv6Addr, Ipv6Addr),
        bytes: &[u8],
    ) {
        let named = Header::instance_id_of(bytes);
        let named = self.list.iter().position(|it| Some(it.id) == named);
        if let Some(instance) = self.list.get_mut(named.unwrap_or_default()) {
            let speaker = &mut instance.speaker;
            speaker.handle_packet(now, interface, source, destination, bytes);
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Time) {
        self.each(|speaker| speaker.handle_timeout(now));
    }

    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        let times = self.list.iter().map(|it| it.speaker.poll_timeout());
        times.flatten().min()
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<Transmit> {
        let mut speakers = self.list.iter_mut().map(|it| &mut it.speaker);
        speakers.find_map(Speaker::poll_transmit)
    }

    /// The next event, and whether it ends the last graceful restart of ours.
    pub(crate) fn poll_event(&mut self) -> Option<(Family, Event, bool)> {
        let polled = self.list.iter_mut().find_map(|instance| {
            let event = instance.speaker.poll_event()?;
            let ended = matches!(event, Event::RestartEnded { .. });
            instance.restarting &= !ended;
            Some((instance.family, event, ended))
        });
        let (family, event, ended) = polled?;
        let last = ended && !self.list.iter().any(|instance| instance.restarting);
        Some((family, event, last))
    }

    /// Whether an instance is Designated Router on an interface, or its Backup.
    pub(crate) fn is_dr_or_backup(&self, interface: u32) -> bool {
        let interfaces = self.list.iter().flat_map(|it| it.speaker.interfaces());
        interfaces
            .filter(|view| view.id == interface)
            .any(|view| matches!(view.state, InterfaceState::Dr | InterfaceState::Backup))
    }

    /// Whether every neighbour has acknowledged everything.
    pub(crate) fn is_acknowledged(&self) -> bool {
        self.list.iter().all(|it| it.speaker.is_acknowledged())
    }

    /// The neighbours of all instances, each address once: one session of BFD serves all of them
    /// (RFC 5882 4.4). It is there as soon as one adjacency is.
    pub(crate) fn paths(&self) -> Vec<NeighborView> {
        let mut paths: BTreeMap<(u32, Ipv6Addr), NeighborView> = BTreeMap::new();
        for neighbor in self.list.iter().flat_map(|it| it.speaker.neighbors()) {
            let key = (neighbor.interface, neighbor.address);
            match paths.get(&key) {
                Some(other) if other.state >= neighbor.state => {}
                _ => {
                    paths.insert(key, neighbor);
                }
            }
        }
        paths.into_values().collect()
    }

    /// How far the neighbours are with rotations, in all instances together; `former` gives the former key's SA ID of
    /// an interface.
    pub(crate) fn rotations(&self, former: impl Fn(u32) -> Option<u16>) -> Rotations {
        let mut states = Rotations::new();
        for neighbor in self.list.iter().flat_map(|it| it.speaker.neighbors()) {
            let (Some(rotation), Some(former)) = (neighbor.rotation, former(neighbor.interface))
            else {
                continue;
            };
            let state = states.entry(neighbor.interface).or_insert(RotationState {
                former,
                accepted: true,
                used: true,
            });
            state.accepted &= rotation.accepts_present;
            state.used &= rotation.uses_present;
        }
        states
    }

    /// The path to a neighbour has failed (RFC 5882 4.1); whether it is certain that the path is
    /// gone, or only the neighbour's BFD.
    pub(crate) fn path_failed(
        &mut self,
        now: Time,
        (interface, address): (u32, Ipv6Addr),
        gone: bool,
    ) -> PathOutcome {
        let failure = if gone {
            PathFailure::Confirmed
        } else {
            PathFailure::Unconfirmed
        };
        let outcomes = self.list.iter_mut().filter_map(|instance| {
            let peer = instance.speaker.neighbor_at(interface, address)?;
            Some(instance.speaker.path_failed(now, peer, failure))
        });
        outcomes.max().unwrap_or(PathOutcome::Unknown)
    }

    /// Whether any instance has an adjacency on an interface.
    pub(crate) fn is_full(&self, interface: u32) -> bool {
        let full = NeighborState::Full;
        let mut neighbors = self.list.iter().flat_map(|it| it.speaker.neighbors());
        neighbors.any(|it| it.interface == interface && it.state == full)
    }

    /// The Router ID of the neighbour at an address, if it is Full with us.
    pub(crate) fn full_at(&self, interface: u32, address: Ipv6Addr) -> Option<Ipv4Addr> {
        let mut neighbors = self.list.iter().flat_map(|it| it.speaker.neighbors());
        let there = neighbors.find(|it| {
            (it.interface, it.address, it.state) == (interface, address, NeighborState::Full)
        });
        there.map(|it| it.router_id)
    }

    /// Whether any instance has neighbours on an interface.
    pub(crate) fn has_neighbors(&self, interface: u32) -> bool {
        let mut speakers = self.list.iter().map(|it| &it.speaker);
        speakers.any(|speaker| speaker.has_neighbors(interface))
    }
}

#[cfg(test)]
mod tests {
    use config::{OspfNetwork, Redistribute};
    use ospfv3::{Algorithm, AuthKey, KeyChain, Lifetime, NeighborState, wire::ALL_SPF_ROUTERS};

    use super::*;
    use crate::types::HostPrefix;

    const INTERFACE: u32 = 7;

    fn config(router: u8, ipv4: Option<u8>) -> Ospf {
        Ospf {
            router_id: Ipv4Addr::new(10, 0, 0, router),
            area: Ipv4Addr::UNSPECIFIED,
            hello_interval: 1,
            dead_interval: 4,
            cost: 10,
            bfd: None,
            instance_id: 0,
            ipv4,
            retransmit_interval: 5,
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
            graceful_restart: 0,
            graceful_helper: true,
            graceful_strict: true,
        }
    }

    fn interface(router: u8) -> Interface {
        Interface {
            name: "l2-peer".to_owned(),
            index: INTERFACE,
            link_local: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, router.into()),
            mtu: 1442,
            carries: 1442,
            area: Ipv4Addr::UNSPECIFIED,
            network: OspfNetwork::PointToPoint,
            priority: 1,
            cost: 10,
            bfd: None,
            bfd_keys: Vec::new(),
            keys: None,
            rotation: None,
            edge: None,
            prefixes: vec![("10.9.0.1".parse().unwrap(), 30)],
        }
    }

    fn node(router: u8, ipv4: Option<u8>) -> Instances {
        let mut node = Instances::new(&config(router, ipv4), 1, None);
        node.add_interface(Duration::ZERO, &interface(router));
        let host = |text: &str| HostPrefix {
            address: text.parse().unwrap(),
            metric: 0,
        };
        let desired = Desired {
            services: vec![host("2001:db8::80"), host("192.0.2.80")],
            ..Desired::default()
        };
        node.set_services(Duration::ZERO, &desired);
        node
    }

    /// Lets two nodes talk for some seconds.
    fn talk(nodes: &mut [Instances; 2], from: Duration, seconds: u64) -> Duration {
        let until = from + Duration::from_secs(seconds);
        let mut now = from;
        while now < until {
            now += Duration::from_millis(50);
            for speaker in 0..2 {
                nodes[speaker].handle_timeout(now);
                while let Some(sent) = nodes[speaker].poll_transmit() {
                    let addresses = (sent.source, sent.destination);
                    nodes[1 - speaker].handle_packet(now, INTERFACE, addresses, &sent.bytes);
                }
                while nodes[speaker].poll_event().is_some() {}
            }
        }
        now
    }

    fn full(node: &Instances) -> Vec<Family> {
        let full = |it: &&Instance| {
            let mut neighbors = it.speaker.neighbors().into_iter();
            neighbors.any(|neighbor| neighbor.state == NeighborState::Full)
        };
        node.iter().filter(full).map(|it| it.family).collect()
    }

    #[test]
    fn each_family_has_its_neighbour_and_one_path_serves_both() {
        let mut nodes = [node(1, Some(64)), node(2, Some(64))];
        talk(&mut nodes, Duration::ZERO, 5);
        for node in &nodes {
            assert_eq!(full(node), [Family::Ipv6, Family::Ipv4]);
            assert_eq!(node.paths().len(), 1);
        }
        let advertised = |family| {
            let node = nodes[0].iter().find(|it| it.family == family).unwrap();
            let interfaces = node.speaker.interfaces().into_iter();
            interfaces
                .flat_map(|interface| interface.prefixes)
                .map(|stub| stub.prefix.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(advertised(Family::Ipv6), ["2001:db8::80/128"]);
        assert_eq!(advertised(Family::Ipv4), ["10.9.0.0/30", "192.0.2.80/32"]);
    }

    #[test]
    fn a_path_that_fails_is_lost_to_both() {
        let mut nodes = [node(1, Some(64)), node(2, Some(64))];
        let now = talk(&mut nodes, Duration::ZERO, 5);
        let to = (INTERFACE, interface(2).link_local);
        let outcome = nodes[0].path_failed(now, to, false);
        assert_eq!(outcome, PathOutcome::Lost);
        assert_eq!(full(&nodes[0]), []);
        assert_eq!(full(&nodes[1]), [Family::Ipv6, Family::Ipv4]);
    }

    #[test]
    fn who_begins_anew_is_not_taken_for_a_replay() {
        let key = AuthKey {
            sa_id: 7,
            algorithm: Algorithm::HmacSha256,
            secret: b"secret".to_vec().into(),
            protocol_id: None,
            send: Lifetime::default(),
            accept: Lifetime::default(),
        };
        let signed = |router| Interface {
            keys: Some(KeyChain {
                keys: vec![key.clone()],
            }),
            ..interface(router)
        };
        let mut nodes = [node(1, Some(64)), node(2, Some(64))];
        for (node, router) in nodes.iter_mut().zip([1, 2]) {
            node.add_interface(Duration::ZERO, &signed(router));
        }
        let mut now = talk(&mut nodes, Duration::ZERO, 5);
        assert_eq!(full(&nodes[0]), [Family::Ipv6, Family::Ipv4]);
        for wanted in [None, Some(64)] {
            nodes[0].set_ipv4(now, wanted);
            nodes[0].add_interface(now, &signed(1));
            now = talk(&mut nodes, now, 1);
        }
        // Sooner than the dead interval, with which the neighbour forgets what it has heard.
        now = talk(&mut nodes, now, 1);
        assert_eq!(full(&nodes[0]), [Family::Ipv6, Family::Ipv4]);
        for id in [5, 0] {
            let other = Ospf {
                instance_id: id,
                ..config(1, Some(64))
            };
            assert!(nodes[0].configure(now, &other).is_some());
            nodes[0].add_interface(now, &signed(1));
            now = talk(&mut nodes, now, 1);
        }
        talk(&mut nodes, now, 1);
        assert_eq!(full(&nodes[0]), [Family::Ipv6, Family::Ipv4]);
    }

    #[test]
    fn ipv4_comes_and_goes_and_ipv6_stays() {
        let mut nodes = [node(1, None), node(2, Some(64))];
        let now = talk(&mut nodes, Duration::ZERO, 5);
        assert_eq!(full(&nodes[0]), [Family::Ipv6]);
        // What belongs to no instance of ours is counted.
        let counters = nodes[0].ipv6().unwrap().speaker.counters();
        let counted = serde_json::to_value(&counters.refused).unwrap();
        assert!(
            counted["instance_mismatch"].as_u64() >= Some(4),
            "{counted}"
        );

        let (changed, _) = nodes[0].set_ipv4(now, Some(64));
        assert!(changed);
        nodes[0].add_interface(now, &interface(1));
        let now = talk(&mut nodes, now, 5);
        assert_eq!(full(&nodes[0]), [Family::Ipv6, Family::Ipv4]);
        assert_eq!(nodes[0].set_ipv4(now, Some(64)), (false, Vec::new()));

        let (changed, last_packets) = nodes[0].set_ipv4(now, None);
        assert!(changed && nodes[0].ipv4().is_none());
        for sent in last_packets {
            assert_eq!(sent.destination, ALL_SPF_ROUTERS);
            let addresses = (sent.source, sent.destination);
            nodes[1].handle_packet(now, INTERFACE, addresses, &sent.bytes);
        }
        assert_eq!(
            full(&nodes[1]),
            [Family::Ipv6],
            "at once, not after the dead interval"
        );
        let lost = nodes[0].ipv6().unwrap().speaker.counters().adjacencies_lost;
        assert_eq!(lost, 0);
    }
}
