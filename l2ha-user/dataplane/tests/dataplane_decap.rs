//! Decapsulation packet by packet: what is delivered, what is refused and why, what goes on.

mod kit;

use std::net::IpAddr;

use anyhow::Context as _;
use dataplane::trial::{Program, Verdict};
use kit::{
    Result,
    bench::{Bench, DECAPS, Form, address, frame},
};

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn every_form_is_delivered() -> Result {
    let mut bench = Bench::new()?;
    for form in bench.forms.clone() {
        for (ethertype, length) in [
            (0x0800, 1400),
            (0x86dd, 98),
            (0x0806, 42),
            (0x88cc, 60),
            (0x0800, 15),
        ] {
            let frame = frame(ethertype, length);
            let packet = form.received(&frame);
            for program in DECAPS {
                bench
                    .delivers(program, &packet.bytes(), &frame)
                    .with_context(|| format!("{length} bytes of {ethertype:04x}, {form:?}"))?;
            }
            // As it comes from Ethernet, which pads it.
            let mut padded = packet;
            padded.padding = 46;
            for program in DECAPS {
                bench
                    .delivers(program, &padded.bytes(), &frame)
                    .with_context(|| format!("{length} bytes, padded, {form:?}"))?;
            }
        }
        // A frame without payload: XDP keeps it, the tc redirect wants Ethernet's minimum.
        let empty = frame(0x88cc, 14);
        let packet = form.received(&empty).bytes();
        bench.delivers(Program::Xdp, &packet, &empty)?;
        let mut filled = empty.clone();
        filled.resize(60, 0);
        bench.delivers(Program::Decap, &packet, &filled)?;
    }
    Ok(())
}

