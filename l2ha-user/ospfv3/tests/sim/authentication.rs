//! Authentication trailers (RFC 7166): keys that fit or do not, change over, end, and are attacked.

use std::time::Duration;

use ospfv3::wire::{Options, Packet, PacketBody, Sections};
use ospfv3::{Algorithm, AuthKey, Event, KeyChain, Lifetime, NeighborState, ProtocolId, Refusal};

use crate::net::{Frame, Net, router_id};

/// 2026-01-01: the time of day when the simulation begins.
const MORNING: Duration = Duration::from_secs(1_767_225_600);

/// The simulation's time then.
const START: Duration = Duration::from_secs(1000);

fn key(sa_id: u16, secret: &str) -> AuthKey {
    AuthKey::new(sa_id, Algorithm::HmacSha256, secret)
}

fn chain(keys: impl IntoIterator<Item = AuthKey>) -> Option<KeyChain> {
    let keys = keys.into_iter().collect();
    Some(KeyChain { keys })
}

/// Gives a node its keys, as a reload of the configuration does.
fn set_keys(net: &mut Net, node: usize, keys: Option<KeyChain>) {
    let link = net.links[0].clone();
    let mut config = net.interface_config(link.ends[node], link.cost);
    config.authentication = keys;
    let now = net.now;
    let wall = MORNING + now.saturating_sub(START);
    net.with(node, |speaker| {
        speaker.set_wall_clock(now, wall);
        speaker.add_interface(now, config);
    });
}

/// Two nodes that have had these keys from the beginning.
fn pair(a: Option<KeyChain>, b: Option<KeyChain>) -> Net {
    let mut net = Net::build(7, 2, &[(0, 1, 10)]);
    set_keys(&mut net, 0, a);
    set_keys(&mut net, 1, b);
    net.captured = Some(Vec::new());
    // Between two Hellos: nothing is on its way.
    net.run(Duration::from_millis(10_500));
    net
}

fn adjacent(net: &Net) -> bool {
    let full = |node: usize| {
        let neighbors = net.node(node).neighbors();
        neighbors.iter().any(|n| n.state == NeighborState::Full)
    };
    full(0) && full(1)
}

fn refused(net: &Net, reason: Refusal) -> u64 {
    let refused = &net.node(0).counters().refused;
    refused.get(&reason).copied().unwrap_or(0)
}

fn lost(net: &Net) -> u64 {
    net.node(0).counters().adjacencies_lost + net.node(1).counters().adjacencies_lost
}

/// What node 0 has been sent.
fn captured(net: &Net) -> Vec<Frame> {
    let frames = net.captured.as_ref().unwrap();
    let to_us = frames.iter().filter(|frame| frame.to.node == 0);
    to_us.cloned().collect()
}

#[test]
fn every_algorithm_forms_an_adjacency() {
    for algorithm in [
        Algorithm::HmacSha1,
        Algorithm::HmacSha256,
        Algorithm::HmacSha384,
        Algorithm::HmacSha512,
    ] {
        for secret in ["short", &"long ".repeat(60)] {
            let keys = chain([AuthKey::new(3, algorithm, secret)]);
            let net = pair(keys.clone(), keys);
            assert!(adjacent(&net), "{algorithm:?}\n{}", net.describe());
            for frame in captured(&net).iter().skip(2) {
                let sections = Sections::find(&frame.bytes).unwrap();
                assert_eq!(sections.rest.len(), 16 + algorithm.size());
                assert_ne!(sections.announced, Some(false));
                assert_eq!(frame.bytes[12..14], [0, 0], "RFC 7166 4.2");
            }
        }
    }
}

/// FRR before 9.1 takes and makes no other digests than those with the protocol id's low byte first.
#[test]
fn a_neighbour_that_appends_the_protocol_id_in_its_own_order_is_understood() {
    for order in [ProtocolId::LittleEndian, ProtocolId::NetworkOrder] {
        let as_it_does = AuthKey {
            protocol_id: Some(order),
            ..key(1, "secret")
        };
        let theirs = chain([as_it_does]);
        for (ours, theirs) in [
            (chain([key(1, "secret")]), theirs.clone()),
            (theirs.clone(), chain([key(1, "secret")])),
        ] {
            let mut net = pair(ours.clone(), theirs.clone());
            assert!(adjacent(&net), "{order:?}\n{}", net.describe());
            // It is updated, and makes them as RFC 7166 has it.
            let new = AuthKey {
                protocol_id: Some(ProtocolId::NetworkOrder),
                ..key(1, "secret")
            };
            let fixed = usize::from(ours == chain([key(1, "secret")]));
            set_keys(&mut net, fixed, chain([new]));
            net.run(Duration::from_secs(60));
            assert!(adjacent(&net), "{order:?}\n{}", net.describe());
        }
    }
    // One that is told otherwise does not.
    let little = AuthKey {
        protocol_id: Some(ProtocolId::LittleEndian),
        ..key(1, "secret")
    };
    let net_order = AuthKey {
        protocol_id: Some(ProtocolId::NetworkOrder),
        ..key(1, "secret")
    };
    let net = pair(chain([little]), chain([net_order]));
    assert!(refused(&net, Refusal::AuthDigest) >= 9);
}

