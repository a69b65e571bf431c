//! The flooding procedure, packet by packet.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ospfv3::wire::{
    DatabaseDescription, DdFlags, INITIAL_SEQUENCE, InterAreaPrefix, Lsa, LsaBody, LsaHeader,
    LsaKey, LsaType, MAX_AGE, MAX_SEQUENCE, Options, PacketBody, PrefixOptions,
};
use ospfv3::{Limits, NeighborState, Refusal};

use crate::net::{Frame, Net, link_local, own_prefix, router_id};

use crate::forge::*;

#[test]
fn newer_is_flooded_on_and_acknowledged_with_delay() {
    let mut net = net();
    let lsa = router_lsa(STRANGER, INITIAL_SEQUENCE);
    update(&mut net, &lsa);
    let onward = updates(&sent_to(&mut net, 2));
    assert_eq!(onward.len(), 1);
    assert_eq!(onward[0].age, 1, "InfTransDelay");
    net.run_ms(10);
    assert_eq!(acks(&sent_to(&mut net, 1)), [], "delayed");
    net.run_ms(300);
    let acks = acks(&sent_to(&mut net, 1));
    assert_eq!(acks, [*lsa.header()]);
    assert!(net.node(0).is_acknowledged() && has(&net, 2, STRANGER));
}

#[test]
fn duplicate_is_acknowledged_at_once() {
    let mut net = net();
    let lsa = router_lsa(STRANGER, INITIAL_SEQUENCE);
    update(&mut net, &lsa);
    net.run(Duration::from_secs(3));
    sent_to(&mut net, 1);
    update(&mut net, &lsa);
    assert_eq!(acks(&sent_to(&mut net, 1)).len(), 1);
}

#[test]
fn second_instance_within_min_ls_arrival_is_dropped() {
    let mut net = net();
    update(&mut net, &router_lsa(STRANGER, INITIAL_SEQUENCE));
    net.run_ms(500);
    sent_to(&mut net, 2);
    update(&mut net, &router_lsa(STRANGER, INITIAL_SEQUENCE + 1));
    assert_eq!(updates(&sent_to(&mut net, 2)), []);
    assert_eq!(refused(&net, Refusal::MinLsArrival), 1);
    net.run_ms(501);
    update(&mut net, &router_lsa(STRANGER, INITIAL_SEQUENCE + 1));
    assert_eq!(updates(&sent_to(&mut net, 2)).len(), 1);
}

/// A neighbour that sends ever newer instances of what carries prefixes, which are not held to MinLSArrival at first.
#[test]
fn some_instances_in_a_row_are_taken_of_what_carries_prefixes() {
    let mut net = net();
    let key = LsaKey {
        ty: LsaType::INTER_AREA_PREFIX,
        id: 7,
        adv: STRANGER,
    };
    let instance = |number: i32| {
        let body = LsaBody::InterAreaPrefix(InterAreaPrefix {
            metric: 1,
            prefix: own_prefix(7),
            options: PrefixOptions::default(),
        });
        Lsa::build(key, INITIAL_SEQUENCE + number, &body).unwrap()
    };
    let mut taken = Vec::new();
    for number in 0..300 {
        sent_to(&mut net, 2);
        update(&mut net, &instance(number));
        if !updates(&sent_to(&mut net, 2)).is_empty() {
            taken.push(number);
        }
        net.run_ms(10);
    }
    // Five at once, and one after each second.
    assert_eq!(taken, [0, 1, 2, 3, 4, 100, 200]);
    assert_eq!(refused(&net, Refusal::MinLsArrival), 300 - 7);
}

#[test]
fn older_is_answered_with_newer() {
    let mut net = net();
    update(&mut net, &router_lsa(STRANGER, INITIAL_SEQUENCE + 5));
    net.run(Duration::from_secs(3));
    sent_to(&mut net, 1);
    update(&mut net, &router_lsa(STRANGER, INITIAL_SEQUENCE + 2));
    let back = updates(&sent_to(&mut net, 1));
    assert_eq!(
        back.iter().map(|h| h.sequence).collect::<Vec<_>>(),
        [INITIAL_SEQUENCE + 5]
    );
    // But not twice within MinLSArrival (RFC 2328 13 (8)).
    update(&mut net, &router_lsa(STRANGER, INITIAL_SEQUENCE + 2));
    assert_eq!(updates(&sent_to(&mut net, 1)), []);
    assert_eq!(refused(&net, Refusal::LsaOlder), 2);
}

