//! What FRR and BIRD send, read and written again: not a byte may differ.
//!
//! The captures are in tests/captures/routing; its README says how they were made.

use std::{
    collections::BTreeMap,
    fs,
    net::Ipv6Addr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use l2ha_lab::{BFD_KEY, packets};
use ospfv3::{
    Algorithm, AuthKey,
    wire::{Lsa, MAX_AGE, Packet, PacketBody, Sections, Trailer},
};

/// `LINKTYPE_LINUX_SLL2`, and the bytes before the IPv6 header in it.
const SLL2: u32 = 276;
const SLL2_LEN: usize = 20;
const IPV6_LEN: usize = 40;
const OSPF: u8 = 89;
const UDP: u8 = 17;
const UDP_LEN: usize = 8;
/// Where the checksum is in an OSPF packet.
const CHECKSUM: std::ops::Range<usize> = 12..14;
/// What the lab signs OSPF with.
const SECRET: &[u8] = b"a-key-for-the-lab";

/// An IPv6 packet's payload and its addresses.
struct Heard {
    protocol: u8,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    payload: Vec<u8>,
}

fn files() -> Result<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures/routing");
    let entries = fs::read_dir(folder)?.collect::<std::io::Result<Vec<_>>>()?;
    let mut files: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|it| it == "pcap"));
    files.sort();
    Ok(files)
}

fn heard(file: &Path) -> Result<Vec<Heard>> {
    let (link_type, packets) = packets(file)?;
    ensure!(link_type == SLL2, "link type {link_type}");
    let read = |packet: &Vec<u8>| {
        let ip = packet.get(SLL2_LEN..).context("short")?;
        let (ip, payload) = ip.split_at_checked(IPV6_LEN).context("short")?;
        let length = usize::from(u16::from_be_bytes([ip[4], ip[5]]));
        let address =
            |at: usize| -> Result<Ipv6Addr> { Ok(<[u8; 16]>::try_from(&ip[at..at + 16])?.into()) };
        Ok(Heard {
            protocol: ip[6],
            source: address(8)?,
            destination: address(24)?,
            payload: payload.get(..length).context("cut")?.to_vec(),
        })
    };
    packets.iter().map(read).collect()
}

/// What was seen, and how often: a capture without it would prove nothing about it.
type Seen = BTreeMap<String, usize>;

fn see(seen: &mut Seen, what: impl Into<String>) {
    *seen.entry(what.into()).or_default() += 1;
}

/// An OSPF packet, and every LSA in it, read and written again.
fn ospf_again(packet: &Heard, seen: &mut Seen) -> Result<()> {
    let Heard {
        source,
        destination,
        payload,
        ..
    } = packet;
    let sections = Sections::find(payload)?;
    ensure!(sections.signalling.is_empty(), "link-local signalling");
    let signed = !sections.rest.is_empty();
    let read = if signed {
        Packet::decode_authenticated(sections.packet)?
    } else {
        Packet::decode(payload, *source, *destination)?
    };
    let mut again = read.encode(*source, *destination);
    if signed {
        // RFC 7166 4.2: it is not computed.
        again[CHECKSUM].copy_from_slice(&sections.packet[CHECKSUM]);
        let trailer = Trailer::decode(sections.rest)?;
        let size = trailer.data.len();
        let algorithms = [
            Algorithm::HmacSha1,
            Algorithm::HmacSha256,
            Algorithm::HmacSha384,
            Algorithm::HmacSha512,
        ];
        let algorithm = algorithms.into_iter().find(|it| it.size() == size);
        let key = AuthKey::new(
            trailer.sa_id,
            algorithm.context("the digest's size")?,
            SECRET,
        );
        let appended = key
            .verify(*source, payload, &trailer)
            .context("the digest")?;
        key.sign(appended, trailer.sequence, *source, &mut again);
        see(seen, format!("signed, {size} bytes"));
    }
    ensure!(again == *payload, "{payload:02x?} became {again:02x?}");
    see(seen, format!("{:?}", read.body.packet_type()));
    if let PacketBody::LinkStateUpdate(lsas) = &read.body {
        for lsa in lsas {
            let lsa = lsa.as_ref().ok().context("a bad LSA")?;
            let header = lsa.header();
            let again = Lsa::build(header.key, header.sequence, lsa.body()).context("too long")?;
            ensure!(
                again.body_bytes() == lsa.body_bytes(),
                "{:?} became {:02x?}",
                lsa.body(),
                again.body_bytes()
            );
            ensure!(again.header().checksum == header.checksum, "{header:?}");
            see(seen, format!("LSA {:#06x}", header.key.ty.0));
            if header.age == MAX_AGE {
                see(seen, "a flushed LSA");
            }
        }
    }
    Ok(())
}

