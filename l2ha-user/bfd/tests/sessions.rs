//! Two sessions with a wire between them, and packets from anywhere.

use std::time::Duration;

use bfd::{Config, DecodeError, Diagnostic, PACKET_LENGTH, Packet, Session, State, Time, Timers};
use proptest::prelude::*;

const MS: Duration = Duration::from_millis(1);

struct Pair {
    now: Time,
    ends: [Session; 2],
    /// Whether packets from this end arrive.
    works: [bool; 2],
    sent: [Vec<Time>; 2],
}

impl Pair {
    fn new(a: Timers, b: Timers) -> Self {
        let session = |discriminator, timers| {
            Session::new(
                Duration::ZERO,
                Config {
                    discriminator,
                    timers,
                    seed: u64::from(discriminator).wrapping_mul(0x9e37_79b9_7f4a_7c15),
                },
            )
        };
        Self {
            now: Duration::ZERO,
            ends: [session(1, a), session(2, b)],
            works: [true; 2],
            sent: [Vec::new(), Vec::new()],
        }
    }

    /// Lets time pass in steps of 100 µs; returns when the first event of an end came.
    fn run(&mut self, time: Duration, stop: impl Fn(&Self) -> bool) -> Option<Time> {
        let end = self.now + time;
        while self.now < end {
            for from in [0, 1] {
                self.ends[from].handle_timeout(self.now);
                while let Some(packet) = self.ends[from].poll_transmit(self.now) {
                    self.sent[from].push(self.now);
                    let packet = Packet::decode(&packet.encode()).unwrap();
                    if self.works[from] {
                        self.ends[1 - from].handle_packet(self.now, &packet).ok();
                    }
                }
            }
            if stop(self) {
                return Some(self.now);
            }
            self.now += MS / 10;
        }
        None
    }

    fn states(&self) -> [State; 2] {
        [self.ends[0].state(), self.ends[1].state()]
    }

    fn up(a: Timers, b: Timers) -> Self {
        let mut pair = Self::new(a, b);
        let up = pair.run(Duration::from_secs(4), |pair| {
            pair.states() == [State::Up; 2]
        });
        assert!(up.is_some(), "{:?}", pair.states());
        // The polls, and the last slow interval.
        pair.run(Duration::from_secs(2), |_| false);
        pair
    }
}

const fn timers(ms: u64, multiplier: u8) -> Timers {
    Timers {
        interval: Duration::from_millis(ms),
        multiplier,
    }
}

#[test]
fn both_come_up_and_agree_on_the_slower_interval() {
    let mut pair = Pair::up(timers(10, 3), timers(50, 5));
    let (a, b) = (pair.ends[0].view(), pair.ends[1].view());
    assert_eq!(a.transmit_interval_us, 50_000);
    assert_eq!(b.transmit_interval_us, 50_000);
    assert_eq!(
        (a.detection_time_us, b.detection_time_us),
        (250_000, 150_000)
    );
    pair.sent[0].clear();
    pair.run(Duration::from_secs(10), |_| false);
    assert_eq!(pair.states(), [State::Up; 2]);
    for gap in pair.sent[0].windows(2).map(|pair| pair[1] - pair[0]) {
        assert!(gap >= 37 * MS && gap <= 51 * MS, "{gap:?}");
    }
}

#[test]
fn silence_is_noticed_within_the_detection_time() {
    for seed in 0..20 {
        let mut pair = Pair::up(timers(10, 3), timers(10, 3));
        pair.run(MS * seed, |_| false);
        pair.works = [true, false];
        let cut = pair.now;
        let down = pair
            .run(MS * 100, |pair| pair.states()[0] == State::Down)
            .unwrap();
        assert!(
            down - cut >= 19 * MS && down - cut <= 31 * MS,
            "{:?}",
            down - cut
        );
        assert_eq!(
            pair.ends[0].view().diagnostic,
            Diagnostic::DetectionTimeExpired
        );
        // The other end hears of it at once: its packets still arrive nowhere, ours do.
        let other = pair.run(MS * 5, |pair| pair.states()[1] == State::Down);
        assert!(other.is_some());
        assert_eq!(
            pair.ends[1].view().diagnostic,
            Diagnostic::NeighborSignaledDown
        );
        pair.works = [true; 2];
        assert!(
            pair.run(Duration::from_secs(4), |p| p.states() == [State::Up; 2])
                .is_some()
        );
    }
}

