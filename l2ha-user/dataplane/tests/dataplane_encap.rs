//! Encapsulation packet by packet, and that decapsulation undoes it.

mod kit;

use anyhow::{Context as _, ensure};
use dataplane::{
    Session, Sublayer,
    trial::{Program, Verdict},
};
use kit::{
    Result,
    bench::{Bench, DECAPS, Form, frame, runs_in_tc},
    net::endpoint,
    outer::{Random, ip_checksum},
};
use l2ha_ebpf::abi::{Dscp, OuterForm};

/// What the packet is after the outer Ethernet addresses, which the neighbour table provides.
fn behind_addresses(packet: &[u8]) -> &[u8] {
    &packet[12..]
}

/// Sends a frame through the programs that it passes on its way out, and returns the packet.
fn encapsulate(bench: &mut Bench, frame: &[u8]) -> Result<Vec<u8>> {
    let (outcome, counted, sent) = bench.run_counted(Program::Encap, frame)?;
    ensure!(counted.is_none(), "refused: {counted:?}");
    match outcome.verdict {
        Verdict::Redirect => {
            ensure!(sent, "not counted");
            return Ok(outcome.packet);
        }
        Verdict::Pass => ensure!(!sent, "counted before it is sent"),
        other => anyhow::bail!("{other:?}"),
    }
    let (outcome, counted, sent) = bench.run_counted(Program::Hidden, &outcome.packet)?;
    ensure!(
        outcome.verdict == Verdict::Redirect && counted.is_none() && sent,
        "at the hidden end: {:?}, counted {counted:?}, session's {sent}",
        outcome.verdict
    );
    Ok(outcome.packet)
}

