//! What we originate, how often, and how large.

use std::net::Ipv6Addr;
use std::time::Duration;

use ospfv3::wire::{LsaBody, LsaType, PrefixOptions};
use ospfv3::{Prefix, StubPrefix};

use crate::net::{LOOPBACK, Net, local, own_prefix, router_id};

fn many(count: u128, len: u8, local: bool) -> Vec<StubPrefix> {
    let prefix = |n: u128| {
        Prefix::new(
            Ipv6Addr::from_bits(0x2001_0db8_0001u128 << 80 | n << 64),
            len,
        )
    };
    (0..count)
        .map(|n| StubPrefix {
            prefix: prefix(n).unwrap(),
            metric: 5,
            local,
        })
        .collect()
}

#[test]
fn everything_fits_the_mtu() {
    let mut net = Net::build(6, 2, &[(0, 1, 10)]);
    net.mtu = 1280;
    for node in 0..2 {
        net.crash(node);
        net.start(node);
    }
    net.captured = Some(Vec::new());
    net.set_prefixes(1, many(1000, 64, false));
    net.run(Duration::from_secs(20));
    assert_eq!(net.node(0).routes().len(), 1000);
    let longest = net
        .captured
        .as_ref()
        .unwrap()
        .iter()
        .map(|frame| frame.bytes.len())
        .max();
    assert!(
        longest.is_some_and(|longest| longest <= 1280 - 40),
        "{longest:?}"
    );
    net.set_prefixes(1, many(500, 64, false));
    net.run(Duration::from_secs(20));
    assert_eq!(net.node(0).routes().len(), 500);
}

#[test]
fn hundreds_of_local_prefixes() {
    let mut net = Net::build(6, 2, &[(0, 1, 10)]);
    net.set_prefixes(1, many(400, 128, true));
    net.run(Duration::from_secs(20));
    assert_eq!(net.node(0).routes().len(), 400);
    net.set_prefixes(1, Vec::new());
    net.run_ms(100);
    assert_eq!(net.node(0).routes().len(), 0);
    net.run(Duration::from_secs(10));
    let lsas = net.node(0).database().lsas;
    assert!(
        lsas.iter()
            .all(|lsa| lsa.ty != LsaType::INTRA_AREA_PREFIX || lsa.own)
    );
}

#[test]
fn a_host_address_has_no_option_and_a_link_local_is_not_told() {
    let mut net = Net::build(6, 2, &[(0, 1, 10)]);
    let secret = StubPrefix::host("fe80::77".parse::<Ipv6Addr>().unwrap());
    net.set_prefixes(1, vec![local(own_prefix(1)), secret]);
    net.run(Duration::from_secs(10));
    let told: Vec<_> = net
        .node(0)
        .database()
        .lsas
        .into_iter()
        .filter(|lsa| lsa.advertising_router == router_id(1))
        .filter_map(|lsa| match lsa.body {
            LsaBody::IntraAreaPrefix(body) => Some(body.prefixes),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].prefix, told[0].metric), (own_prefix(1), 0));
    // Routers of FRR do not take over from a border router of FRR's what has the LA bit.
    assert_eq!(told[0].options, PrefixOptions::default());
}

/// A first change after a quiet time is told at once, the next ones MinLSInterval apart, and the
/// last state is what counts.
#[test]
fn min_ls_interval() {
    let mut net = Net::build(6, 2, &[(0, 1, 10)]);
    net.set_prefixes(1, many(1, 64, false));
    net.run(Duration::from_secs(20));
    let before = net.node(1).counters().lsas_originated;
    for count in 2..40 {
        net.set_prefixes(1, many(count, 64, false));
        if count == 2 {
            net.run_ms(5);
            assert_eq!(net.node(0).routes().len(), 2, "at once");
        }
        net.run_ms(250);
    }
    net.run(Duration::from_secs(6));
    assert_eq!(net.node(0).routes().len(), 39);
    let originated = net.node(1).counters().lsas_originated - before;
    assert!(
        (3..=4).contains(&originated),
        "{originated} in 10 s and the rest"
    );
}

