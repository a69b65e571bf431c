//! The data plane between two namespaces: whatever is Ethernet crosses it unchanged.

mod kit;

use anyhow::{Context as _, ensure};
use dataplane::{AttachMode, Hook, Session, Sublayer};
use kit::{
    Result,
    net::{Pair, UNDERLAY, VISIBLE, Wire},
    outer::Random,
    raw::Raw,
    vlan::tag_everything,
};
use l2ha_ebpf::abi::OuterForm;

/// Every way to carry a pseudowire.
fn wires() -> Vec<Wire> {
    let mut wires = Vec::new();
    for mode in [AttachMode::Xdp, AttachMode::Tc] {
        for v6 in [false, true] {
            for udp in [true, false] {
                wires.push(Wire {
                    v6,
                    udp,
                    sublayer: if v6 == udp {
                        Sublayer::None
                    } else {
                        Sublayer::Default
                    },
                    mode,
                    ..Wire::default()
                });
                if v6 != udp {
                    wires.push(Wire {
                        v6,
                        udp,
                        sublayer: Sublayer::Default,
                        mode,
                        form: OuterForm {
                            send_sequence: true,
                            receive_sequence: true,
                            ..OuterForm::default()
                        },
                        ..Wire::default()
                    });
                }
            }
        }
    }
    wires
}