/// Bytes that a Linux kernel's `l2tp_eth` sent (facts, section 2), around the frame below.
#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn what_a_kernel_peer_sends_is_delivered() -> Result {
    let mut bench = Bench::new()?;
    let frame = frame(0x0800, 84);
    let cases: [(usize, &[u8]); 4] = [
        // UDP, IPv4, no cookie, default sublayer.
        (1, b"\x00\x03\x00\x00\x01\x00\x00\x01\x00\x00\x00\x00"),
        // The same, sequenced: S bit and Ns.
        (1, b"\x00\x03\x00\x00\x01\x00\x00\x01\x40\x00\x00\x2a"),
        // UDP, IPv4, cookie of 4 bytes, default sublayer.
        (
            3,
            b"\x00\x03\x00\x00\x01\x00\x00\x03\xc1\xc2\xc3\xc4\x00\x00\x00\x00",
        ),
        // IP protocol 115, IPv4, cookie of 8 bytes, no sublayer.
        (10, b"\x01\x00\x00\x0a\xc1\xc2\xc3\xc4\xc5\xc6\xc7\xc8"),
    ];
    for (form, header) in cases {
        let mut packet = bench.forms[form].received(&[]);
        // A kernel peer does not set DF.
        packet.fragment = 0;
        packet.payload = [header, &frame].concat();
        for program in DECAPS {
            bench
                .delivers(program, &packet.bytes(), &frame)
                .with_context(|| format!("{header:02x?}"))?;
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn ip_options_and_ignored_bits_do_no_harm() -> Result {
    let mut bench = Bench::new()?;
    let frame = frame(0x86dd, 80);
    for form in bench.forms.clone() {
        let packet = form.received(&frame);
        if form.session.local.is_ipv4() {
            for words in 1..=10 {
                let mut packet = packet.clone();
                packet.options = vec![1; 4 * words];
                for program in DECAPS {
                    bench.delivers(program, &packet.bytes(), &frame)?;
                }
            }
        }
        if form.is_udp() {
            // All flag bits but T, all reserved bits and the high half of the version byte.
            let mut packet = packet.clone();
            packet.payload[..4].copy_from_slice(&[0x7f, 0xf3, 0xff, 0xff]);
            for program in DECAPS {
                bench.delivers(program, &packet.bytes(), &frame)?;
            }
        }
    }
    Ok(())
}

/// What is wrong with a packet, and the counter it must move.
fn wrong(form: &Form) -> Vec<(&'static str, Vec<u8>)> {
    let v6 = form.session.local.is_ipv6();
    let good = form.received(&frame(0x0800, 100));
    let mut wrong = Vec::new();
    if v6 && form.is_udp() {
        let mut packet = good.bytes();
        packet[60..62].fill(0);
        wrong.push(("missing_checksum", packet));
    }
    let mut add = |reason, change: &dyn Fn(&mut kit::outer::Outer)| {
        let mut packet = good.clone();
        change(&mut packet);
        wrong.push((reason, packet.bytes()));
    };
    add("wrong_source_address", &|packet| {
        packet.source = address(v6, 3)
    });
    let id = form.cookie_start() - 4;
    add("unknown_session", &|packet| packet.payload[id] ^= 1);
    // A session of another carrier, which has another endpoint.
    let other = if form.is_udp() { 6 } else { 0 } + if v6 { 12 } else { 0 };
    add("unknown_session", &|packet| {
        packet.payload[id..id + 4].copy_from_slice(&(0x0100_0000_u32 + other).to_be_bytes());
    });
    for at in form.cookie_start()..form.cookie_start() + form.cookies.0.len() {
        add("wrong_cookie", &|packet| packet.payload[at] ^= 0x10);
    }
    for length in 0..form.cookie_start() {
        // Without padding, and with padding that must not be taken for a header.
        for padding in [0, 46] {
            add("short_header", &|packet| {
                packet.payload.truncate(length);
                packet.padding = padding;
            });
        }
    }
    for length in form.cookie_start()..form.cookie_start() + form.cookies.0.len() {
        add("short_header", &|packet| {
            packet.payload.truncate(length);
            packet.padding = 46;
        });
    }
    for inner in 0..14 {
        add("short_frame", &|packet| {
            packet.payload.truncate(form.header_length() + inner);
            packet.padding = 46;
        });
    }
    add("bad_ip_length", &|packet| packet.ip_length_lie = 1);
    add("bad_ip_length", &|packet| packet.ip_length_lie = 60_000);
    if form.is_udp() {
        add("wrong_source_port", &|packet| {
            packet.ports = packet.ports.map(|(source, to)| (source + 1, to));
        });
        for version in [0, 1, 2, 4, 15] {
            add("bad_version", &|packet| packet.payload[1] = version);
        }
        for lie in [-1, 1, -100, 60_000] {
            add("bad_udp_length", &|packet| packet.udp_length_lie = lie);
        }
        add("bad_udp_length", &|packet| packet.ip_length_lie = -1);
    }
    if !v6 {
        for at in [15, 18, 22, 24, 25] {
            // TOS, identification, TTL, the checksum itself.
            let mut packet = good.bytes();
            packet[at] ^= 0x04;
            wrong.push(("bad_ip_checksum", packet));
        }
        let mut packet = good.clone();
        packet.options = vec![1; 40];
        let mut packet = packet.bytes();
        packet[73] ^= 0x80;
        wrong.push(("bad_ip_checksum", packet));
    }
    wrong
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn what_is_ours_and_wrong_is_refused_and_counted() -> Result {
    let mut bench = Bench::new()?;
    for form in bench.forms.clone() {
        for (reason, packet) in wrong(&form) {
            for program in DECAPS {
                bench
                    .refuses(program, &packet, reason)
                    .with_context(|| format!("{form:?}: {packet:02x?}"))?;
            }
        }
        // Each under the session it names, whose cookie or addresses were wrong.
        let counters = bench.plane.counters()?;
        let refused = counters.refused.get(&form.session.session_id);
        for reason in ["wrong_cookie", "wrong_source_address", "short_frame"] {
            let expected = wrong(&form).iter().filter(|(of, _)| *of == reason).count() as u64;
            let counted = refused.and_then(|refused| refused.get(reason));
            let counted = counted.copied().unwrap_or(0);
            anyhow::ensure!(
                counted == expected * DECAPS.len() as u64,
                "{form:?}: {counted} {reason}, of {expected} sent twice"
            );
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn control_messages_and_fragments_go_on_counted() -> Result {
    let mut bench = Bench::new()?;
    for form in bench.forms.clone() {
        let good = form.received(&frame(0x0800, 100));
        let mut control = good.clone();
        if form.is_udp() {
            control.payload[0] |= 0x80;
        } else {
            control.payload[..4].copy_from_slice(&[0; 4]);
        }
        for program in DECAPS {
            bench.passes(program, &control.bytes(), Some("passed_control"))?;
        }
        let fragments = if form.session.local.is_ipv4() {
            // The first, one in the middle, the last; the two later ones show no port.
            [0x2000, 0x2010, 0x0020]
                .map(|fragment| {
                    let mut packet = good.clone();
                    packet.fragment = fragment;
                    packet.bytes()
                })
                .to_vec()
        } else {
            let mut packet = good.bytes();
            let protocol = std::mem::replace(&mut packet[20], 44);
            packet.splice(54..54, [protocol, 0, 0, 1, 0, 0, 0, 1]);
            vec![packet]
        };
        for packet in fragments {
            for program in DECAPS {
                bench.passes(program, &packet, Some("passed_fragment"))?;
            }
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn what_is_not_ours_goes_on_uncounted() -> Result {
    let mut bench = Bench::new()?;
    let inner = frame(0x0800, 100);
    for form in bench.forms.clone() {
        let good = form.received(&inner);
        let v6 = form.session.local.is_ipv6();
        let mut foreign = Vec::new();
        let mut add = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut packet = good.bytes();
            change(&mut packet);
            foreign.push(packet);
        };
        // ARP, a VLAN tag in line, a bad IP version.
        add(&|packet| packet[12..14].copy_from_slice(&[0x08, 0x06]));
        add(&|packet| drop(packet.splice(12..12, [0x81, 0x00, 0x00, 0x05])));
        add(&|packet| packet[14] ^= 0xf0);
        // TCP, ICMP; for IPv6 an extension header as well.
        let protocol = if v6 { 20 } else { 23 };
        for other in [6, 1, 58, 60, 0] {
            add(&|packet| packet[protocol] = other);
        }
        if !v6 {
            // A header shorter than the shortest, and a total length below the header's.
            add(&|packet| packet[14] = 0x44);
            add(&|packet| packet[16..18].copy_from_slice(&[0, 19]));
        }
        let mut elsewhere = good.clone();
        elsewhere.destination = address(v6, 77);
        foreign.push(elsewhere.bytes());
        if form.is_udp() {
            let mut port = good.clone();
            port.ports = port.ports.map(|(from, to)| (from, to + 1));
            foreign.push(port.bytes());
            // A name server's answer on another port, whatever its lengths say.
            let mut port = good.clone();
            port.ports = Some((53, 40_000));
            port.udp_length_lie = -3;
            foreign.push(port.bytes());
        }
        // The IPv4 endpoint's address as an IPv6 one is another address.
        if let IpAddr::V4(local) = form.session.local {
            let mut mapped = good.clone();
            mapped.source = IpAddr::V6("10.9.0.2".parse::<std::net::Ipv4Addr>()?.to_ipv6_mapped());
            mapped.destination = IpAddr::V6(local.to_ipv6_mapped());
            foreign.push(mapped.bytes());
        }
        for packet in foreign {
            for program in DECAPS {
                bench
                    .passes(program, &packet, None)
                    .with_context(|| format!("{form:?}: {packet:02x?}"))?;
            }
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_removed_session_is_unknown() -> Result {
    let mut bench = Bench::new()?;
    let frame = frame(0x0800, 100);
    let form = bench.forms[0].clone();
    let packet = form.received(&frame).bytes();
    bench
        .plane
        .remove_session(form.session.session_id, form.session.visible_ifindex + 1)?;
    bench.delivers(Program::Xdp, &packet, &frame)?;
    bench
        .plane
        .remove_session(form.session.session_id, form.session.visible_ifindex)?;
    for program in DECAPS {
        bench.refuses(program, &packet, "unknown_session")?;
    }
    bench.plane.set_endpoints(&[])?;
    for program in DECAPS {
        let (outcome, counted, _) = bench.run_counted(program, &packet)?;
        assert_eq!((outcome.verdict, counted), (Verdict::Pass, None));
    }
    bench.plane.set_session(&form.session)?;
    bench.delivers(Program::Decap, &packet, &frame)
}