#[test]
fn the_bit_is_in_its_octet() {
    let keys = chain([key(1, "secret")]);
    let net = pair(keys.clone(), keys);
    let hello = captured(&net).pop().unwrap();
    // Bit 13 of 0 to 23 (RFC 7166 2.1) is 0x04 of the second octet of three.
    assert_eq!(hello.bytes[21..24], [0, 0x04, 0x13]);
    assert_eq!(Options::AT.bits(), 0x400);
}

#[test]
fn what_does_not_fit_is_refused_under_its_name() {
    let good = chain([key(1, "secret")]);
    let cases = [
        (chain([key(2, "secret")]), Refusal::AuthUnknownKey),
        (chain([key(1, "Secret")]), Refusal::AuthDigest),
        (
            chain([AuthKey::new(1, Algorithm::HmacSha384, "secret")]),
            Refusal::AuthDigest,
        ),
        (None, Refusal::AuthMissing),
    ];
    for (theirs, reason) in cases {
        let net = pair(good.clone(), theirs);
        assert!(refused(&net, reason) >= 9, "{reason}");
        assert!(net.node(0).neighbors().is_empty(), "{reason}");
    }
    let net = pair(None, good);
    assert!(refused(&net, Refusal::AuthUnexpected) >= 9);
    assert!(net.node(0).neighbors().is_empty());
}

#[test]
fn replayed_packets_are_refused() {
    let keys = chain([key(1, "secret")]);
    let mut net = pair(keys.clone(), keys);
    let frames = captured(&net);
    let before = net.node(0).counters().clone();
    let database = net.node(0).database().lsas.len();
    assert!(frames.len() > 10);
    for frame in &frames {
        net.deliver(frame);
    }
    let after = net.node(0).counters();
    assert_eq!(after.received, before.received, "not one got through");
    // The two that went out before the keys were set have no trailer.
    let missing = refused(&net, Refusal::AuthMissing);
    assert!(refused(&net, Refusal::AuthReplay) >= frames.len() as u64 - missing);
    assert_eq!(net.node(0).database().lsas.len(), database);
    net.run(Duration::from_secs(10));
    assert!(adjacent(&net));
    assert_eq!(lost(&net), 0);
}

#[test]
fn one_changed_bit_anywhere_is_noticed() {
    let keys = chain([key(1, "secret")]);
    let mut net = pair(keys.clone(), keys);
    // Not yet delivered to node 0: on its way when the link is cut.
    net.links[0].cut = true;
    net.captured = Some(Vec::new());
    net.run_ms(1500);
    let frame = captured(&net).pop().unwrap();
    let received = net.node(0).counters().received;
    for bit in 0..frame.bytes.len() * 8 {
        let mut bent = frame.clone();
        bent.bytes[bit / 8] ^= 1 << (bit % 8);
        net.deliver(&bent);
    }
    let mut elsewhere = frame.clone();
    elsewhere.source = "fe80::bad".parse().unwrap();
    net.deliver(&elsewhere);
    assert_eq!(net.node(0).counters().received, received);
    net.deliver(&frame);
    assert_eq!(net.node(0).counters().received.hello, received.hello + 1);
}

#[test]
fn keys_roll_over_without_a_lost_adjacency() {
    let old = key(1, "old");
    let mut net = pair(chain([old.clone()]), chain([old.clone()]));
    // As an operator does it: the new key everywhere, from a moment on; then the old one away.
    let from = Some(MORNING + Duration::from_secs(30));
    let mut new = key(2, "new");
    new.send = Lifetime { from, until: None };
    for node in [0, 1] {
        set_keys(&mut net, node, chain([old.clone(), new.clone()]));
        net.run(Duration::from_secs(7));
    }
    net.captured = Some(Vec::new());
    net.run(Duration::from_secs(60));
    let ids: Vec<u8> = captured(&net)
        .iter()
        .map(|frame| Sections::find(&frame.bytes).unwrap().rest[7])
        .collect();
    assert_eq!(ids.first(), Some(&1));
    assert_eq!(ids.last(), Some(&2));
    assert!(ids.is_sorted());
    for node in [0, 1] {
        set_keys(&mut net, node, chain([new.clone()]));
        net.run(Duration::from_secs(7));
    }
    assert!(adjacent(&net));
    assert_eq!(lost(&net), 0);
    assert!(
        net.node(0)
            .counters()
            .refused
            .keys()
            .all(|r| *r != Refusal::AuthUnknownKey)
    );
}

