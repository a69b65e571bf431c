//! A speaker whose neighbour misbehaves in any state.
//!
//! The neighbour is a speaker too, so that every state is reached; the input says which of its packets
//! arrive, what is changed in them, what time passes, and what happens at both ends meanwhile.

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use crate::ospf_checksum;
use arbitrary::Arbitrary;
use ospfv3::{
    AreaConfig, Config, ExternalPrefix, GracefulRestart, InterfaceConfig, InterfaceKind, Limits,
    PathFailure, Peer, Prefix, Speaker, StubPrefix, Time, Transmit, wire::Packet,
};

/// Most steps of one input.
const STEPS: usize = 120;
/// Packets of each end that are kept for the input to choose from.
const KEPT: usize = 64;
/// Most packets and calls that one step can make.
const BUSY: usize = 5_000;
const LINKS: [u32; 3] = [11, 12, 13];

#[derive(Arbitrary, Debug)]
struct Input {
    /// Of the three links the second is a broadcast network, the third in another area.
    stub: bool,
    /// Tenths of a second in which all goes well first, so that every state is near.
    quiet: u8,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    /// So many of the packets under way arrive, both ways.
    Arrive(u8),
    /// One that was sent to us before arrives again, changed.
    Changed {
        which: u8,
        link: u8,
        changes: Vec<(u16, u8)>,
        length: Option<u16>,
        mended: bool,
    },
    /// Bytes from nowhere.
    Raw {
        link: u8,
        kind: u8,
        body: Vec<u8>,
    },
    /// What is under way is lost.
    Lost,
    /// Time passes.
    Milliseconds(u16),
    Seconds(u16),
    Down {
        us: bool,
        link: u8,
    },
    Up {
        us: bool,
        link: u8,
    },
    Prefixes {
        us: bool,
        seed: u8,
    },
    Externals {
        us: bool,
        seed: u8,
    },
    /// The neighbour starts anew, perhaps gracefully.
    Restart {
        graceful: bool,
    },
    NeighborLost {
        link: u8,
    },
    PathLost {
        link: u8,
    },
    Paused {
        milliseconds: u16,
    },
    Drain(bool),
    Cost {
        link: u8,
        cost: u16,
    },
    Alternates,
    Shutdown,
}

struct End {
    speaker: Speaker,
    /// Sent and not yet arrived.
    sent: VecDeque<Transmit>,
    /// Sent once.
    old: VecDeque<Transmit>,
    number: u16,
}

fn id(number: u16) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, number as u8)
}

fn address(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, number)
}

fn prefixes(seed: u8) -> Vec<StubPrefix> {
    (0..seed % 5)
        .map(|at| StubPrefix {
            prefix: Prefix::new(
                Ipv6Addr::new(0x2001, 0xdb8, u16::from(at), u16::from(seed), 0, 0, 0, 1),
                128,
            )
            .expect("a length that fits"),
            metric: u16::from(seed),
            local: true,
        })
        .collect()
}

impl End {
    fn new(number: u16, now: Time, stub: bool, graceful: Option<GracefulRestart>) -> Self {
        let mut config = Config::new(id(number));
        config.limits = Limits {
            lsas: 200,
            lsa_bytes: 40_000,
            neighbor_lsas: 150,
            origin_lsas: 100,
            neighbors: 4,
            events: 256,
            packets: 1_000,
        };
        let other = Ipv4Addr::new(0, 0, 0, 1);
        let area = AreaConfig {
            stub,
            ..AreaConfig::default()
        };
        config.areas.insert(other, area);
        let mut speaker = Speaker::new(config, now);
        if let Some(graceful) = graceful {
            speaker.resume_graceful_restart(now, graceful);
        }
        let kind = InterfaceKind::Loopback;
        let mut loopback = InterfaceConfig::new("lo", 1, kind, address(number));
        loopback.prefixes = prefixes(number as u8 + 1);
        speaker.add_interface(now, loopback);
        for (at, link) in LINKS.into_iter().enumerate() {
            let kind = if at == 1 {
                InterfaceKind::Broadcast
            } else {
                InterfaceKind::PointToPoint
            };
            let mut config = InterfaceConfig::new("link", link, kind, address(number));
            (config.hello_interval, config.dead_interval) = (1, 4);
            if at == 2 {
                config.area = other;
            }
            speaker.add_interface(now, config);
        }
        Self {
            speaker,
            sent: VecDeque::new(),
            old: VecDeque::new(),
            number,
        }
    }