#[test]
fn nothing_is_originated_for_nothing() {
    let mut net = Net::build(6, 2, &[(0, 1, 10)]);
    net.run(Duration::from_secs(20));
    let before = net.node(1).counters().lsas_originated;
    let now = net.now;
    net.with(1, |speaker| {
        let same = speaker
            .interfaces()
            .into_iter()
            .find(|i| i.id == LOOPBACK)
            .unwrap()
            .prefixes;
        speaker.set_prefixes(now, LOOPBACK, same);
        speaker.drain(now, false);
    });
    net.run(Duration::from_secs(100));
    assert_eq!(net.node(1).counters().lsas_originated, before);
    assert_eq!(before, 3, "Router, Link and Intra-Area-Prefix, once each");
}

#[test]
fn cost_changes_are_told() {
    let mut net = Net::build(6, 2, &[(0, 1, 10)]);
    net.run(Duration::from_secs(20));
    let (now, interface) = (net.now, net.links[0].ends[0].interface);
    net.with(0, |speaker| speaker.set_cost(now, interface, 77));
    net.run_ms(10);
    assert_eq!(net.node(0).routes()[&own_prefix(1)].metric, 77);
    assert_eq!(
        net.node(1).routes()[&own_prefix(0)].metric,
        10,
        "each direction its own"
    );
}

#[test]
fn views_serialize() {
    let mut net = Net::build(6, 2, &[(0, 1, 10)]);
    net.run(Duration::from_secs(5));
    let speaker = net.node(0);
    let text = serde_json::to_string(&speaker.database()).unwrap();
    for part in [
        "\"intra_area_prefix\"",
        "\"point_to_point\"",
        "\"V6\"",
        "\"2001:db8::2/128\"",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    serde_json::to_string(&speaker.neighbors()).unwrap();
    serde_json::to_string(&speaker.interfaces()).unwrap();
    serde_json::to_string(&speaker.counters()).unwrap();
    let routes: Vec<_> = speaker.routes().iter().collect();
    serde_json::to_string(&routes).unwrap();
    serde_json::to_string(&speaker.routes()).unwrap();
    for (_, _, event) in &net.events {
        serde_json::to_string(event).unwrap();
    }
}

/// The sequence numbers of a node's Router-LSAs, and how many links each has.
fn router_lsas(net: &Net, of: usize) -> Vec<(u32, usize)> {
    let lsas = net.node(of).database().lsas.into_iter();
    let own = lsas.filter(|lsa| lsa.own);
    own.filter_map(|lsa| match lsa.body {
        LsaBody::Router(body) => Some((lsa.sequence, body.links.len())),
        _ => None,
    })
    .collect()
}

#[test]
fn a_link_less_is_one_new_lsa() {
    const LEAVES: usize = 80;
    let links: Vec<(usize, usize, u16)> = (1..=LEAVES).map(|leaf| (0, leaf, 10)).collect();
    let mut net = Net::drawn(6, LEAVES + 1, &links);
    net.mtu = 1280;
    for node in 0..=LEAVES {
        net.start(node);
    }
    net.run(Duration::from_secs(30));
    let before = router_lsas(&net, 0);
    assert_eq!(before.len(), 2, "{before:?}");
    assert_eq!(before.iter().map(|(_, links)| links).sum::<usize>(), LEAVES);
    net.crash(1);
    net.run(Duration::from_secs(10));
    let after = router_lsas(&net, 0);
    assert_eq!(
        after.iter().map(|(_, links)| links).sum::<usize>(),
        LEAVES - 1
    );
    let new = after
        .iter()
        .zip(&before)
        .filter(|(after, before)| after != before);
    assert_eq!(new.count(), 1, "{before:?} {after:?}");
}
