//! The judge judged: tshark, as the lab asks it, passes a good packet and finds each fault.

use std::{fs, net::Ipv6Addr, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{Framing, Lab, check};

const COOKIE: [u8; 8] = [0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88];

/// What is wrong with a packet.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    OspfChecksum,
    OuterChecksum,
    InnerLength,
    CutInside,
    SessionOnly,
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn tshark_passes_the_good_and_finds_the_bad() -> Result<()> {
    Lab::run("tshark", |lab| {
        for over_ip in [false, true] {
            for fault in [
                Fault::OspfChecksum,
                Fault::OuterChecksum,
                Fault::InnerLength,
                Fault::CutInside,
                Fault::SessionOnly,
            ] {
                let file = write(lab, &[packet(over_ip, Fault::None), packet(over_ip, fault)])?;
                let error = check(&file, Framing::default(), "").err();
                let error = error.with_context(|| format!("fault {} passed", fault as u8))?;
                lab.say(format_args!(
                    "found: {}",
                    format!("{error:#}").replace('\n', " ")
                ));
            }
            let file = write(lab, &[packet(over_ip, Fault::None)])?;
            let seen = check(&file, Framing::default(), "")?;
            ensure!(seen.frames == 1 && seen.ospf_checked == 1, "{seen:?}");
            // The same packet read with another cookie length is no Ethernet frame any more.
            for (cookie, sublayer) in [(0, false), (4, false), (8, true)] {
                let framing = Framing {
                    cookie,
                    sublayer,
                    ..Framing::default()
                };
                ensure!(
                    check(&file, framing, "").is_err(),
                    "passed as cookie {cookie}, sublayer {sublayer}"
                );
            }
        }
        Ok(())
    })
}

fn write(lab: &Lab, packets: &[Vec<u8>]) -> Result<PathBuf> {
    let file = lab.dir().join("judged.pcap");
    // pcap, little-endian, version 2.4, link type Ethernet.
    let mut bytes = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0];
    for word in [0_u32, 0, 65535, 1] {
        bytes.extend(word.to_le_bytes());
    }
    for packet in packets {
        let length = u32::try_from(packet.len())?;
        for word in [0, 0, length, length] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(packet);
    }
    fs::write(&file, bytes)?;
    Ok(file)
}

/// An OSPFv3 Hello in an Ethernet frame in L2TPv3.
fn packet(over_ip: bool, fault: Fault) -> Vec<u8> {
    let mut frame = vec![0x33, 0x33, 0, 0, 0, 5, 2, 0, 0, 0, 0, 1, 0x86, 0xdd];
    frame.extend(inner(fault));
    if fault == Fault::CutInside {
        frame.truncate(14 + 40 + 16);
    }
    if fault == Fault::SessionOnly {
        frame.clear();
    }
    let mut l2tp = 1001_u32.to_be_bytes().to_vec();
    l2tp.extend(COOKIE);
    l2tp.extend(frame);
    let (protocol, payload) = if over_ip {
        (115, l2tp)
    } else {
        let length = u16::try_from(8 + 4 + l2tp.len()).unwrap_or(0);
        let mut udp = Vec::new();
        for word in [1701, 1701, length, 0, 3, 0] {
            udp.extend(word.to_be_bytes());
        }
        udp.extend(l2tp);
        (17, udp)
    };
    let length = u16::try_from(20 + payload.len()).unwrap_or(0);
    let mut ip = vec![0x45, 0];
    ip.extend(length.to_be_bytes());
    ip.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
    ip.extend([10, 77, 0, 1, 10, 77, 0, 2]);
    let mut sum = checksum(&ip);
    if fault == Fault::OuterChecksum {
        sum ^= 1;
    }
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    let mut packet = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    packet.extend(ip);
    packet.extend(payload);
    packet
}

fn inner(fault: Fault) -> Vec<u8> {
    let source = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).octets();
    let target = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 5).octets();
    // Header (RFC 5340 A.3.1) and Hello (A.3.2) without neighbours.
    let mut ospf = vec![3, 1, 0, 36, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    ospf.extend([0, 0, 0, 3, 1, 0, 0, 0x13, 0, 1, 0, 3]);
    ospf.extend([0; 8]);
    if fault == Fault::InnerLength {
        ospf[3] = 60;
    }
    let mut pseudo = [source, target].concat();
    pseudo.extend([0, 0, 0, 36, 0, 0, 0, 89]);
    pseudo.extend(&ospf);
    let mut sum = checksum(&pseudo);
    if fault == Fault::OspfChecksum {
        sum ^= 1;
    }
    ospf[12..14].copy_from_slice(&sum.to_be_bytes());
    let mut packet = vec![0x60, 0, 0, 0, 0, 36, 89, 1];
    packet.extend(source);
    packet.extend(target);
    packet.extend(ospf);
    packet
}

/// The Internet checksum (RFC 1071) of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(0)
}