    /// Takes what it wants to send; looks at each.
    fn collect(&mut self) {
        let mut count = 0;
        while let Some(packet) = self.speaker.poll_transmit() {
            count += 1;
            assert!(count < BUSY, "it does not stop sending");
            assert_eq!(packet.source, address(self.number));
            Packet::decode(&packet.bytes, packet.source, packet.destination)
                .expect("what is sent can be read");
            assert!(packet.bytes.len() <= 1460, "longer than the link's MTU");
            self.old.push_back(packet.clone());
            self.sent.push_back(packet);
        }
        for kept in [&mut self.old, &mut self.sent] {
            while kept.len() > KEPT {
                kept.pop_front();
            }
        }
        while self.speaker.poll_event().is_some() {
            count += 1;
            assert!(count < 2 * BUSY, "it does not stop talking");
        }
    }

    fn receive(&mut self, now: Time, link: u32, packet: &Transmit, bytes: &[u8]) {
        let to = if packet.destination.is_multicast() {
            packet.destination
        } else {
            address(self.number)
        };
        self.speaker
            .handle_packet(now, link, packet.source, to, bytes);
        self.collect();
    }

    fn run_until(&mut self, from: Time, until: Time) {
        let mut now = from;
        for _ in 0..BUSY {
            match self.speaker.poll_timeout() {
                Some(at) if at <= until => now = now.max(at),
                _ => {
                    self.speaker.handle_timeout(until);
                    self.collect();
                    return;
                }
            }
            // What a timer does may make another due at once: a help that ends with its neighbour silent.
            let is_due = |end: &Self| end.speaker.poll_timeout().is_some_and(|at| at <= now);
            for _ in 0..3 {
                self.speaker.handle_timeout(now);
                self.collect();
                if !is_due(self) {
                    break;
                }
            }
            assert!(!is_due(self), "a timer that is always due");
        }
    }

    fn check(&self) {
        // Ours, and those of others within the limits, in each of six databases.
        let count = self.speaker.database().lsas.len();
        assert!(count <= 6 * 300, "{count} LSAs");
        // On each of three links.
        assert!(self.speaker.neighbors().len() <= 3 * 4);
    }
}

/// So many of the packets under way arrive, both ways.
fn arrive(us: &mut End, them: &mut End, now: Time, count: usize) {
    for _ in 0..count {
        let (ours, theirs) = (us.sent.pop_front(), them.sent.pop_front());
        if ours.is_none() && theirs.is_none() {
            break;
        }
        if let Some(packet) = theirs {
            us.receive(now, packet.interface, &packet, &packet.bytes);
        }
        if let Some(packet) = ours {
            them.receive(now, packet.interface, &packet, &packet.bytes);
        }
    }
}

/// Plays bytes as an input; tells whether they are one.
pub fn run(bytes: &[u8]) -> bool {
    crate::play(bytes, play)
}