#[test]
fn who_was_paused_does_not_blame_the_peer() {
    let mut pair = Pair::up(timers(10, 3), timers(10, 3));
    // One end is stopped; the other one keeps sending to nobody.
    let later = pair.now + Duration::from_secs(2);
    pair.ends[0].paused(later);
    pair.ends[0].handle_timeout(later);
    assert_eq!(pair.ends[0].state(), State::Up);
    assert_eq!(pair.ends[0].view().counters.own_pauses, 1);
    pair.ends[0].handle_timeout(later + 29 * MS);
    assert_eq!(pair.ends[0].state(), State::Up);
    pair.ends[0].handle_timeout(later + 31 * MS);
    assert_eq!(pair.ends[0].state(), State::Down);
}

#[test]
fn other_traffic_keeps_a_session_up_but_brings_none_up() {
    let mut pair = Pair::up(timers(10, 3), timers(10, 3));
    pair.works = [true, false];
    for _ in 0..20 {
        let now = pair.now;
        pair.ends[0].path_is_alive(now);
        pair.run(10 * MS, |_| false);
    }
    assert_eq!(pair.ends[0].state(), State::Up);
    pair.run(40 * MS, |_| false);
    assert_eq!(pair.ends[0].state(), State::Down);
    let now = pair.now;
    pair.ends[0].path_is_alive(now);
    assert_eq!(pair.ends[0].state(), State::Down);
}

#[test]
fn a_path_is_asked_in_time_when_the_peer_is_silent() {
    let mut pair = Pair::up(timers(10, 3), timers(10, 3));
    assert!(!pair.ends[0].poll_probe(pair.now));
    // The peer's daemon is stopped, its kernel answers.
    pair.works = [true, false];
    let stopped = pair.now;
    let mut asked = Vec::new();
    while pair.now < stopped + 200 * MS {
        pair.run(MS, |_| false);
        if pair.ends[0].poll_probe(pair.now) {
            asked.push(pair.now - stopped);
            pair.ends[0].path_is_alive(pair.now);
        }
    }
    assert_eq!(pair.ends[0].state(), State::Up);
    assert!(asked[0] <= 16 * MS && asked.len() >= 12, "{asked:?}");
    // Now the path is cut: nobody answers.
    let cut = pair.now;
    let mut unanswered = 0;
    while pair.ends[0].state() == State::Up {
        pair.run(MS, |_| false);
        unanswered += u32::from(pair.ends[0].poll_probe(pair.now));
    }
    assert!(pair.now - cut <= 31 * MS);
    assert!(unanswered >= 1);
    assert!(!pair.ends[0].poll_probe(pair.now + Duration::from_secs(1)));
}

#[test]
fn a_stop_by_will_is_told() {
    let mut pair = Pair::up(timers(10, 3), timers(10, 3));
    let now = pair.now;
    pair.ends[0].admin_down(now);
    pair.run(MS, |_| false);
    assert_eq!(pair.states(), [State::AdminDown, State::Down]);
    let view = pair.ends[1].view();
    assert_eq!(view.diagnostic, Diagnostic::NeighborSignaledDown);
    assert_eq!(view.remote_state, State::AdminDown);
}

#[test]
fn intervals_change_while_up() {
    let mut pair = Pair::up(timers(10, 3), timers(10, 3));
    let now = pair.now;
    pair.ends[0].set_timers(now, timers(200, 4));
    pair.run(Duration::from_secs(2), |_| false);
    assert_eq!(pair.states(), [State::Up; 2]);
    assert_eq!(pair.ends[1].view().detection_time_us, 800_000);
    let now = pair.now;
    pair.ends[0].set_timers(now, timers(5, 3));
    pair.run(Duration::from_secs(2), |_| false);
    assert_eq!(pair.states(), [State::Up; 2]);
    assert_eq!(pair.ends[1].view().detection_time_us, 30_000);
    let downs = [0, 1].map(|end| pair.ends[end].view().counters.downs);
    assert_eq!(downs, [0, 0]);
}

