//! The two checksums: the Internet checksum over the IPv6 pseudo-header, and Fletcher's for LSAs.

use std::net::Ipv6Addr;

use super::NEXT_HEADER;

/// Offset of the checksum within an LSA, and of the first byte it covers: the age is left out so
/// that it can grow without the checksum changing (RFC 2328 12.1.7).
const LSA_CHECKSUM: usize = 16;
const LSA_COVERED: usize = 2;

/// Internet checksum of an OSPF packet whose checksum field is zero, or zero (0) if the field holds
/// the right value already. Host order; RFC 5340 A.3.1 with the pseudo-header of RFC 8200 8.1.
pub fn pseudo_header_checksum(source: Ipv6Addr, destination: Ipv6Addr, packet: &[u8]) -> u16 {
    let length = u32::try_from(packet.len()).unwrap_or(u32::MAX);
    let mut sum = add_words(0, &source.octets());
    sum = add_words(sum, &destination.octets());
    sum = add_words(sum, &length.to_be_bytes());
    sum += u64::from(NEXT_HEADER);
    sum = add_words(sum, packet);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn add_words(sum: u64, bytes: &[u8]) -> u64 {
    let (pairs, odd) = bytes.as_chunks::<2>();
    let even: u64 = pairs
        .iter()
        .map(|p| u64::from(u16::from_be_bytes(*p)))
        .sum();
    let last = odd.first().map_or(0, |b| u64::from(*b) << 8);
    sum + even + last
}

/// Fletcher checksum of a whole LSA (header included), taking its checksum field as zero. Host
/// order. RFC 2328 12.1.7, RFC 905 Annex B.
pub fn fletcher(lsa: &[u8]) -> u16 {
    let covered = lsa.get(LSA_COVERED..).unwrap_or_default();
    let offset = LSA_CHECKSUM - LSA_COVERED;
    let (mut c0, mut c1) = (0i64, 0i64);
    for (at, byte) in covered.iter().enumerate() {
        let byte = if at == offset || at == offset + 1 {
            0
        } else {
            *byte
        };
        c0 = (c0 + i64::from(byte)) % 255;
        c1 = (c1 + c0) % 255;
    }
    let after = covered.len() as i64 - offset as i64 - 1;
    let mut x = (after * c0 - c1).rem_euclid(255);
    if x == 0 {
        x = 255;
    }
    let mut y = 510 - c0 - x;
    if y > 255 {
        y -= 255;
    }
    ((x as u16) << 8) | y as u16
}

/// Whether the checksum field of a whole LSA is right.
pub fn fletcher_ok(lsa: &[u8]) -> bool {
    let (mut c0, mut c1) = (0u32, 0u32);
    for byte in lsa.get(LSA_COVERED..).unwrap_or_default() {
        c0 = (c0 + u32::from(*byte)) % 255;
        c1 = (c1 + c0) % 255;
    }
    // RFC 905: a checksum field of zero says "not computed", which OSPF does not allow.
    let present = lsa.get(LSA_CHECKSUM..LSA_CHECKSUM + 2) != Some(&[0, 0]);
    present && c0 == 0 && c1 == 0
}