fn bfd_again(payload: &[u8], seen: &mut Seen) -> Result<()> {
    let bytes = payload.get(UDP_LEN..).context("short")?;
    let Some(section) = bytes.get(bfd::PACKET_LENGTH..).filter(|it| !it.is_empty()) else {
        let packet = bfd::Packet::decode(bytes)?;
        ensure!(packet.encode() == bytes, "{bytes:02x?}");
        see(seen, format!("BFD {:?}", packet.state));
        return Ok(());
    };
    let algorithm = match section[0] {
        1 => bfd::Algorithm::Simple,
        2 => bfd::Algorithm::KeyedMd5,
        3 => bfd::Algorithm::MeticulousKeyedMd5,
        4 => bfd::Algorithm::KeyedSha1,
        5 => bfd::Algorithm::MeticulousKeyedSha1,
        other => bail!("authentication of type {other}"),
    };
    let key = bfd::Key {
        id: BFD_KEY.0,
        algorithm,
        secret: BFD_KEY.1.as_bytes().to_vec().into(),
    };
    let sequence = match section.get(4..8) {
        Some(bytes) if algorithm != bfd::Algorithm::Simple => {
            u32::from_be_bytes(bytes.try_into()?).wrapping_sub(1)
        }
        _ => 0,
    };
    let mut authenticator = bfd::Authenticator::new(vec![key], sequence);
    let packet = authenticator
        .open(Duration::ZERO, bytes, Duration::from_secs(1))
        .map_err(|refused| anyhow!("{refused:?}"))?;
    let again = authenticator.seal(&packet);
    ensure!(again == bytes, "{bytes:02x?} became {again:02x?}");
    see(seen, format!("BFD signed {algorithm:?}"));
    Ok(())
}

#[test]
fn packets_of_frr_and_bird_are_encoded_byte_for_byte() -> Result<()> {
    let mut seen = Seen::new();
    for file in files()? {
        let name = file.display();
        for (number, packet) in (1..).zip(heard(&file)?) {
            let again = match packet.protocol {
                OSPF => ospf_again(&packet, &mut seen),
                UDP => bfd_again(&packet.payload, &mut seen),
                other => bail!("protocol {other}"),
            };
            again.with_context(|| format!("packet {number} of {name}"))?;
        }
    }
    println!("{seen:#?}");
    for what in [
        "Hello",
        "DatabaseDescription",
        "LinkStateRequest",
        "LinkStateUpdate",
        "LinkStateAck",
        "LSA 0x2001",
        "LSA 0x2002",
        "LSA 0x2003",
        "LSA 0x2004",
        "LSA 0x4005",
        "LSA 0x0008",
        "LSA 0x2009",
        "LSA 0x000b",
        "a flushed LSA",
        "signed, 32 bytes",
        "BFD Down",
        "BFD Init",
        "BFD Up",
        "BFD signed Simple",
        "BFD signed KeyedMd5",
        "BFD signed MeticulousKeyedMd5",
        "BFD signed KeyedSha1",
        "BFD signed MeticulousKeyedSha1",
    ] {
        ensure!(seen.contains_key(what), "no {what} in {seen:?}");
    }
    Ok(())
}
