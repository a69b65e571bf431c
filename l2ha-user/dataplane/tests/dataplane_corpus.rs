//! Bad packets by the ten thousand: none is delivered unless it is right, none escapes the
//! counters, and both programs that decapsulate agree.

mod kit;

use anyhow::ensure;
use dataplane::{
    Counters,
    trial::{Outcome, Program, Trial, Verdict},
};
use kit::{
    Result,
    bench::{Bench, Form, frame, runs_in_tc},
    outer::{Outer, Random, ip_checksum},
};

/// How often the counters are compared with what was seen.
const BATCH: usize = 250;

/// What a receiver that follows the RFCs word by word would deliver; written without regard to how
/// the programs do it.
fn right(forms: &[Form], packet: &[u8]) -> Option<Vec<u8>> {
    let ip = packet.get(14..)?;
    let (protocol, source, destination, rest) = match packet.get(12..14)? {
        [0x08, 0x00] => {
            let header = usize::from(ip.first()? & 0x0f) * 4;
            let total = usize::from(u16::from_be_bytes([*ip.get(2)?, *ip.get(3)?]));
            let fragment = u16::from_be_bytes([*ip.get(6)?, *ip.get(7)?]) & 0x3fff;
            if ip[0] >> 4 != 4 || header < 20 || fragment != 0 {
                return None;
            }
            let rest = ip.get(..total)?.get(header..)?;
            if ip_checksum(&ip[..header]) != 0 {
                return None;
            }
            (ip[9], ip.get(12..16)?, ip.get(16..20)?, rest)
        }
        [0x86, 0xdd] => {
            let length = usize::from(u16::from_be_bytes([*ip.get(4)?, *ip.get(5)?]));
            if ip[0] >> 4 != 6 {
                return None;
            }
            let rest = ip.get(40..)?.get(..length)?;
            (ip[6], ip.get(8..24)?, ip.get(24..40)?, rest)
        }
        _ => return None,
    };
    forms.iter().find_map(|form| {
        let wanted = form.received(&[]);
        let octets = |address: std::net::IpAddr| match address {
            std::net::IpAddr::V4(address) => address.octets().to_vec(),
            std::net::IpAddr::V6(address) => address.octets().to_vec(),
        };
        if octets(wanted.source) != source || octets(wanted.destination) != destination {
            return None;
        }
        let mut l2tp = rest;
        if let Some((from, to)) = wanted.ports {
            let length = usize::from(u16::from_be_bytes([*rest.get(4)?, *rest.get(5)?]));
            let ports = [from.to_be_bytes(), to.to_be_bytes()].concat();
            if protocol != 17 || rest.get(..4)? != ports || length != rest.len() {
                return None;
            }
            let flags = rest.get(8..12)?;
            if flags[0] & 0x80 != 0 || flags[1] & 0x0f != 3 {
                return None;
            }
            l2tp = &rest[12..];
        } else if protocol != 115 {
            return None;
        }
        let id = form.session.session_id.to_be_bytes();
        let l2tp = l2tp.strip_prefix(&id)?.strip_prefix(form.cookies.0)?;
        let frame =
            l2tp.get(form.header_length() - form.cookie_start() - form.cookies.0.len()..)?;
        (frame.len() >= 14).then(|| frame.to_vec())
    })
}

/// Runs packets through both programs and accounts for each.
struct Corpus {
    bench: Bench,
    packets: Vec<Vec<u8>>,
    seen: usize,
    delivered: usize,
    refused: usize,
}

impl Corpus {
    fn new() -> Result<Self> {
        Ok(Self {
            bench: Bench::new()?,
            packets: Vec::new(),
            seen: 0,
            delivered: 0,
            refused: 0,
        })
    }

    fn add(&mut self, packet: Vec<u8>) -> Result {
        // The kernel does not run a program on less than an Ethernet header, nor on more than a
        // page with headroom.
        if (14..3400).contains(&packet.len()) {
            self.packets.push(packet);
        }
        if self.packets.len() == BATCH {
            self.check()?;
        }
        Ok(())
    }

    /// Runs what has been collected.
    fn check(&mut self) -> Result {
        let all = std::mem::take(&mut self.packets);
        self.seen += all.len();
        for program in [Program::Xdp, Program::Decap] {
            let mut packets = all.clone();
            if program == Program::Decap {
                packets.retain(|packet| runs_in_tc(packet));
            }
            let plane = &mut self.bench.plane;
            let before = plane.counters()?;
            let outcomes = self.bench.ns.enter(|| {
                packets
                    .iter()
                    .map(|packet| {
                        let trial = Trial {
                            packet,
                            ..Trial::default()
                        };
                        plane.try_program(program, trial)
                    })
                    .collect::<Result<Vec<_>>>()
            })??;
            let after = self.bench.plane.counters()?;
            for (packet, outcome) in packets.iter().zip(&outcomes) {
                self.judge(program, packet, outcome)?;
            }
            account(program, &outcomes, &before, &after)?;
        }
        Ok(())
    }

