//! Makes the checksums and lengths of mutated packets right, so that what is behind them is reached.
//! Written from RFC 5340 A.3.1 and RFC 2328 12.1.7, and of no use to the code under test.

use std::net::Ipv6Addr;

const HEADER: usize = 16;

/// Sets version, length and checksum of a packet.
pub(crate) fn mend(packet: &mut [u8], source: Ipv6Addr, destination: Ipv6Addr) {
    if packet.len() < HEADER {
        return;
    }
    packet[0] = 3;
    let length = packet.len() as u16;
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet[12..14].fill(0);
    let mut bytes = [source.octets(), destination.octets()].concat();
    bytes.extend(u32::from(length).to_be_bytes());
    bytes.extend([0, 0, 0, 89]);
    bytes.extend_from_slice(packet);
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |low| u32::from(*low)))
        .sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    packet[12..14].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

/// Sets the checksums of the LSAs in a Link State Update, as far as their lengths lead to them.
pub(crate) fn mend_lsas(packet: &mut [u8]) {
    const UPDATE: u8 = 4;
    const LSA_HEADER: usize = 20;
    if packet.len() < HEADER + 4 || packet[1] != UPDATE {
        return;
    }
    let mut at = HEADER + 4;
    while at + LSA_HEADER <= packet.len() {
        let length = usize::from(u16::from_be_bytes([packet[at + 18], packet[at + 19]]));
        if length < LSA_HEADER || at + length > packet.len() {
            return;
        }
        let lsa = &mut packet[at..at + length];
        lsa[16..18].fill(0);
        // Fletcher's, over all but the age; the place of the checksum counts from there.
        let (mut c0, mut c1) = (0_i64, 0_i64);
        for byte in &lsa[2..] {
            c0 = (c0 + i64::from(*byte)) % 255;
            c1 = (c1 + c0) % 255;
        }
        let behind = (length - 2 - 14) as i64 - 1;
        let mut x = (behind * c0 - c1).rem_euclid(255);
        if x == 0 {
            x = 255;
        }
        let mut y = (-c0 - x).rem_euclid(255);
        if y == 0 {
            y = 255;
        }
        lsa[16] = x as u8;
        lsa[17] = y as u8;
        at += length;
    }
}
