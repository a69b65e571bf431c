//! Frames as they come off a wire, to be injected.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Source and destination.
pub type FromTo<T> = [T; 2];

/// An Ethernet frame.
pub fn ethernet([from, to]: FromTo<[u8; 6]>, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&to[..], &from, &ethertype.to_be_bytes(), payload].concat()
}

/// An IPv4 packet that must not be fragmented.
pub fn ipv4([from, to]: FromTo<Ipv4Addr>, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = [0; 20];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&((20 + payload.len()) as u16).to_be_bytes());
    header[6] = 0x40;
    header[8] = 64;
    header[9] = protocol;
    header[12..16].copy_from_slice(&from.octets());
    header[16..20].copy_from_slice(&to.octets());
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    [&header, payload].concat()
}

/// An IPv6 packet with a UDP datagram, whose checksum it completes (RFC 8200 8.1: addresses, length and
/// protocol are summed too).
pub fn ipv6_udp([from, to]: FromTo<Ipv6Addr>, mut datagram: Vec<u8>) -> Vec<u8> {
    let length = datagram.len() as u32;
    let addresses = [from.octets(), to.octets()].concat();
    let summed = [
        &addresses[..],
        &length.to_be_bytes(),
        &[0, 0, 0, 17],
        &datagram,
    ];
    let sum = match checksum(&summed.concat()) {
        0 => 0xffff,
        sum => sum,
    };
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    let length = (length as u16).to_be_bytes();
    [
        &[0x60, 0, 0, 0, length[0], length[1], 17, 64],
        &addresses[..],
        &datagram,
    ]
    .concat()
}

/// A UDP datagram without a checksum, which IPv4 allows.
pub fn udp(ports: FromTo<u16>, payload: &[u8]) -> Vec<u8> {
    let length = (8 + payload.len()) as u16;
    let mut datagram = Vec::with_capacity(usize::from(length));
    for field in [ports[0], ports[1], length, 0] {
        datagram.extend(field.to_be_bytes());
    }
    datagram.extend(payload);
    datagram
}

/// What L2TPv3 over UDP carries (RFC 3931 4.1.2.2), without a sublayer.
pub fn l2tp_udp(session_id: u32, cookie: &[u8], inner: &[u8]) -> Vec<u8> {
    [&[0, 3, 0, 0], &session_id.to_be_bytes()[..], cookie, inner].concat()
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_internet_checksum_checks_itself() {
        let packet = ipv4([Ipv4Addr::LOCALHOST; 2], 17, &[1, 2, 3]);
        assert_eq!(checksum(&packet[..20]), 0);
    }
}