/// An LSA at MaxAge that nobody has is acknowledged and forgotten (RFC 2328 13 (4)).
#[test]
fn unknown_max_age_is_only_acknowledged() {
    let mut net = net();
    let lsa = aged(&router_lsa(STRANGER, INITIAL_SEQUENCE), MAX_AGE);
    forge_raw_update(&mut net, &lsa);
    assert_eq!(acks(&sent_to(&mut net, 1)).len(), 1);
    assert!(!has(&net, 0, STRANGER));
}

#[test]
fn max_age_flushes_everywhere() {
    let mut net = net();
    let lsa = router_lsa(STRANGER, INITIAL_SEQUENCE);
    update(&mut net, &lsa);
    net.run(Duration::from_secs(3));
    forge_raw_update(&mut net, &aged(&lsa, MAX_AGE));
    net.run(Duration::from_secs(1));
    for node in 0..3 {
        let lsas = net.node(node).database().lsas;
        let mut its = lsas.iter().filter(|lsa| lsa.advertising_router == STRANGER);
        assert!(its.all(|lsa| lsa.age == MAX_AGE), "node {node}");
    }
    // For as long as a neighbour may have it alive and offer it.
    net.run(Duration::from_secs(7));
    assert!(
        !has(&net, 0, STRANGER) && !has(&net, 2, STRANGER),
        "{}",
        net.describe()
    );
}

#[test]
fn unacknowledged_is_sent_again_until_it_is() {
    let mut net = net();
    net.links[1].cut = true;
    update(&mut net, &router_lsa(STRANGER, INITIAL_SEQUENCE));
    let before = net.node(0).counters().lsas_retransmitted;
    // RxmtInterval is 5 s, the dead interval 4 s: the neighbour must be kept alive by hand.
    net.run_ms(3000);
    net.links[1].cut = false;
    net.run_ms(1500);
    net.links[1].cut = true;
    assert!(!has(&net, 2, STRANGER));
    net.run_ms(2000);
    net.links[1].cut = false;
    net.run(Duration::from_secs(5));
    assert!(net.node(0).counters().lsas_retransmitted > before);
    assert!(has(&net, 2, STRANGER) && net.node(0).is_acknowledged());
}

#[test]
fn unknown_types_travel_by_their_bits() {
    let mut net = net();
    // (type, reaches node 2)
    for (number, (ty, onward)) in [
        (0xa0ff, true),
        (0xc0ff, true),
        (0x80ff, false),
        (0x20ff, false),
    ]
    .into_iter()
    .enumerate()
    {
        let key = LsaKey {
            ty: LsaType(ty),
            id: number as u32,
            adv: STRANGER,
        };
        let lsa = Lsa::build(key, INITIAL_SEQUENCE, &LsaBody::Unknown(vec![1, 2, 3])).unwrap();
        update(&mut net, &lsa);
        net.run_ms(500);
        let with = |node: usize| {
            net.node(node)
                .database()
                .lsas
                .iter()
                .any(|lsa| lsa.ty == LsaType(ty))
        };
        assert!(with(0), "{ty:#x}");
        assert_eq!(with(2), onward, "{ty:#x}");
    }
    let key = LsaKey {
        ty: LsaType(0xe0ff),
        id: 0,
        adv: STRANGER,
    };
    let lsa = Lsa::build(key, INITIAL_SEQUENCE, &LsaBody::Unknown(Vec::new())).unwrap();
    update(&mut net, &lsa);
    assert_eq!(refused(&net, Refusal::LsaScope), 1);
}

#[test]
fn nonsense_under_a_right_checksum_is_refused() {
    let mut net = net();
    let key = LsaKey {
        ty: LsaType::INTRA_AREA_PREFIX,
        id: 0,
        adv: STRANGER,
    };
    let lsa = Lsa::build(key, INITIAL_SEQUENCE, &LsaBody::Unknown(vec![0, 9])).unwrap();
    update(&mut net, &lsa);
    assert_eq!(refused(&net, Refusal::LsaBody), 1);
    assert!(!has(&net, 0, STRANGER));
    assert_eq!(net.node(0).neighbors()[0].state, NeighborState::Full);
}