/// Pings from the first host; what both counted is in the error.
fn ping(pair: &Pair, words: &[&str]) -> Result {
    let mut command = vec!["ping", "-c", "3", "-i", "0.05", "-W", "1"];
    command.extend_from_slice(words);
    let (status, text) = pair.a.ns.try_run(&command)?;
    ensure!(status.success(), "{}: {text}", pair.state()?);
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn pings_over_every_wire() -> Result {
    for wire in wires() {
        let pair = Pair::new(wire).with_context(|| format!("{wire:?}"))?;
        // With ARP and IPv6 neighbour discovery before.
        ping(&pair, &["192.0.2.2"])?;
        ping(&pair, &["fd00:2::2"])?;
        let full = (wire.mtu() - 28).to_string();
        ping(&pair, &["-M", "do", "-s", &full, "192.0.2.2"])?;
        // In fragments of the inner packet.
        ping(&pair, &["-s", "5000", "192.0.2.2"])?;
        // To all, IPv4 and IPv6.
        pair.b
            .ns
            .sysctl("net/ipv4/icmp_echo_ignore_broadcasts", "0")?;
        ping(&pair, &["-I", VISIBLE, "224.0.0.1"])?;
        ping(&pair, &["-b", "192.0.2.255"])?;
        ping(&pair, &[&format!("ff02::1%{VISIBLE}")])?;
        pair.nothing_refused()?;
        let (sent, received) = (pair.a.traffic()?, pair.b.traffic()?);
        ensure!(
            sent.tx_packets >= received.rx_packets && received.rx_packets > 15,
            "{}",
            pair.state()?
        );
    }
    Ok(())
}

/// Packets go to the neighbour that is told, whatever routes there are; over IPv4 it may be one of IPv6.
#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn outer_packets_need_no_route() -> Result {
    for (v6, next_hop) in [(false, "10.9.0.2"), (false, "fd09::2"), (true, "fd09::2")] {
        let mut pair = Pair::new(Wire {
            v6,
            mode: AttachMode::Tc,
            ..Wire::default()
        })?;
        let family = if v6 { "-6" } else { "-4" };
        pair.a
            .ns
            .run(["ip", family, "route", "flush", "dev", UNDERLAY])?;
        let session = Session {
            next_hop: Some(next_hop.parse()?),
            ..pair.a.session.clone()
        };
        pair.a.plane.set_session(&session)?;
        ping(&pair, &["192.0.2.2"]).with_context(|| next_hop.to_owned())?;
        pair.nothing_refused()?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn random_frames_arrive_as_they_were_sent() -> Result {
    let mut random = Random(4719);
    for wire in wires() {
        let pair = Pair::new(wire)?;
        let (from, to) = (
            Raw::open(&pair.a.ns, VISIBLE)?,
            Raw::open(&pair.b.ns, VISIBLE)?,
        );
        for round in 0..60_u32 {
            // Less than 20 bytes behind an Ethernet header are no IP. What is shorter than the outer
            // IPv6 header cannot always be stripped in tc before Linux 6.3, and is counted then.
            let least = match wire.mode {
                AttachMode::Tc if wire.v6 && is_before_6_3()? => 54,
                _ => 34,
            };
            let length = least + random.below(usize::from(wire.mtu()) - least + 14);
            let mut frame = random.bytes(length);
            // To everybody, to a group, to somebody else, to the other end.
            let destinations = [[0xff; 6], [1, 0x80, 0xc2, 0, 0, 0x0e], [2, 1, 1, 1, 1, 1]];
            if let Some(destination) = destinations.get(random.below(4)) {
                frame[..6].copy_from_slice(destination);
            }
            frame[6] &= 0xfe;
            // ARP is answered and IPv6 may be; what is random in them is not.
            let types = [0x0800_u16, 0x86dd, 0x88cc, 0x8847, 0x888e, 0x9000, 0x0842];
            frame[12..14].copy_from_slice(&types[random.below(types.len())].to_be_bytes());
            frame[14..18].copy_from_slice(b"l2ha");
            frame[18..22].copy_from_slice(&round.to_be_bytes());
            from.send(&frame)?;
            let mut arrived = to
                .receive(|frame| frame.get(14..18) == Some(b"l2ha"))
                .with_context(|| format!("{}: {frame:02x?}", pair.state().unwrap_or_default()))?;
            if wire.mode == AttachMode::Tc && frame.len() < 60 && arrived.len() == 60 {
                // The kernel cannot always cut the padding off that it needed in between.
                ensure!(arrived[frame.len()..].iter().all(|byte| *byte == 0));
                arrived.truncate(frame.len());
            }
            ensure!(
                arrived == frame,
                "{wire:?}: {arrived:02x?} instead of {frame:02x?}"
            );
        }
        pair.nothing_refused()?;
    }
    Ok(())
}

fn is_before_6_3() -> Result<bool> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut numbers = release.split(['.', '-']).map(str::parse::<u32>);
    let mut next = || numbers.next().context("no release")?.context("no number");
    Ok((next()?, next()?) < (6, 3))
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn vlan_tags_cross_in_line() -> Result {
    for wire in wires() {
        let pair = Pair::new(wire)?;
        for side in [&pair.a, &pair.b] {
            // Room for the tag: the virtual interface's MTU does not count it.
            let mtu = (wire.mtu() - 4).to_string();
            side.ns.run(["ip", "link", "set", VISIBLE, "mtu", &mtu])?;
        }
        let full = (wire.mtu() - 4 - 28).to_string();
        // What one host tags, the other sees tagged, and does not take.
        tag_everything(&pair.a.ns, &pair.pins.dir("a"))?;
        let tagged = Raw::open(&pair.b.ns, VISIBLE)?;
        let (status, _) = pair
            .a
            .ns
            .try_run(["ping", "-c", "1", "-W", "0.3", "192.0.2.2"])?;
        ensure!(!status.success(), "{wire:?}: the tag got lost");
        tagged
            .receive(|frame| frame[12..14] == [0x08, 0x06])
            .with_context(|| format!("{}: no ARP", pair.state().unwrap_or_default()))?;
        tag_everything(&pair.b.ns, &pair.pins.dir("b"))?;
        ping(&pair, &["-M", "do", "-s", &full, "192.0.2.2"])?;
        ping(&pair, &["fd00:2::2"])?;
        pair.nothing_refused()?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn jumbo_frames_take_tc_where_xdp_cannot() -> Result {
    let wire = Wire {
        mode: AttachMode::Auto,
        underlay_mtu: 9000,
        ..Wire::default()
    };
    let pair = Pair::new(wire)?;
    for side in [&pair.a, &pair.b] {
        ensure!(side.attached.hook == Hook::Tc, "{:?}", side.attached);
        let why = side.attached.why_not_xdp.as_deref().unwrap_or_default();
        ensure!(why.contains("smaller MTU"), "{why}");
    }
    let full = (wire.mtu() - 28).to_string();
    ping(&pair, &["-M", "do", "-s", &full, "192.0.2.2"])?;
    ping(&pair, &["fd00:2::2"])?;
    pair.nothing_refused()
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_frame_too_large_for_the_underlay_is_counted() -> Result {
    for wire in wires() {
        let pair = Pair::new(wire)?;
        ping(&pair, &["192.0.2.2"])?;
        pair.a
            .ns
            .run(["ip", "link", "set", VISIBLE, "mtu", "1500"])?;
        let (status, _) = pair.a.ns.try_run([
            "ping",
            "-c",
            "2",
            "-i",
            "0.05",
            "-W",
            "0.2",
            "-s",
            "1472",
            "192.0.2.2",
        ])?;
        ensure!(!status.success(), "{wire:?}: it cannot have fitted");
        let counted = pair.a.reason("too_big")?;
        // ping tries again what the kernel says it could not send.
        ensure!(counted >= 2, "{wire:?}: {counted} counted");
    }
    Ok(())
}