    fn judge(&mut self, program: Program, packet: &[u8], outcome: &Outcome) -> Result {
        let right = right(&self.bench.forms, packet);
        match (outcome.verdict, right) {
            (Verdict::Redirect, Some(mut frame)) => {
                if program == Program::Decap && frame.len() == 14 {
                    frame.resize(60, 0);
                }
                ensure!(
                    outcome.packet == frame,
                    "{program:?}: another frame: {packet:02x?}"
                );
                self.delivered += 1;
            }
            (Verdict::Pass, None) => {
                ensure!(
                    outcome.packet == packet,
                    "{program:?}: changed: {packet:02x?}"
                );
            }
            (Verdict::Drop, None) => self.refused += 1,
            (verdict, right) => anyhow::bail!(
                "{program:?}: {verdict:?}, but right is {}: {packet:02x?}",
                right.is_some()
            ),
        }
        Ok(())
    }
}

/// Every drop has moved exactly one counter, every delivery its session's, and nothing else moved.
fn account(program: Program, outcomes: &[Outcome], before: &Counters, after: &Counters) -> Result {
    let count = |verdict| {
        outcomes
            .iter()
            .filter(|outcome| outcome.verdict == verdict)
            .count() as u64
    };
    let (mut passed, mut dropped) = (0, 0);
    for (name, number) in &after.reasons {
        let moved = number - before.reasons[name];
        if name.starts_with("passed_") {
            passed += moved;
        } else {
            dropped += moved;
        }
    }
    let received = |counters: &Counters| -> (u64, u64) {
        counters.sessions.values().fold((0, 0), |sum, one| {
            (sum.0 + one.rx_packets, sum.1 + one.rx_bytes)
        })
    };
    let (was, is) = (received(before), received(after));
    ensure!(
        dropped == count(Verdict::Drop),
        "{program:?}: {dropped} drops counted"
    );
    ensure!(
        passed <= count(Verdict::Pass),
        "{program:?}: {passed} passes counted"
    );
    ensure!(
        is.0 - was.0 == count(Verdict::Redirect),
        "{program:?}: deliveries"
    );
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn truncated_at_every_length() -> Result {
    let mut corpus = Corpus::new()?;
    for form in corpus.bench.forms.clone() {
        let packet = form.received(&frame(0x0800, 80)).bytes();
        for length in 14..=packet.len() {
            corpus.add(packet[..length].to_vec())?;
        }
        // With lengths in the headers that agree with where it was cut.
        let whole = form.received(&frame(0x86dd, 80));
        for length in 0..=whole.payload.len() {
            let mut cut = whole.clone();
            cut.payload.truncate(length);
            corpus.add(cut.bytes())?;
        }
    }
    corpus.check()?;
    ensure!(corpus.seen > 4000 && corpus.delivered > 0 && corpus.refused > 0);
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn every_byte_changed() -> Result {
    let mut corpus = Corpus::new()?;
    for form in corpus.bench.forms.clone() {
        let packet = form.received(&frame(0x0800, 30)).bytes();
        for at in 12..packet.len() - 16 {
            for change in [0x01, 0x10, 0x80, 0xff] {
                let mut packet = packet.clone();
                packet[at] ^= change;
                corpus.add(packet)?;
            }
        }
    }
    corpus.check()?;
    ensure!(corpus.seen > 5000 && corpus.delivered > 0 && corpus.refused > 0);
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn lying_and_oversized() -> Result {
    let mut corpus = Corpus::new()?;
    let mut random = Random(3931);
    for form in corpus.bench.forms.clone() {
        for length in [0, 1, 14, 46, 60, 1400, 3000] {
            for _ in 0..60 {
                let mut packet: Outer = form.received(&[]);
                packet.payload.extend(random.bytes(length));
                let most = 60_000;
                match random.below(4) {
                    0 => packet.ip_length_lie = random.below(most) as i32,
                    1 => packet.ip_length_lie = -(random.below(packet.payload.len() + 1) as i32),
                    2 => packet.udp_length_lie = random.below(most) as i32,
                    _ => packet.udp_length_lie = -(random.below(packet.payload.len() + 1) as i32),
                }
                packet.padding = random.below(3) * random.below(60);
                corpus.add(packet.bytes())?;
            }
        }
    }
    corpus.check()?;
    ensure!(corpus.seen > 9000 && corpus.delivered > 0 && corpus.refused > 0);
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn random_and_mutated() -> Result {
    const ROUNDS: usize = 30_000;
    let mut corpus = Corpus::new()?;
    let mut random = Random(5340);
    let forms = corpus.bench.forms.clone();
    for round in 0..ROUNDS {
        let packet = if round % 4 == 0 {
            let length = 14 + random.below(300);
            let mut packet = random.bytes(length);
            // Often something that looks like IP, or it would all end at the ethertype.
            let types = [[0x08, 0x00], [0x86, 0xdd], [0x81, 0x00]];
            packet[12..14].copy_from_slice(&types[random.below(3)]);
            if let Some(version) = packet.get_mut(14) {
                *version = [0x45, 0x46, 0x4f, 0x60, 0x44][random.below(5)];
            }
            packet
        } else {
            let form = &forms[random.below(forms.len())];
            let mut packet = form
                .received(&frame(0x0800, 14 + random.below(120)))
                .bytes();
            for _ in 0..=random.below(4) {
                let at = 12 + random.below(packet.len() - 12);
                packet[at] = random.next() as u8;
            }
            if random.below(3) == 0 {
                packet.truncate(14 + random.below(packet.len() - 14));
            }
            packet
        };
        corpus.add(packet)?;
    }
    corpus.check()?;
    ensure!(corpus.seen == ROUNDS && corpus.delivered > 0 && corpus.refused > 0);
    Ok(())
}
