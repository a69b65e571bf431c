//! Nothing that comes in may make a speaker panic or forget its bounds.

use std::time::{Duration, Instant};

use ospfv3::Limits;
use ospfv3::wire::{fletcher, pseudo_header_checksum};

use crate::net::{End, Frame, Lan, Net, Rng, Weather, anycast, local, own_prefix};

const LIMITS: Limits = Limits {
    lsas: 300,
    lsa_bytes: 100_000,
    neighbor_lsas: 250,
    origin_lsas: 200,
    neighbors: 6,
    events: 64,
    packets: 2000,
};

/// Puts all nodes on one Ethernet besides their links.
fn join_ethernet(net: &mut Net) {
    let nodes = 0..net.nodes.len();
    let ends = nodes.clone().map(|node| End {
        node,
        interface: 50 + node as u32,
    });
    net.lans.push(Lan {
        ends: ends.collect(),
        cut: Vec::new(),
    });
    for node in nodes {
        net.crash(node);
        net.start(node);
    }
}

/// Real traffic of every kind towards node 0.
fn corpus() -> Vec<Frame> {
    let mut net = Net::build(
        8,
        4,
        &[(0, 1, 10), (0, 2, 10), (1, 3, 10), (2, 3, 10), (1, 2, 5)],
    );
    join_ethernet(&mut net);
    net.captured = Some(Vec::new());
    net.weather = Weather::STORM;
    for round in 0..6 {
        net.run(Duration::from_secs(5));
        net.set_prefixes(3, vec![local(own_prefix(3)), local(anycast())]);
        net.run(Duration::from_secs(5));
        net.set_prefixes(3, vec![local(own_prefix(3))]);
        let node = 1 + round % 3;
        net.stop(node);
        net.run(Duration::from_secs(3));
        net.start(node);
    }
    let frames = net.captured.unwrap_or_default();
    frames
        .into_iter()
        .filter(|frame| frame.to.node == 0)
        .collect()
}

/// Changes a frame, and makes its checksums right again most of the time so that the change gets
/// past them.
fn mutate(rng: &mut Rng, frame: &mut Frame) {
    let bytes = &mut frame.bytes;
    for _ in 0..1 + rng.below(4) {
        let at = rng.below(bytes.len() as u64) as usize;
        match rng.below(8) {
            0 => bytes.truncate(at.max(1)),
            1 => bytes.push(rng.next() as u8),
            2 => bytes[at] = 0xff,
            3 => bytes[at] = 0,
            4 => {
                let chunk: Vec<u8> = bytes[at..].to_vec();
                bytes.extend(chunk);
                bytes.truncate(3000);
            }
            _ => bytes[at] ^= 1 << rng.below(8),
        }
    }
    if rng.percent(95) && bytes.len() >= 16 {
        bytes[0] = 3;
        let length = bytes.len() as u16;
        if rng.percent(95) {
            bytes[2..4].copy_from_slice(&length.to_be_bytes());
        }
        if bytes[1] == 4 && rng.percent(95) {
            sum_lsas(bytes);
        }
        bytes[12..14].fill(0);
        let checksum = pseudo_header_checksum(frame.source, frame.destination, bytes);
        bytes[12..14].copy_from_slice(&checksum.to_be_bytes());
    }
}

fn sum_lsas(bytes: &mut [u8]) {
    let mut at = 20;
    while let Some(header) = bytes.get(at..at + 20) {
        let length = usize::from(u16::from_be_bytes([header[18], header[19]]));
        let Some(lsa) = bytes.get_mut(at..at + length).filter(|lsa| lsa.len() >= 20) else {
            return;
        };
        let checksum = fletcher(lsa);
        lsa[16..18].copy_from_slice(&checksum.to_be_bytes());
        at += length;
    }
}

fn bombard(packets: u64, seed: u64) {
    let corpus = corpus();
    assert!(corpus.len() > 300, "{}", corpus.len());
    let mut net = Net::build(seed, 3, &[(0, 1, 10), (0, 2, 10)]);
    net.limits = LIMITS;
    join_ethernet(&mut net);
    net.run(Duration::from_secs(5));
    let mut rng = Rng(seed);
    let begun = Instant::now();
    for number in 0..packets {
        let mut frame = corpus[rng.below(corpus.len() as u64) as usize].clone();
        match rng.below(20) {
            0 => {}
            1 => {
                let length = rng.below(200) as usize;
                frame.bytes = (0..length).map(|_| rng.next() as u8).collect();
            }
            _ => mutate(&mut rng, &mut frame),
        }
        net.deliver(&frame);
        if number % 64 == 0 {
            net.run_ms(rng.below(20));
        }
        if number % 4096 == 0 {
            net.events.clear();
            check_bounds(&net);
            // Every so often the dead interval passes, and the exchange begins anew.
            net.run(Duration::from_secs(6));
        }
    }
    check_bounds(&net);
    eprintln!("{packets} packets in {:?}", begun.elapsed());
    let counters = net.node(0).counters();
    assert!(
        counters.lsas_installed > packets / 1000,
        "the bodies were reached"
    );
    // And it still works: an hour later nothing of it is left.
    net.run(Duration::from_secs(3 * 3600));
    assert!(
        net.node(1).routes().contains_key(&own_prefix(0)),
        "{}",
        net.describe()
    );
    assert!(net.node(0).routes().contains_key(&own_prefix(2)));
}

fn check_bounds(net: &Net) {
    for node in 0..3 {
        let speaker = net.node(node);
        let databases = speaker.interfaces().len() + 3;
        let lsas = speaker.database().lsas;
        let others = lsas.iter().filter(|lsa| !lsa.own).count();
        assert!(others <= LIMITS.lsas * databases, "{others}");
        assert!(lsas.len() <= LIMITS.lsas * databases + 1000);
        for interface in speaker.interfaces() {
            assert!(interface.neighbors <= LIMITS.neighbors);
        }
        for neighbor in speaker.neighbors() {
            assert!(neighbor.requested <= LIMITS.lsas);
            assert!(neighbor.unacknowledged <= lsas.len() + 100);
        }
    }
}

#[test]
fn two_hundred_thousand_packets() {
    bombard(200_000, 1);
}

#[test]
#[ignore = "10 million packets: run by cargo xtask test --deep"]
fn deep_ten_million_packets() {
    for seed in 2..12 {
        bombard(1_000_000, seed);
    }
}
