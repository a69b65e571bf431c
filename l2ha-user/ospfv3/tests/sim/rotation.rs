//! A secret is rotated by two rolling reloads: each node accepts both keys, then the present one alone. In any order,
//! with restarts in between, no adjacency is lost, and no packet refused.

use std::time::Duration;

use ospfv3::{
    Algorithm, AuthKey, Config, Credential, GracefulRestart, InterfaceConfig, KeyChain,
    NeighborState, Refusal, Rotation, Signs, Speaker, wire::GraceReason, wire::Options,
    wire::Sections,
};

use crate::net::{End, Lan, Net, Weather, local, router_id};

/// How far the configuration of a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Old,
    Both,
    New,
}

use Stage::{Both, New, Old};

const OLD: u16 = 200;
const PRESENT: u16 = 7;
const RESTART: GracefulRestart = GracefulRestart {
    period: 120,
    reason: GraceReason::Unknown,
};

/// A network in which each node has its stage.
struct Cluster {
    net: Net,
    epochs: Vec<u32>,
}

fn key(sa_id: u16) -> AuthKey {
    AuthKey::new(sa_id, Algorithm::HmacSha256, format!("secret {sa_id}"))
}

/// A cookie of a direction, of one of the secrets.
fn cookie(to: usize, sa_id: u16) -> Credential {
    Credential::cookie(&[to as u8, sa_id as u8, 0, 0])
}

fn with_stage(mut config: InterfaceConfig, node: usize, stage: Stage) -> InterfaceConfig {
    let keys = match stage {
        Old => vec![key(OLD)],
        Both => vec![key(PRESENT), key(OLD)],
        New => vec![key(PRESENT)],
    };
    config.authentication = Some(KeyChain { keys });
    config.rotation = (stage == Both).then(|| Rotation {
        former: OLD,
        accepts: [PRESENT, OLD]
            .into_iter()
            .flat_map(|id| [Credential::ospf_key(id), cookie(node, id)])
            .collect(),
        present: vec![Credential::ospf_key(PRESENT)],
    });
    config
}

impl Cluster {
    /// Nodes that are all joined with each other, at rest.
    fn mesh(stages: &[Stage]) -> Self {
        let count = stages.len();
        let pairs = (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b, 10)));
        let net = Net::drawn(11, count, &pairs.collect::<Vec<_>>());
        Self::started(net, stages)
    }

    fn started(net: Net, stages: &[Stage]) -> Self {
        let epochs = vec![0; stages.len()];
        let mut cluster = Self { net, epochs };
        for (node, stage) in stages.iter().enumerate() {
            cluster.start(node, *stage, None);
        }
        cluster.net.run(Duration::from_millis(4300));
        cluster
    }

    fn configs(&self, node: usize, stage: Stage) -> Vec<InterfaceConfig> {
        let links = self.net.links.iter().flat_map(|link| link.ends);
        let links = links.filter(|end| end.node == node);
        let links = links.map(|end| self.net.interface_config(end, 10));
        let lans = self.net.lans.iter().flat_map(|lan| &lan.ends);
        let lans = lans.filter(|end| end.node == node);
        let lans = lans.map(|end| self.net.lan_interface_config(*end));
        links
            .chain(lans)
            .map(|config| with_stage(config, node, stage))
            .collect()
    }

    /// Starts a new process, perhaps one that goes on where another was.
    fn start(&mut self, node: usize, stage: Stage, restart: Option<GracefulRestart>) {
        self.epochs[node] += 1;
        let mut config = Config::new(router_id(node));
        config.authentication_epoch = self.epochs[node];
        config.announce_families = true;
        let now = self.net.now;
        let mut speaker = Speaker::new(config, now);
        if let Some(restart) = restart {
            speaker.resume_graceful_restart(now, restart);
        }
        for config in self.configs(node, stage) {
            speaker.add_interface(now, config);
        }
        self.net.nodes[node] = Some(speaker);
        self.net.collect(node);
    }

    fn reload(&mut self, node: usize, stage: Stage) {
        let now = self.net.now;
        for config in self.configs(node, stage) {
            self.net
                .with(node, |speaker| speaker.add_interface(now, config));
        }
    }

    fn lost(&self) -> u64 {
        let nodes = self.net.nodes.iter().flatten();
        nodes.map(|node| node.counters().adjacencies_lost).sum()
    }

    fn refused(&self) -> u64 {
        let nodes = self.net.nodes.iter().flatten();
        let refused = nodes.flat_map(|node| &node.counters().refused);
        let of_keys = refused.filter(|(reason, _)| {
            matches!(
                reason,
                Refusal::AuthUnknownKey | Refusal::AuthMissing | Refusal::Signalling
            )
        });
        of_keys.map(|(_, count)| count).sum()
    }

    /// Whether every node is Full with every neighbour.
    fn all_full(&self) -> bool {
        let nodes = self.net.nodes.iter().flatten();
        let mut neighbors = nodes.map(Speaker::neighbors);
        neighbors.all(|list| {
            list.len() == self.net.nodes.len() - 1
                && list.iter().all(|it| it.state == NeighborState::Full)
        })
    }

    fn signs(&self, node: usize) -> Vec<Option<Signs>> {
        let interfaces = self.net.node(node).interfaces().into_iter();
        interfaces.map(|it| it.rotation).collect()
    }

    /// SA IDs of the packets that a node sends meanwhile.
    fn sent_with(&mut self, node: usize, time: Duration) -> Vec<u8> {
        self.net.captured = Some(Vec::new());
        self.net.run(time);
        let frames = self.net.captured.take().unwrap_or_default();
        let from = frames.iter().filter(|frame| frame.to.node != node);
        from.map(|frame| Sections::find(&frame.bytes).unwrap().rest[7])
            .collect()
    }
}

