//! A BFD session whose peer sends anything, at any time.

use std::time::Duration;

use arbitrary::Arbitrary;
use bfd::{Config, Packet, Session, Timers};

const BUSY: usize = 100_000;

#[derive(Arbitrary, Debug)]
enum Step {
    /// A packet of these bytes; the numbers are made right or left.
    Packet {
        bytes: [u8; 24],
        ours: bool,
    },
    /// What the peer, a session too, would send.
    Peer,
    Microseconds(u32),
    Timers {
        microseconds: u32,
        multiplier: u8,
    },
    Paused,
    PathIsAlive,
    AdminDown,
    Malformed(Vec<u8>),
}

fn session(number: u32, now: Duration) -> Session {
    Session::new(
        now,
        Config {
            discriminator: number,
            timers: Timers {
                interval: Duration::from_millis(10),
                multiplier: 3,
            },
            seed: 7,
        },
    )
}

/// Lets time pass; what is sent can be read.
fn advance(session: &mut Session, now: Duration, until: Duration, sent: &mut Vec<Packet>) {
    let mut at = now;
    for _ in 0..BUSY {
        while let Some(packet) = session.poll_transmit(at) {
            let read = Packet::decode(&packet.encode()).expect("what is sent can be read");
            assert_eq!(read, packet);
            sent.push(packet);
            assert!(sent.len() < BUSY, "it does not stop sending");
        }
        let _ = session.poll_probe(at);
        while session.poll_event().is_some() {}
        let _ = session.view();
        match session.poll_timeout() {
            Some(next) if next <= until => at = at.max(next),
            _ => return,
        }
        session.handle_timeout(at);
    }
    panic!("a timer that is always due");
}

/// Plays bytes as an input; tells whether they are one.
pub fn run(bytes: &[u8]) -> bool {
    crate::play(bytes, play)
}

fn play(steps: Vec<Step>) {
    let mut now = Duration::from_secs(1);
    let (mut us, mut them) = (session(1, now), session(2, now));
    let mut dropped = Vec::new();
    for step in steps.into_iter().take(200) {
        match step {
            Step::Packet { mut bytes, ours } => {
                if ours {
                    bytes[0] = 0x20 | bytes[0] & 0x1f;
                    bytes[3] = 24;
                    bytes[4..8].copy_from_slice(&2_u32.to_be_bytes());
                    bytes[8..12].copy_from_slice(&1_u32.to_be_bytes());
                }
                if let Ok(packet) = Packet::decode(&bytes) {
                    let _ = us.handle_packet(now, &packet);
                }
            }
            Step::Peer => {
                let mut sent = Vec::new();
                advance(&mut them, now, now, &mut sent);
                for packet in sent {
                    let _ = us.handle_packet(now, &packet);
                }
                let mut sent = Vec::new();
                advance(&mut us, now, now, &mut sent);
                for packet in sent {
                    let _ = them.handle_packet(now, &packet);
                }
            }
            Step::Microseconds(time) => {
                let until = now + Duration::from_micros(u64::from(time % 2_000_000));
                advance(&mut us, now, until, &mut dropped);
                advance(&mut them, now, until, &mut dropped);
                now = until;
            }
            Step::Timers {
                microseconds,
                multiplier,
            } => us.set_timers(
                now,
                Timers {
                    interval: Duration::from_micros(u64::from(microseconds.max(1_000))),
                    multiplier: multiplier.max(1),
                },
            ),
            Step::Paused => us.paused(now),
            Step::PathIsAlive => us.path_is_alive(now),
            Step::AdminDown => us.admin_down(now),
            Step::Malformed(bytes) => drop(Packet::decode(&bytes)),
        }
        dropped.clear();
        advance(&mut us, now, now, &mut dropped);
    }
}