/// The session at the other end.
fn mirrored(form: &Form) -> Session {
    let session = form.session.clone();
    let encapsulation = match session.encapsulation {
        dataplane::Encapsulation::Udp {
            local_port,
            remote_port,
        } => dataplane::Encapsulation::Udp {
            local_port: remote_port,
            remote_port: local_port,
        },
        ip @ dataplane::Encapsulation::Ip => ip,
    };
    Session {
        session_id: session.peer_session_id,
        peer_session_id: session.session_id,
        local: session.remote,
        remote: session.local,
        encapsulation,
        send_cookie: session.receive_cookie,
        receive_cookie: session.send_cookie,
        previous_cookie: None,
        visible_ifindex: session.visible_ifindex + 1000,
        hidden_ifindex: session.hidden_ifindex + 1000,
        ..session
    }
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn every_form_is_as_it_should_be_on_the_wire() -> Result {
    let mut bench = Bench::new()?;
    for form in bench.forms.clone() {
        bench.plane.set_session(&form.session)?;
        let cases = [
            (0x0800, 1390),
            (0x0800, 61),
            (0x86dd, 98),
            (0x0806, 42),
            (0x8100, 64),
            (0x88cc, 1000),
            (0x8847, 14),
        ];
        for (ethertype, length) in cases {
            let frame = frame(ethertype, length);
            let context = || format!("{length} bytes of {ethertype:04x}, {form:?}");
            let packet = encapsulate(&mut bench, &frame).with_context(context)?;
            let wanted = form.sent(&frame).bytes();
            ensure!(
                behind_addresses(&packet) == behind_addresses(&wanted),
                "{}: {packet:02x?} instead of {wanted:02x?}",
                context()
            );
            ensure!(packet[0] & 1 == 0, "outer destination is multicast");
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn frames_to_be_cut_stay_as_they_are_until_the_hidden_end() -> Result {
    let mut bench = Bench::new()?;
    for form in bench
        .forms
        .clone()
        .iter()
        .filter(|form| form.wants_cut_packets())
    {
        bench.plane.set_session(&form.session)?;
        let frame = frame(0x0800, 200);
        bench.passes(Program::Encap, &frame, None)?;
        // A super-packet as well: the veth cuts it.
        let outcome = bench.run_gso(Program::Encap, &frame, Some((50, 4)))?;
        ensure!(outcome.verdict == Verdict::Pass && outcome.packet == frame);
    }
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn decapsulation_undoes_encapsulation() -> Result {
    const FRAMES: usize = 20;
    const CHOICES: usize = 4;
    let mut bench = Bench::new()?;
    let mut random = Random(115);
    let endpoints: Vec<_> = bench.forms.iter().map(mirrored).collect();
    let endpoints: Vec<_> = endpoints.iter().map(endpoint).collect();
    bench.plane.set_endpoints(&endpoints)?;
    let forms = bench.forms.clone();
    for choice in 0..forms.len() * CHOICES {
        let mut form = forms[choice % forms.len()].clone();
        if choice >= forms.len() {
            form.session.form = any_form(&mut random, form.session.sublayer);
        }
        bench.plane.set_session(&mirrored(&form))?;
        bench.plane.set_session(&form.session)?;
        for at in 0..FRAMES {
            let length = 15 + random.below(1370);
            let mut frame = random.bytes(length);
            let types = [
                0x0800_u16,
                0x86dd,
                0x0806,
                0x8100,
                0x88a8,
                0x88cc,
                random.next() as u16,
            ];
            frame[12..14].copy_from_slice(&types[random.below(types.len())].to_be_bytes());
            if !runs_in_tc(&frame) {
                continue;
            }
            let packet = encapsulate(&mut bench, &frame)
                .with_context(|| format!("{form:?}: {frame:02x?}"))?;
            // What is numbered is delivered once.
            let programs = if form.session.form.receive_sequence {
                &DECAPS[at % 2..][..1]
            } else {
                &DECAPS[..]
            };
            for program in programs {
                bench
                    .delivers(*program, &packet, &frame)
                    .with_context(|| format!("{form:?}: {frame:02x?}"))?;
            }
        }
    }
    Ok(())
}

/// Outer headers of any kind.
fn any_form(random: &mut Random, sublayer: Sublayer) -> OuterForm {
    let mut coin = || random.below(2) == 0;
    let numbered = sublayer == Sublayer::Default && coin();
    OuterForm {
        udp_checksum: coin(),
        flow_ports: coin(),
        ecn: coin(),
        send_sequence: numbered,
        receive_sequence: numbered && coin(),
        dscp: if coin() {
            Dscp::Copy
        } else {
            Dscp::Fixed(random.below(64) as u8)
        },
        ttl: 1 + random.below(255) as u8,
    }
}

/// A frame with so many VLAN tags in line around an IP header with this traffic class.
fn classified(v6: bool, tags: usize, class: u8) -> Vec<u8> {
    let mut frame = frame(if v6 { 0x86dd } else { 0x0800 }, 120);
    if v6 {
        frame[14] = 0x60 | class >> 4;
        frame[15] = class << 4 | 0x0b;
    } else {
        frame[14] = 0x45;
        frame[15] = class;
        frame[24..26].fill(0);
        let checksum = ip_checksum(&frame[14..34]);
        frame[24..26].copy_from_slice(&checksum.to_be_bytes());
    }
    for tag in 0..tags {
        let tag = if tag == 0 {
            [0x81, 0, 0, 5]
        } else {
            [0x88, 0xa8, 0, 9]
        };
        frame.splice(12..12, tag);
    }
    frame
}

/// The traffic class of an outer packet.
fn outer_class(packet: &[u8]) -> u8 {
    if packet[14] >> 4 == 6 {
        packet[14] << 4 | packet[15] >> 4
    } else {
        packet[15]
    }
}

/// Sets the outer header's ECN field, as a router with a queue would.
fn mark(packet: &mut [u8], ecn: u8) {
    if packet[14] >> 4 == 6 {
        packet[15] = packet[15] & !0x30 | ecn << 4;
        return;
    }
    packet[15] = packet[15] & !3 | ecn;
    packet[24..26].fill(0);
    let checksum = ip_checksum(&packet[14..34]);
    packet[24..26].copy_from_slice(&checksum.to_be_bytes());
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn the_traffic_class_goes_out_and_congestion_comes_back() -> Result {
    const DSCP: u8 = 46 << 2;
    let mut bench = Bench::new()?;
    for (at, mut form) in bench.forms.clone().into_iter().enumerate() {
        form.session.form.ecn = true;
        form.session.form.dscp = if at % 2 == 0 {
            Dscp::Copy
        } else {
            Dscp::Fixed(10)
        };
        let mirror = mirrored(&form);
        bench.plane.set_endpoints(&[endpoint(&mirror)])?;
        bench.plane.set_session(&form.session)?;
        bench.plane.set_session(&mirror)?;
        for (v6, tags) in [
            (false, 0),
            (false, 1),
            (false, 2),
            (true, 0),
            (true, 1),
            (true, 2),
        ] {
            for inner in 0..4 {
                let frame = classified(v6, tags, DSCP | inner);
                let packet = encapsulate(&mut bench, &frame)?;
                let dscp = if at % 2 == 0 { DSCP } else { 10 << 2 };
                let context = format!("IPv6 {v6}, {tags} tags, {inner} inside, {form:?}");
                let class = outer_class(&packet);
                ensure!(class == dscp | inner, "{class:02x} outside: {context}");
                for outer in 0..4 {
                    let mut packet = packet.clone();
                    mark(&mut packet, outer);
                    // RFC 6040 4.2, figure 4; 1 is ECT(1), 2 is ECT(0), 3 is CE.
                    let ecn = match (inner, outer) {
                        (0, 3) => None,
                        (_, 3) => Some(3),
                        (2, 1) => Some(1),
                        (inner, _) => Some(inner),
                    };
                    for program in DECAPS {
                        match ecn {
                            None => bench.refuses(program, &packet, "congestion_lost"),
                            Some(ecn) => {
                                let wanted = classified(v6, tags, DSCP | ecn);
                                bench.delivers(program, &packet, &wanted)
                            }
                        }
                        .with_context(|| format!("{outer} outside: {context}"))?;
                    }
                }
            }
        }
        // What is not IP has no class, and nowhere to keep a mark.
        let arp = frame(0x0806, 60);
        let mut packet = encapsulate(&mut bench, &arp)?;
        let class = outer_class(&packet);
        ensure!(
            class == if at % 2 == 0 { 0 } else { 10 << 2 },
            "{class:02x}"
        );
        mark(&mut packet, 3);
        for program in DECAPS {
            bench.delivers(program, &packet, &arp)?;
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn what_cannot_be_sent_is_refused_and_counted() -> Result {
    let mut bench = Bench::new()?;
    for form in bench.forms.clone() {
        bench.plane.set_session(&form.session)?;
        // The outer packet may be as large as the underlay's MTU of 1500, and no larger.
        for ethertype in [0x0800, 0x88cc] {
            let overhead = form.sent(&[]).bytes().len() - 14;
            let fits = frame(ethertype, 1500 - overhead);
            encapsulate(&mut bench, &fits)?;
            let large = frame(ethertype, 1500 - overhead + 1);
            let first = bench.run(Program::Encap, &large)?;
            if first.verdict == Verdict::Pass {
                bench.refuses(Program::Hidden, &first.packet, "too_big")?;
            } else {
                bench.refuses(Program::Encap, &large, "too_big")?;
            }
        }
        // To a peer that no route leads to.
        let lost = Session {
            next_hop: None,
            ..form.session.clone()
        };
        bench.plane.set_session(&lost)?;
        for ethertype in [0x0800, 0x88cc] {
            let frame = frame(ethertype, 100);
            let first = bench.run(Program::Encap, &frame)?;
            if first.verdict == Verdict::Pass {
                bench.refuses(Program::Hidden, &first.packet, "no_route")?;
            } else {
                bench.refuses(Program::Encap, &frame, "no_route")?;
            }
        }
        bench.plane.set_session(&form.session)?;
        // What is at the hidden end without having been encapsulated.
        bench.refuses(Program::Hidden, &frame(0x0806, 42), "stray_frame")?;
        if !form.wants_cut_packets() {
            bench.refuses(Program::Hidden, &frame(0x0800, 100), "stray_frame")?;
        }
        // A super-packet of no kind that the kernel can cut inside a pseudowire.
        for (program, ethertype) in [
            (Program::Encap, 0x8100),
            (
                if form.wants_cut_packets() {
                    Program::Hidden
                } else {
                    Program::Encap
                },
                0x0800,
            ),
        ] {
            let before = bench.plane.counters()?;
            let outcome = bench.run_gso(program, &frame(ethertype, 500), Some((100, 5)))?;
            let after = bench.plane.counters()?;
            ensure!(
                outcome.verdict == Verdict::Drop,
                "{form:?}: {:?}",
                outcome.verdict
            );
            ensure!(after.reasons["gso_unsupported"] == before.reasons["gso_unsupported"] + 1);
            ensure!(after.sessions == before.sessions);
        }
    }
    // An interface without a session.
    for form in bench.forms.clone() {
        bench
            .plane
            .remove_session(form.session.session_id, form.session.visible_ifindex)?;
    }
    for program in [Program::Encap, Program::Hidden] {
        bench.refuses(program, &frame(0x0800, 100), "unknown_interface")?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn numbers_are_sent_without_gaps_and_judged() -> Result {
    let mut bench = Bench::new()?;
    let sublayers = bench.forms.clone().into_iter();
    let numbered = sublayers.filter(|form| form.session.sublayer == Sublayer::Default);
    for mut form in numbered {
        form.session.form.send_sequence = true;
        let mut mirror = mirrored(&form);
        mirror.form.receive_sequence = true;
        bench.plane.set_endpoints(&[endpoint(&mirror)])?;
        bench.plane.set_session(&form.session)?;
        bench.plane.set_session(&mirror)?;
        let frame = frame(0x0800, 300);
        let packets: Vec<Vec<u8>> = (0..12)
            .map(|_| encapsulate(&mut bench, &frame))
            .collect::<Result<_>>()
            .with_context(|| format!("{form:?}"))?;
        let at = packets[0].len() - frame.len() - 4;
        let mut first = None;
        for (packet, number) in packets.iter().zip(0_u32..) {
            let word = u32::from_be_bytes(packet[at..at + 4].try_into()?);
            let first = *first.get_or_insert(word & 0xff_ffff);
            ensure!(word == 0x4000_0000 | (first + number), "{word:08x}");
        }
        for (program, from) in DECAPS.into_iter().zip([0, 6]) {
            let packets = &packets[from..from + 6];
            bench.delivers(program, &packets[0], &frame)?;
            bench.delivers(program, &packets[1], &frame)?;
            bench.refuses(program, &packets[1], "sequence_old")?;
            bench.refuses(program, &packets[0], "sequence_old")?;
            // 2 is missing.
            let gaps = bench.plane.counters()?.reasons["sequence_gap"];
            let outcome = bench.run(program, &packets[3])?;
            ensure!(outcome.verdict != Verdict::Drop, "{:?}", outcome.verdict);
            ensure!(bench.plane.counters()?.reasons["sequence_gap"] == gaps + 1);
            bench.refuses(program, &packets[2], "sequence_old")?;
            bench.delivers(program, &packets[4], &frame)?;
            let mut unnumbered = packets[5].clone();
            unnumbered[at] &= !0x40;
            bench.refuses(program, &unnumbered, "sequence_missing")?;
            bench.delivers(program, &packets[5], &frame)?;
        }
    }
    Ok(())
}