#[test]
fn a_request_for_what_we_lack_restarts_the_exchange() {
    let mut net = net();
    let key = LsaKey {
        ty: LsaType::ROUTER,
        id: 0,
        adv: STRANGER,
    };
    forge(&mut net, PacketBody::LinkStateRequest(vec![key]));
    assert_eq!(refused(&net, Refusal::BadRequest), 1);
    assert_eq!(net.node(0).neighbors()[0].state, NeighborState::ExStart);
    net.run(Duration::from_secs(10));
    assert_eq!(
        net.node(0).neighbors()[0].state,
        NeighborState::Full,
        "and recovers"
    );
    assert!(net.node(0).routes().contains_key(&own_prefix(1)));
}

#[test]
fn own_lsa_from_elsewhere_is_outpaced() {
    let mut net = net();
    let sequence = INITIAL_SEQUENCE + 1000;
    update(&mut net, &router_lsa(router_id(0), sequence));
    net.run(Duration::from_secs(1));
    for node in 0..3 {
        let lsas = net.node(node).database().lsas;
        let ours = lsas
            .iter()
            .find(|lsa| lsa.ty == LsaType::ROUTER && lsa.advertising_router == router_id(0));
        let ours = ours.unwrap();
        assert_eq!(ours.sequence, (sequence + 1).cast_unsigned(), "node {node}");
        assert!(matches!(&ours.body, LsaBody::Router(body) if body.links.len() == 2));
    }
    // One that we do not want at all is flushed.
    let key = LsaKey {
        ty: LsaType::INTRA_AREA_PREFIX,
        id: 77,
        adv: router_id(0),
    };
    let body = net
        .node(0)
        .database()
        .lsas
        .into_iter()
        .find_map(|lsa| match lsa.body {
            body @ LsaBody::IntraAreaPrefix(_) => Some(body),
            _ => None,
        });
    update(
        &mut net,
        &Lsa::build(key, INITIAL_SEQUENCE, &body.unwrap()).unwrap(),
    );
    net.run(Duration::from_secs(8));
    for node in 0..3 {
        let lsas = net.node(node).database().lsas;
        assert!(
            lsas.iter().all(|lsa| lsa.link_state_id.to_bits() != 77),
            "node {node}"
        );
    }
}

#[test]
fn the_sequence_wraps_by_flushing_first() {
    let mut net = net();
    update(&mut net, &router_lsa(router_id(0), MAX_SEQUENCE));
    net.run(Duration::from_secs(20));
    for node in 0..3 {
        let lsas = net.node(node).database().lsas;
        let ours = lsas
            .iter()
            .find(|lsa| lsa.ty == LsaType::ROUTER && lsa.advertising_router == router_id(0));
        assert_eq!(
            ours.unwrap().sequence,
            0x8000_0001,
            "node {node}\n{}",
            net.describe()
        );
    }
    assert!(net.node(2).routes().contains_key(&own_prefix(1)));
}

#[test]
fn wrong_addresses() {
    let mut net = net();
    let [to, from] = net.links[0].ends;
    let mut frame = Frame {
        to,
        source: link_local(from),
        destination: Ipv6Addr::LOCALHOST,
        bytes: vec![3; 20],
    };
    net.deliver(&frame);
    assert_eq!(refused(&net, Refusal::DestinationAddress), 1);
    frame.source = link_local(to);
    net.deliver(&frame);
    assert_eq!(refused(&net, Refusal::OwnPacket), 1);
    frame.to.interface = 12345;
    net.deliver(&frame);
    assert_eq!(refused(&net, Refusal::UnknownInterface), 1);
}

#[test]
fn databases_are_bounded() {
    let mut net = Net::build(4, 2, &[(0, 1, 10)]);
    net.limits = Limits {
        lsas: 50,
        events: 20,
        ..Limits::default()
    };
    net.crash(0);
    net.start(0);
    net.run(Duration::from_secs(20));
    let now = net.now;
    for number in 0..200 {
        let lsa = router_lsa(Ipv4Addr::from_bits(0x1400_0000 + number), INITIAL_SEQUENCE);
        update(&mut net, &lsa);
    }
    assert_eq!(
        net.node(0).database().lsas.len(),
        50 + 2,
        "the area's, and two Link-LSAs"
    );
    assert!(refused(&net, Refusal::DatabaseFull) > 100);
    // Our own LSAs always find room.
    net.with(0, |speaker| {
        let prefixes = (2..60).map(|n| crate::net::local(own_prefix(n))).collect();
        speaker.set_prefixes(now, crate::net::LOOPBACK, prefixes);
    });
    assert!(
        net.node(0)
            .database()
            .lsas
            .iter()
            .filter(|lsa| lsa.own)
            .count()
            > 58
    );
    // Nor does the caller have to fetch anything.
    let speaker = net.nodes[0].as_mut().unwrap();
    for _ in 0..100 {
        speaker.handle_packet(now, 99, Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST, &[]);
    }
    assert!(speaker.counters().events_dropped >= 80);
}