/// All orders of as many.
fn orders(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let shorter = orders(count - 1);
    shorter
        .into_iter()
        .flat_map(|order| {
            (0..count).map(move |at| {
                let mut order = order.clone();
                order.insert(at, count - 1);
                order
            })
        })
        .collect()
}

#[test]
fn two_nodes_are_reloaded_in_every_order_at_every_distance() {
    for gap in [0, 1, 2, 3, 50, 500, 1500] {
        for [first, second] in [[[0, 1], [0, 1]], [[0, 1], [1, 0]], [[1, 0], [0, 1]]] {
            let mut cluster = Cluster::mesh(&[Old, Old]);
            assert!(cluster.all_full(), "{}", cluster.net.describe());
            for (stage, order) in [(Both, first), (New, second)] {
                for node in order {
                    cluster.reload(node, stage);
                    cluster.net.run_ms(gap);
                }
            }
            cluster.net.run(Duration::from_secs(9));
            let place = format!("{gap} ms, {first:?}, {second:?}");
            assert!(cluster.all_full(), "{place}\n{}", cluster.net.describe());
            assert_eq!(cluster.lost(), 0, "{place}");
            // A reload that does not wait for the other's packets on their way may cost some of them.
            if gap > 2 {
                assert_eq!(cluster.refused(), 0, "{place}");
            }
        }
    }
}

#[test]
fn five_nodes_are_reloaded_in_every_order() {
    let all = orders(5);
    assert_eq!(all.len(), 120);
    for (number, first) in all.iter().enumerate() {
        let second = &all[(number * 47 + 13) % all.len()];
        let mut cluster = Cluster::mesh(&[Old; 5]);
        assert!(cluster.all_full(), "{}", cluster.net.describe());
        for (stage, order) in [(Both, first), (New, second)] {
            for node in order {
                cluster.reload(*node, stage);
                cluster.net.run_ms(40);
            }
            if stage == Both {
                for node in 0..5 {
                    assert_eq!(cluster.signs(node), [Some(Signs::Present); 4]);
                }
            }
        }
        cluster.net.run_ms(4500);
        let place = format!("{first:?}, {second:?}");
        assert!(cluster.all_full(), "{place}\n{}", cluster.net.describe());
        assert_eq!((cluster.lost(), cluster.refused()), (0, 0), "{place}");
    }
}

#[test]
fn a_storm_delays_it_and_no_more() {
    let mut cluster = Cluster::mesh(&[Old; 3]);
    cluster.net.weather = Weather {
        loss_percent: 20,
        ..Weather::STORM
    };
    for (stage, wait) in [(Both, 6), (New, 6)] {
        for node in 0..3 {
            cluster.reload(node, stage);
            cluster.net.run(Duration::from_secs(1));
        }
        cluster.net.run(Duration::from_secs(wait));
    }
    cluster.net.weather = Weather::FAIR;
    cluster.net.run(Duration::from_secs(20));
    assert!(cluster.all_full(), "{}", cluster.net.describe());
    assert_eq!(cluster.refused(), 0);
}

