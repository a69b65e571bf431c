//! Authentication (RFC 5880 6.7): what is signed is taken, and nothing else.

use std::time::Duration;

use bfd::{
    Algorithm, Authenticator, Config, Key, PACKET_LENGTH, Packet, Refused, Session, State, Timers,
};
use proptest::prelude::*;

const MS: Duration = Duration::from_millis(1);
const DETECTION: Duration = Duration::from_millis(30);
const ALL: [Algorithm; 5] = [
    Algorithm::Simple,
    Algorithm::KeyedMd5,
    Algorithm::MeticulousKeyedMd5,
    Algorithm::KeyedSha1,
    Algorithm::MeticulousKeyedSha1,
];

fn key(id: u8, algorithm: Algorithm, secret: &str) -> Key {
    Key {
        id,
        algorithm,
        secret: secret.as_bytes().to_vec().into(),
    }
}

fn packet() -> Packet {
    let config = Config {
        discriminator: 7,
        timers: Timers {
            interval: MS * 10,
            multiplier: 3,
        },
        seed: 1,
    };
    let mut session = Session::new(Duration::ZERO, config);
    session.poll_transmit(Duration::ZERO).unwrap()
}

fn ends(algorithm: Algorithm) -> (Authenticator, Authenticator) {
    let keys = || vec![key(9, algorithm, "a-secret")];
    (
        Authenticator::new(keys(), u32::MAX - 1),
        Authenticator::new(keys(), 5),
    )
}

#[test]
fn what_is_signed_is_taken() {
    for algorithm in ALL {
        let (mut a, mut b) = ends(algorithm);
        for round in 0..5 {
            let bytes = a.seal(&packet());
            assert_eq!(
                b.open(MS * round, &bytes, DETECTION),
                Ok(packet()),
                "{algorithm:?}"
            );
        }
    }
}

/// The bytes of RFC 5880 4.2 to 4.4; the digests are those of Python's hashlib.
#[test]
fn bytes_on_the_wire() {
    let bare = "20400318 00000007 00000000 000f4240 00002710 00000000";
    let cases = [
        (Algorithm::Simple, "2044 0323", "010b09 612d736563726574"),
        (
            Algorithm::KeyedMd5,
            "2044 0330",
            "02180900 00000000 32ab9935b2a610a09e8c46aa96ec8bae",
        ),
        (
            Algorithm::MeticulousKeyedSha1,
            "2044 0334",
            "051c0900 00000000 755fbaeee326dc5b2b3cd4711c1d206fcecf6b6f",
        ),
    ];
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|it| format!("{it:02x}")).collect() };
    let plain = |text: &str| text.replace(' ', "");
    assert_eq!(hex(&packet().encode()), plain(bare));
    for (algorithm, head, section) in cases {
        let mut a = Authenticator::new(vec![key(9, algorithm, "a-secret")], u32::MAX);
        let bytes = a.seal(&packet());
        let expected = plain(head) + &plain(bare)[8..] + &plain(section);
        assert_eq!(hex(&bytes), expected, "{algorithm:?}");
    }
}

#[test]
fn another_secret_number_or_algorithm_is_refused() {
    for algorithm in ALL {
        let (mut a, _) = ends(algorithm);
        let bytes = a.seal(&packet());
        let open = |keys| Authenticator::new(keys, 0).open(MS, &bytes, DETECTION);
        assert_eq!(
            open(vec![key(9, algorithm, "a-secres")]),
            Err(Refused::WrongDigest)
        );
        assert_eq!(
            open(vec![key(8, algorithm, "a-secret")]),
            Err(Refused::UnknownKey(9))
        );
        assert_eq!(open(Vec::new()), Err(Refused::Unexpected));
        let other = ALL.into_iter().find(|it| *it != algorithm).unwrap();
        assert!(matches!(
            open(vec![key(9, other, "a-secret")]),
            Err(Refused::WrongType(_))
        ));
        let bare = packet().encode();
        assert_eq!(a.open(MS, &bare, DETECTION), Err(Refused::Missing));
    }
}