fn play(input: Input) {
    let mut now = Duration::from_secs(1);
    let mut us = End::new(1, now, input.stub, None);
    let mut them = End::new(2, now, input.stub, None);
    us.collect();
    them.collect();
    for _ in 0..input.quiet % 80 {
        arrive(&mut us, &mut them, now, 2 * KEPT);
        let until = now + Duration::from_millis(100);
        us.run_until(now, until);
        them.run_until(now, until);
        now = until;
    }
    for step in input.steps.into_iter().take(STEPS) {
        let link = |at: u8| LINKS[usize::from(at) % LINKS.len()];
        match step {
            Step::Arrive(count) => arrive(&mut us, &mut them, now, usize::from(count) + 1),
            Step::Changed {
                which,
                link: at,
                changes,
                length,
                mended,
            } => {
                let kept = them.old.len();
                if kept == 0 {
                    continue;
                }
                let packet = them.old[usize::from(which) % kept].clone();
                let mut bytes = packet.bytes.clone();
                if let Some(length) = length {
                    bytes.resize(usize::from(length) % 1500, 0);
                }
                for (at, value) in changes.into_iter().take(8) {
                    if !bytes.is_empty() {
                        let at = usize::from(at) % bytes.len();
                        bytes[at] = value;
                    }
                }
                if mended {
                    let to = if packet.destination.is_multicast() {
                        packet.destination
                    } else {
                        address(1)
                    };
                    ospf_checksum::mend_lsas(&mut bytes);
                    ospf_checksum::mend(&mut bytes, packet.source, to);
                }
                let interface = if at < 200 { packet.interface } else { link(at) };
                us.receive(now, interface, &packet, &bytes);
            }
            Step::Raw {
                link: at,
                kind,
                body,
            } => {
                let mut bytes = vec![3, kind % 6, 0, 0, 10, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0];
                bytes.extend(body.into_iter().take(1400));
                let destination = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 5);
                ospf_checksum::mend_lsas(&mut bytes);
                ospf_checksum::mend(&mut bytes, address(2), destination);
                us.speaker
                    .handle_packet(now, link(at), address(2), destination, &bytes);
                us.collect();
            }
            Step::Lost => {
                us.sent.clear();
                them.sent.clear();
            }
            Step::Milliseconds(time) => {
                let until = now + Duration::from_millis(u64::from(time));
                us.run_until(now, until);
                them.run_until(now, until);
                now = until;
            }
            Step::Seconds(time) => {
                // Up to an hour and a half: LSAs are refreshed and die.
                let until = now + Duration::from_secs(u64::from(time % 5_400));
                us.run_until(now, until);
                them.run_until(now, until);
                now = until;
            }
            Step::Down { us: ours, link: at } => {
                let end = if ours { &mut us } else { &mut them };
                end.speaker.interface_down(now, link(at));
            }
            Step::Up { us: ours, link: at } => {
                let end = if ours { &mut us } else { &mut them };
                end.speaker.interface_up(now, link(at));
            }
            Step::Prefixes { us: ours, seed } => {
                let end = if ours { &mut us } else { &mut them };
                end.speaker.set_prefixes(now, 1, prefixes(seed));
            }
            Step::Externals { us: ours, seed } => {
                let end = if ours { &mut us } else { &mut them };
                let externals = prefixes(seed).into_iter().map(|stub| ExternalPrefix {
                    prefix: stub.prefix,
                    metric: u32::from(seed),
                    type2: seed % 2 == 0,
                    tag: None,
                });
                end.speaker.set_externals(now, externals.collect());
            }
            Step::Restart { graceful } => {
                let how = graceful.then_some(GracefulRestart {
                    period: 60,
                    reason: ospfv3::wire::GraceReason::Unknown,
                });
                them = End::new(2, now, input.stub, how);
            }
            Step::NeighborLost { link: at } => {
                let peer = Peer::new(link(at), id(2));
                us.speaker.path_failed(now, peer, PathFailure::Unconfirmed);
            }
            Step::PathLost { link: at } => {
                let peer = Peer::new(link(at), id(2));
                us.speaker.path_failed(now, peer, PathFailure::Confirmed);
            }
            Step::Paused { milliseconds } => {
                us.speaker
                    .paused(now, Duration::from_millis(u64::from(milliseconds)));
            }
            Step::Drain(on) => us.speaker.drain(now, on),
            Step::Cost { link: at, cost } => us.speaker.set_cost(now, link(at), cost.max(1)),
            Step::Alternates => drop(us.speaker.alternates()),
            Step::Shutdown => us.speaker.shutdown(now),
        }
        us.collect();
        them.collect();
        us.check();
    }
}