/// The pairs of stages that share a secret.
const MEETING: [[Stage; 2]; 7] = [
    [Old, Old],
    [Old, Both],
    [Both, Old],
    [Both, Both],
    [Both, New],
    [New, Both],
    [New, New],
];

#[test]
fn what_shares_a_secret_meets_from_nothing() {
    for stages in MEETING {
        let mut cluster = Cluster::mesh(&stages);
        assert!(cluster.all_full(), "{stages:?}\n{}", cluster.net.describe());
        // It has found what both accept.
        let refused = cluster.refused();
        cluster.net.run(Duration::from_secs(10));
        assert_eq!(cluster.refused(), refused, "{stages:?}");
    }
    for stages in [[Old, New], [New, Old]] {
        let cluster = Cluster::mesh(&stages);
        assert!(cluster.net.node(0).neighbors().is_empty());
        assert!(cluster.refused() >= 8, "both say why");
    }
}

#[test]
fn a_restart_in_any_mixture_loses_nothing() {
    for stages in MEETING {
        for restarts in [0, 1] {
            // It may come back with another file, as long as that shares a secret.
            for comes_back in [Old, Both, New] {
                let mut after = stages;
                after[restarts] = comes_back;
                if !MEETING.contains(&after) {
                    continue;
                }
                let mut cluster = Cluster::mesh(&stages);
                cluster.net.crash(restarts);
                cluster.net.run_ms(700);
                cluster.start(restarts, comes_back, Some(RESTART));
                cluster.net.run(Duration::from_secs(20));
                let place = format!("{stages:?}, {restarts} as {comes_back:?}");
                assert!(cluster.all_full(), "{place}\n{}", cluster.net.describe());
                let other = cluster.net.node(1 - restarts).counters();
                assert_eq!(other.adjacencies_lost, 0, "{place}");
            }
        }
    }
}

#[test]
fn a_link_that_is_down_meanwhile_comes_up_again() {
    for last in [Old, New] {
        let mut cluster = Cluster::mesh(&[Both, Both]);
        cluster.net.run(Duration::from_secs(2));
        assert_eq!(cluster.signs(0), [Some(Signs::Present)]);
        cluster.net.links[0].cut = true;
        cluster.net.run(Duration::from_secs(10));
        assert_eq!(cluster.signs(0), [Some(Signs::Both)]);
        cluster.reload(1, last);
        cluster.net.run(Duration::from_secs(10));
        cluster.net.links[0].cut = false;
        cluster.net.run(Duration::from_millis(4300));
        assert!(cluster.all_full(), "{last:?}\n{}", cluster.net.describe());
    }
}

#[test]
fn a_neighbour_that_goes_back_is_followed() {
    let mut cluster = Cluster::mesh(&[Both, Both]);
    cluster.net.run(Duration::from_secs(2));
    let ids = cluster.sent_with(0, Duration::from_secs(3));
    assert!(ids.iter().all(|id| *id == PRESENT as u8), "{ids:?}");
    cluster.reload(1, Old);
    cluster.net.run_ms(20);
    assert_eq!(cluster.signs(0), [Some(Signs::Former)]);
    let ids = cluster.sent_with(0, Duration::from_secs(3));
    assert!(ids.iter().all(|id| *id == OLD as u8), "{ids:?}");
    cluster.reload(1, Both);
    cluster.net.run(Duration::from_secs(9));
    assert_eq!(cluster.signs(0), [Some(Signs::Present)]);
    assert!(cluster.all_full());
    assert_eq!(cluster.lost(), 0);
}

#[test]
fn on_a_network_the_last_neighbour_decides() {
    let mut net = Net::drawn(5, 3, &[]);
    let ends = (0..3).map(|node| End {
        node,
        interface: 50 + node as u32,
    });
    net.lans.push(Lan {
        ends: ends.collect(),
        cut: Vec::new(),
    });
    let mut cluster = Cluster::started(net, &[Old; 3]);
    cluster.net.run(Duration::from_secs(20));
    for node in [2, 0] {
        cluster.reload(node, Both);
        cluster.net.run(Duration::from_secs(2));
        assert_eq!(cluster.signs(node), [Some(Signs::Former)]);
    }
    cluster.reload(1, Both);
    cluster.net.run(Duration::from_secs(2));
    for node in 0..3 {
        assert_eq!(cluster.signs(node), [Some(Signs::Present)]);
    }
    for node in [1, 0, 2] {
        cluster.reload(node, New);
        cluster.net.run(Duration::from_secs(2));
    }
    cluster.net.run(Duration::from_secs(5));
    assert!(cluster.all_full(), "{}", cluster.net.describe());
    assert_eq!((cluster.lost(), cluster.refused()), (0, 0));
}