/// A database that is full must not keep an adjacency from becoming Full: what is dead in it only
/// leaves once nobody is in Exchange or Loading.
#[test]
fn a_full_database_does_not_stop_an_adjacency() {
    let mut net = Net::build(4, 3, &[(0, 1, 10), (0, 2, 10)]);
    for node in [1, 2] {
        let prefixes = (node * 100..node * 100 + 60).map(own_prefix);
        net.set_prefixes(node, prefixes.map(crate::net::local).collect());
    }
    net.limits = Limits {
        lsas: 50,
        ..Limits::default()
    };
    net.crash(0);
    net.start(0);
    net.run(Duration::from_secs(30));
    let neighbors = net.node(0).neighbors();
    let full = |n: &ospfv3::NeighborView| n.state == NeighborState::Full;
    assert!(neighbors.iter().all(full), "{}", net.describe());
    assert!(refused(&net, Refusal::DatabaseFull) > 0);
    // With room again, everything comes.
    for node in [1, 2] {
        net.set_prefixes(node, vec![crate::net::local(own_prefix(node))]);
    }
    net.run(Duration::from_secs(30));
    assert_eq!(net.node(0).routes().len(), 2, "{}", net.describe());
    assert!((0..3).all(|node| net.node(node).is_acknowledged()));
}

/// Node 1 begins the exchange anew, says that it has an LSA, and hears nothing any more.
fn describe(net: &mut Net, header: LsaHeader) {
    // What nobody has.
    let key = LsaKey {
        id: 7,
        ..header.key
    };
    forge(net, PacketBody::LinkStateRequest(vec![key]));
    let dd = |flags, sequence, headers| {
        PacketBody::DatabaseDescription(DatabaseDescription {
            other_mtu: false,
            options: Options::V6.union(Options::E).union(Options::R),
            mtu: 1500,
            flags,
            sequence,
            headers,
        })
    };
    // As the router with the higher Router ID, node 1 is master.
    let flags = |init, more| DdFlags {
        init,
        more,
        master: true,
    };
    net.links[0].cut = true;
    forge(net, dd(flags(true, true), 5000, Vec::new()));
    forge(net, dd(flags(false, false), 5001, vec![header]));
    assert_eq!(net.node(0).neighbors()[0].state, NeighborState::Loading);
}

/// A neighbour that describes an LSA and never delivers it is not waited for without end.
#[test]
fn what_is_never_delivered_restarts_the_exchange() {
    let mut net = net();
    describe(&mut net, *router_lsa(STRANGER, INITIAL_SEQUENCE).header());
    let mut restarted = false;
    for _ in 0..60 {
        forge(&mut net, hello());
        net.run(Duration::from_secs(1));
        restarted |= net.node(0).neighbors()[0].state == NeighborState::ExStart;
    }
    assert!(restarted);
}

/// What the neighbour has sent again, before it had a newer one, does not stand for that.
#[test]
fn a_late_copy_of_an_older_instance_answers_no_request() {
    let mut net = net();
    let old = router_lsa(STRANGER, INITIAL_SEQUENCE);
    update(&mut net, &old);
    net.run(Duration::from_secs(3));
    let new = router_lsa(STRANGER, INITIAL_SEQUENCE + 1);
    describe(&mut net, *new.header());
    update(&mut net, &old);
    assert_eq!(net.node(0).neighbors()[0].state, NeighborState::Loading);
    update(&mut net, &new);
    assert_eq!(net.node(0).neighbors()[0].state, NeighborState::Full);
}

/// A router that stops is gone, also when a copy of its first LSA comes after the flush.
#[test]
fn a_late_copy_of_the_first_instance_does_not_outlive_its_flush() {
    let mut net = net();
    let first = router_lsa(STRANGER, INITIAL_SEQUENCE);
    let last = router_lsa(STRANGER, INITIAL_SEQUENCE + 3);
    forge_raw_update(&mut net, &aged(&last, MAX_AGE));
    forge_raw_update(&mut net, &aged(&first, 50));
    assert!(!has(&net, 0, STRANGER));
    // One that begins anew at this very moment.
    forge_raw_update(&mut net, &aged(&first, 2));
    assert!(has(&net, 0, STRANGER));
}