#[test]
fn who_always_wakes_late_still_notices_a_dead_peer() {
    let mut pair = Pair::up(timers(10, 3), timers(10, 3));
    pair.works[1] = false;
    let cut = pair.now;
    let noticed = (0..40).find_map(|_| {
        pair.ends[0].paused(pair.now);
        pair.run(MS * 25, |pair| pair.ends[0].state() != State::Up)
    });
    let gap = noticed.unwrap() - cut;
    assert!(gap <= MS * 60, "{gap:?}");
}

fn good() -> Packet {
    Packet {
        diagnostic: Diagnostic::None,
        state: State::Up,
        poll: false,
        is_final: false,
        control_plane_independent: false,
        demand: false,
        detect_mult: 3,
        my_discriminator: 7,
        your_discriminator: 8,
        desired_min_tx: 10 * MS,
        required_min_rx: 10 * MS,
        required_min_echo_rx: Duration::ZERO,
    }
}

#[test]
fn what_is_to_be_discarded_is() {
    let with = |at: usize, value: u8| {
        let mut bytes = good().encode();
        bytes[at] = value;
        Packet::decode(&bytes)
    };
    assert_eq!(Packet::decode(&good().encode()), Ok(good()));
    assert_eq!(with(0, 0x40), Err(DecodeError::Version(2)));
    assert_eq!(with(3, 23), Err(DecodeError::Length(23)));
    assert_eq!(with(3, 25), Err(DecodeError::Short(24)));
    assert_eq!(with(2, 0), Err(DecodeError::Multiplier));
    assert_eq!(with(1, 0xc1), Err(DecodeError::Multipoint));
    assert_eq!(with(1, 0xc4), Err(DecodeError::Length(24)));
    let mut signed = [&good().encode()[..], &[1, 4, 9, b'a']].concat();
    (signed[1], signed[3]) = (0xc4, 28);
    assert_eq!(Packet::decode(&signed), Err(DecodeError::Authenticated));
    assert_eq!(with(7, 0), Err(DecodeError::Discriminator));
    assert_eq!(with(11, 0), Err(DecodeError::NotOurs(State::Up)));
    assert_eq!(Packet::decode(&[0x20; 23]), Err(DecodeError::Short(23)));
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_come_back(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        if let Ok(packet) = Packet::decode(&bytes) {
            prop_assert_eq!(Packet::decode(&packet.encode()), Ok(packet));
            prop_assert_eq!(&packet.encode()[4..], &bytes[4..PACKET_LENGTH]);
        }
    }

    #[test]
    fn no_peer_brings_a_session_to_panic_or_to_flood(
        steps in prop::collection::vec((any::<[u8; 24]>(), 0..5000_u64, any::<bool>()), 0..60),
    ) {
        let config = Config { discriminator: 8, timers: timers(10, 3), seed: 1 };
        let mut session = Session::new(Duration::ZERO, config);
        let mut now = Duration::ZERO;
        for (mut bytes, wait, fit) in steps {
            now += Duration::from_micros(wait);
            if fit {
                bytes[0] = 0x20 | bytes[0] & 0x1f;
                bytes[1] &= !0x05;
                bytes[3] = 24;
                bytes[8..12].copy_from_slice(&8_u32.to_be_bytes());
            }
            if let Ok(packet) = Packet::decode(&bytes) {
                let _ = session.handle_packet(now, &packet);
            }
            session.handle_timeout(now);
            let mut sent = 0;
            while session.poll_transmit(now).is_some() {
                sent += 1;
                prop_assert!(sent < 3, "it sends without end");
            }
            while session.poll_event().is_some() {}
            let _ = session.poll_probe(now);
            prop_assert!(session.poll_timeout().is_none_or(|at| at >= now));
            let _ = session.view();
        }
    }
}