/// A neighbour that accepts the key and not the cookie is not sent the cookie.
#[test]
fn all_that_is_present_must_be_accepted() {
    let mut cluster = Cluster::mesh(&[Both, Both]);
    let mut needs_more = cluster.configs(0, Both).remove(0);
    let rotation = needs_more.rotation.as_mut().unwrap();
    rotation.present.push(cookie(1, 99));
    // Of BFD it says nothing: it has none.
    rotation.present.push(Credential::bfd_key(3));
    let now = cluster.net.now;
    cluster
        .net
        .with(0, |speaker| speaker.add_interface(now, needs_more.clone()));
    assert_eq!(cluster.signs(0), [Some(Signs::Former)]);
    let rotation = needs_more.rotation.as_mut().unwrap();
    rotation.present[1] = cookie(1, PRESENT);
    cluster
        .net
        .with(0, |speaker| speaker.add_interface(now, needs_more));
    assert_eq!(cluster.signs(0), [Some(Signs::Present)]);
    cluster.net.run(Duration::from_secs(5));
    assert!(cluster.all_full());
}

/// Hellos alone have a block, and only where there is a rotation; one that cannot be read is counted, and the Hello
/// taken.
#[test]
fn the_block_is_where_it_belongs() {
    let mut cluster = Cluster::mesh(&[Both, New]);
    cluster.net.captured = Some(Vec::new());
    cluster.net.run(Duration::from_secs(3));
    let frames = cluster.net.captured.take().unwrap();
    let mut seen = [0, 0];
    for frame in &frames {
        let sections = Sections::find(&frame.bytes).unwrap();
        let is_hello = frame.bytes[1] == 1;
        let from_both = frame.to.node == 1;
        assert_eq!(!sections.signalling.is_empty(), is_hello && from_both);
        if is_hello {
            let bit = frame.bytes[22] & (Options::L.bits() >> 8) as u8;
            assert_eq!(bit != 0, from_both);
            seen[usize::from(from_both)] += 1;
        }
    }
    assert!(seen[0] >= 2 && seen[1] >= 2, "{seen:?}");

    let hello = frames
        .iter()
        .rfind(|it| it.to.node == 1 && it.bytes[1] == 1);
    let hello = hello.unwrap();
    let sections = Sections::find(&hello.bytes).unwrap();
    let (packet, block) = (sections.packet.len(), sections.signalling.len());
    let mut bent = hello.clone();
    bent.bytes.truncate(packet + block);
    // The TLV claims to be longer than the block.
    bent.bytes[packet + 7] = 0xf0;
    let before = cluster.net.node(1).counters().clone();
    key(PRESENT).sign(Default::default(), 1 << 40, bent.source, &mut bent.bytes);
    cluster.net.deliver(&bent);
    let after = cluster.net.node(1).counters();
    assert_eq!(after.received.hello, before.received.hello + 1);
    assert_eq!(after.refused.get(&Refusal::Signalling), Some(&1));
}

/// What is advertised goes on being advertised; a last look at the routes.
#[test]
fn routes_stay_through_it_all() {
    let mut cluster = Cluster::mesh(&[Old; 3]);
    let prefix = crate::net::anycast();
    let loopback = InterfaceConfig {
        prefixes: vec![local(prefix)],
        ..InterfaceConfig::new(
            "lo",
            1,
            ospfv3::InterfaceKind::Loopback,
            std::net::Ipv6Addr::LOCALHOST,
        )
    };
    let now = cluster.net.now;
    cluster
        .net
        .with(2, |speaker| speaker.add_interface(now, loopback));
    cluster.net.run(Duration::from_secs(3));
    for stage in [Both, New] {
        for node in 0..3 {
            cluster.reload(node, stage);
            for _ in 0..100 {
                cluster.net.run_ms(10);
                for other in 0..2 {
                    assert!(cluster.net.node(other).routes().contains_key(&prefix));
                }
            }
        }
    }
}
