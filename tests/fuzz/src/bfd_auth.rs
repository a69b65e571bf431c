//! BFD packets and their authentication: any bytes, and signed ones that were changed.

use std::time::Duration;

use arbitrary::Arbitrary;
use bfd::{Algorithm, Authenticator, Config, Key, Session, Timers};

const ALGORITHMS: [Algorithm; 5] = [
    Algorithm::Simple,
    Algorithm::KeyedMd5,
    Algorithm::MeticulousKeyedMd5,
    Algorithm::KeyedSha1,
    Algorithm::MeticulousKeyedSha1,
];

#[derive(Arbitrary, Debug)]
enum Step {
    /// Bytes from nowhere.
    Raw(Vec<u8>),
    /// A packet of the peer's arrives, perhaps changed.
    Signed {
        at: u8,
        with: u8,
        length: Option<u8>,
    },
    Milliseconds(u16),
    Keys {
        ours: u8,
        theirs: u8,
    },
}

fn keys(which: u8) -> Vec<Key> {
    let key = |at: usize| Key {
        id: at as u8,
        algorithm: ALGORITHMS[at],
        secret: b"a secret".to_vec().into(),
    };
    let chosen = (0..ALGORITHMS.len()).filter(|at| which & 1 << at != 0);
    chosen.map(key).collect()
}

/// Plays bytes as an input; tells whether they are one.
pub fn run(bytes: &[u8]) -> bool {
    crate::play(bytes, play)
}

fn play(input: (u8, u8, Vec<Step>)) {
    let (ours, theirs, steps) = input;
    let mut us = Authenticator::new(keys(ours), 7);
    let mut them = Authenticator::new(keys(theirs), u32::MAX - 3);
    let (mut ours, mut theirs) = (keys(ours), keys(theirs));
    let mut now = Duration::from_secs(1);
    let timers = Timers {
        interval: Duration::from_millis(10),
        multiplier: 3,
    };
    let config = Config {
        discriminator: 3,
        timers,
        seed: 1,
    };
    let mut peer = Session::new(now, config);
    for step in steps.into_iter().take(200) {
        match step {
            Step::Raw(bytes) => {
                let taken = us.open(now, &bytes, timers.interval);
                // Nobody guesses a digest.
                let simple = ours.iter().any(|key| key.algorithm == Algorithm::Simple);
                assert!(taken.is_err() || ours.is_empty() || simple);
            }
            Step::Signed { at, with, length } => {
                now += Duration::from_secs(1);
                let Some(packet) = peer.poll_transmit(now) else {
                    continue;
                };
                let whole = them.seal(&packet);
                let mut bytes = whole.clone();
                let at = usize::from(at) % bytes.len();
                bytes[at] ^= with;
                if let Some(length) = length {
                    bytes.resize(usize::from(length), 0);
                }
                let taken = us.open(now, &bytes, timers.interval);
                let Some(signer) = theirs.first() else {
                    continue;
                };
                let same = bytes.get(..whole.len()) == Some(&whole[..]);
                if !ours.contains(signer) {
                    // Without keys, one whose A bit was taken away is like any other.
                    assert!(
                        taken.is_err() || ours.is_empty(),
                        "{signer:?} is none of ours"
                    );
                } else if same {
                    // Forgotten after twice the detection time, so never a replay.
                    assert_eq!(taken, Ok(packet));
                } else {
                    assert!(taken.is_err() || signer.algorithm == Algorithm::Simple);
                }
            }
            Step::Milliseconds(time) => now += Duration::from_millis(u64::from(time)),
            Step::Keys { ours: a, theirs: b } => {
                (ours, theirs) = (keys(a), keys(b));
                us.set_keys(ours.clone());
                them.set_keys(theirs.clone());
            }
        }
    }
}