#[test]
fn packets_are_not_taken_twice() {
    for algorithm in [
        Algorithm::MeticulousKeyedMd5,
        Algorithm::MeticulousKeyedSha1,
    ] {
        let (mut a, mut b) = ends(algorithm);
        let packets: Vec<_> = (0..20).map(|_| a.seal(&packet())).collect();
        b.open(MS, &packets[3], DETECTION).unwrap();
        for old in &packets[..=3] {
            let refused = b.open(MS, old, DETECTION);
            assert!(matches!(refused, Err(Refused::Replayed(_))), "{refused:?}");
        }
        // Three times Detect Mult ahead, and one more.
        let refused = b.open(MS, &packets[13], DETECTION);
        assert!(matches!(refused, Err(Refused::Replayed(_))), "{refused:?}");
        b.open(MS, &packets[12], DETECTION).unwrap();
        // After twice the detection time nothing is remembered: the peer may have begun anew.
        let refused = b.open(MS + DETECTION * 2 - MS / 10, &packets[1], DETECTION);
        assert!(matches!(refused, Err(Refused::Replayed(_))), "{refused:?}");
        b.open(MS + DETECTION * 2, &packets[1], DETECTION).unwrap();
    }
}

#[test]
fn a_number_that_is_not_meticulous_stands_for_the_contents() {
    for algorithm in [Algorithm::KeyedMd5, Algorithm::KeyedSha1] {
        let (mut a, mut b) = ends(algorithm);
        let first = a.seal(&packet());
        assert_eq!(first, a.seal(&packet()));
        b.open(MS, &first, DETECTION).unwrap();
        b.open(MS, &first, DETECTION).unwrap();
        let other = Packet {
            state: State::Init,
            your_discriminator: 4,
            ..packet()
        };
        let second = a.seal(&other);
        b.open(MS, &second, DETECTION).unwrap();
        let refused = b.open(MS, &first, DETECTION);
        assert!(matches!(refused, Err(Refused::Replayed(_))), "{refused:?}");
    }
}

#[test]
fn keys_change_without_a_gap() {
    let old = || key(1, Algorithm::KeyedSha1, "the-old-one");
    let new = || key(2, Algorithm::MeticulousKeyedSha1, "the-new-one");
    let mut a = Authenticator::new(vec![old()], 1);
    let mut b = Authenticator::new(vec![old()], 1);
    let check = |a: &mut Authenticator, b: &mut Authenticator| {
        let bytes = a.seal(&packet());
        b.open(MS, &bytes, DETECTION).unwrap();
        let bytes = b.seal(&packet());
        a.open(MS, &bytes, DETECTION).unwrap();
    };
    check(&mut a, &mut b);
    // Accepted everywhere, then sent, then the old one goes.
    for keys in [vec![old(), new()], vec![new(), old()], vec![new()]] {
        a.set_keys(keys.clone());
        check(&mut a, &mut b);
        b.set_keys(keys);
        check(&mut a, &mut b);
    }
    assert_eq!(a.signs_with().map(|key| key.id), Some(2));
}

#[test]
fn secrets_are_not_shown() {
    let shown = format!("{:?}", ends(Algorithm::KeyedSha1));
    assert!(
        !shown.contains("a-secret") && !shown.contains("97, 45, 115"),
        "{shown}"
    );
}

proptest! {
    #[test]
    fn whatever_was_changed_is_refused(which in 1..ALL.len(), at in 0..52_usize, bit in 0..8_u8) {
        let (mut a, mut b) = ends(ALL[which]);
        let mut bytes = a.seal(&packet());
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        prop_assert!(b.open(MS, &bytes, DETECTION).is_err());
    }

    #[test]
    fn no_bytes_do_harm(
        which in 0..ALL.len(),
        head in any::<[u8; PACKET_LENGTH]>(),
        mut rest in proptest::collection::vec(any::<u8>(), 0..40),
        fits in any::<bool>(),
    ) {
        let (_, mut b) = ends(ALL[which]);
        let mut head = head;
        if fits {
            head[0] = 0x20;
            head[1] |= 0x04;
            head[3] = u8::try_from(PACKET_LENGTH + rest.len()).unwrap();
            if let [ty, length, id, ..] = &mut rest[..] {
                *ty = u8::try_from(which).unwrap() + 1;
                *length = head[3] - 24;
                *id = 9;
            }
        }
        let bytes = [&head[..], &rest].concat();
        prop_assert!(b.open(MS, &bytes, DETECTION).is_err());
    }
}