#[test]
fn the_last_key_goes_on_and_says_so_and_an_earlier_one_does_not() {
    let until = Some(MORNING + Duration::from_secs(20));
    let mut short = key(1, "short");
    short.send = Lifetime { from: None, until };
    short.accept = short.send;
    let mut net = pair(chain([short.clone()]), chain([short.clone()]));
    net.run(Duration::from_secs(60));
    assert!(adjacent(&net), "RFC 7166 3: no loss for want of a new key");
    let said = Event::LastKeyExpired {
        interface: net.links[0].ends[0].interface,
        sa_id: 1,
    };
    let times = net
        .events
        .iter()
        .filter(|(_, node, event)| *node == 0 && *event == said);
    assert_eq!(times.count(), 1);
    let view = net.node(0).interfaces()[1].authentication.clone().unwrap();
    assert!(view.expired && view.send == Some(1));

    // With a valid key beside it, the old one is over.
    set_keys(&mut net, 0, chain([short, key(2, "next")]));
    net.run(Duration::from_secs(10));
    assert!(refused(&net, Refusal::AuthKeyExpired) > 0);
    assert!(!adjacent(&net));
}

#[test]
fn nothing_is_sent_before_the_first_key_is_valid() {
    let mut late = key(1, "late");
    late.send.from = Some(MORNING + Duration::from_secs(3600));
    let net = pair(chain([late.clone()]), chain([late]));
    assert!(refused(&net, Refusal::AuthNoKey) > 5);
    assert!(!adjacent(&net));
}

#[test]
fn a_new_life_is_not_taken_for_a_replay_of_the_old() {
    let keys = chain([key(1, "secret")]);
    let mut net = pair(keys.clone(), keys.clone());
    for (epoch, welcome) in [(5, true), (4, false)] {
        net.crash(1);
        let mut config = ospfv3::Config::new(router_id(1));
        config.authentication_epoch = epoch;
        let mut speaker = ospfv3::Speaker::new(config, net.now);
        let mut interface = net.interface_config(net.links[0].ends[1], 10);
        interface.authentication = keys.clone();
        speaker.add_interface(net.now, interface);
        net.nodes[1] = Some(speaker);
        net.collect(1);
        // Within the dead interval: node 0 remembers the life before.
        net.run(Duration::from_secs(3));
        assert_eq!(refused(&net, Refusal::AuthReplay) == 0, welcome);
        assert_eq!(adjacent(&net), welcome, "{}", net.describe());
    }
    net.run(Duration::from_secs(10));
    assert!(
        adjacent(&net),
        "a lost epoch costs the dead interval, not more"
    );
}

#[test]
fn a_trailer_is_found_behind_link_local_signalling() {
    let key = key(1, "secret");
    let mut net = pair(chain([key.clone()]), chain([key.clone()]));
    let hello = captured(&net).pop().unwrap();
    let sections = Sections::find(&hello.bytes).unwrap();
    let mut packet = Packet::decode_authenticated(sections.packet).unwrap();
    let PacketBody::Hello(body) = &mut packet.body else {
        panic!("{packet:?}");
    };
    body.options = body.options.union(Options::L);
    let mut frame = hello.clone();
    frame.bytes = packet.encode(frame.source, frame.destination);
    // RFC 5613 2.2: checksum, 3 words, the extended options.
    frame
        .bytes
        .extend([0xff, 0xf6, 0, 3, 0, 1, 0, 4, 0, 0, 0, 1]);
    key.sign(
        ProtocolId::default(),
        1 << 40,
        frame.source,
        &mut frame.bytes,
    );
    let before = net.node(0).counters().received.hello;
    net.deliver(&frame);
    assert_eq!(net.node(0).counters().received.hello, before + 1);
    // A block that claims to be longer than the packet is refused, not searched.
    for words in [0, 200] {
        let mut bent = frame.clone();
        let at = sections.packet.len() + 3;
        bent.bytes[at] = words;
        net.deliver(&bent);
    }
    assert_eq!(net.node(0).counters().received.hello, before + 1);
}

#[test]
fn packets_stay_within_the_mtu_and_secrets_out_of_sight() {
    let mut first = AuthKey::new(1, Algorithm::HmacSha512, "open sesame");
    first.accept = Lifetime::default();
    let keys = chain([first]);
    let mut net = pair(keys.clone(), keys.clone());
    let many = (0..400u32).map(|n| {
        let addr = std::net::Ipv6Addr::from_bits((0x2001_0db8 << 96) | (u128::from(n) + 1000));
        crate::net::local(ospfv3::Prefix::host(addr))
    });
    net.set_prefixes(1, many.collect());
    net.run(Duration::from_secs(20));
    let longest = captured(&net).iter().map(|f| f.bytes.len()).max().unwrap();
    assert!((1300..=1460).contains(&longest), "{longest}");
    let shown = format!(
        "{:?} {}",
        keys,
        serde_json::to_string(&net.node(0).interfaces()).unwrap()
    );
    assert!(
        !shown.contains("sesame") && !shown.contains("111, 112"),
        "{shown}"
    );
}
