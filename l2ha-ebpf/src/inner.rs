//! What of an inner frame decides how it is handed on: its transport and its flow.

use crate::{
    packet::Packet,
    wire::{self, ETHERNET, Ethernet, IPV4, IPV6, Ipv4, Ipv6},
};

/// Protocol number of TCP.
const TCP: u8 = 6;

/// Whether GRO can merge the frame at `start`: TCP right behind an IP header without options or
/// extensions, not a fragment.
#[inline(always)]
#[must_use]
pub fn is_mergeable(packet: Packet<'_>, start: usize) -> bool {
    ip(packet, start).is_some_and(|ip| ip.protocol == TCP)
}

/// A number that is the same for all frames of one inner flow at `start` and spreads over 32 bits:
/// of addresses, protocol and ports, or of the Ethernet addresses when the frame is not IP. For
/// fragments, of the addresses alone, so that all of them stay together.
#[inline(always)]
#[must_use]
pub fn flow_hash(packet: Packet<'_>, start: usize) -> u32 {
    let Some(ip) = ip(packet, start) else {
        let addresses: Option<&[[u8; 4]; 3]> = packet.read(start);
        return addresses.map_or(0, |words| {
            mix(words.iter().fold(0, |sum, word| fold(sum, *word)))
        });
    };
    let mut sum = fold(ip.addresses, [ip.protocol, 0, 0, 0]);
    if matches!(ip.protocol, TCP | wire::PROTOCOL_UDP)
        && let Some(ports) = packet.read::<[u8; 4]>(ip.payload)
    {
        sum = fold(sum, *ports);
    }
    mix(sum)
}

/// What is read of an inner IP header.
struct Ip {
    /// What follows; 0 for a fragment.
    protocol: u8,
    /// Where that starts.
    payload: usize,
    /// Both addresses, folded.
    addresses: u32,
}

#[inline(always)]
fn ip(packet: Packet<'_>, start: usize) -> Option<Ip> {
    let ethernet: &Ethernet = packet.read(start)?;
    let header = start + ETHERNET;
    match ethernet.ethertype() {
        wire::ETHERTYPE_IPV4 => {
            let ip: &Ipv4 = packet.read(header)?;
            let plain = ip.header_length() == IPV4 && !ip.is_fragment();
            Some(Ip {
                protocol: if plain { ip.protocol } else { 0 },
                payload: header + IPV4,
                addresses: fold(fold(0, ip.source), ip.destination),
            })
        }
        wire::ETHERTYPE_IPV6 => {
            let ip: &Ipv6 = packet.read(header)?;
            let words: &[[u8; 4]; 8] = packet.read(header + IPV6 - 32)?;
            let fragment = ip.next_header == wire::PROTOCOL_FRAGMENT;
            Some(Ip {
                protocol: if fragment { 0 } else { ip.next_header },
                payload: header + IPV6,
                addresses: words.iter().fold(0, |sum, word| fold(sum, *word)),
            })
        }
        _ => None,
    }
}

#[inline(always)]
const fn fold(sum: u32, word: [u8; 4]) -> u32 {
    (sum.rotate_left(5) ^ u32::from_ne_bytes(word)).wrapping_mul(0x9e37_79b1)
}

/// Spreads every bit over all others (the finaliser of MurmurHash3).
#[inline(always)]
const fn mix(mut hash: u32) -> u32 {
    hash ^= hash >> 16;
    hash = hash.wrapping_mul(0x85eb_ca6b);
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An Ethernet frame with an IPv4 header of `protocol` and these ports.
    fn frame(protocol: u8, ports: [u8; 4], fragment: [u8; 2]) -> [u8; 54] {
        let mut frame = [0; 54];
        frame[12] = 8;
        frame[14] = 0x45;
        frame[20..22].copy_from_slice(&fragment);
        frame[23] = protocol;
        frame[26..34].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        frame[34..38].copy_from_slice(&ports);
        frame
    }

    #[test]
    fn only_whole_tcp_is_mergeable() {
        let is = |frame: &[u8]| is_mergeable(Packet::of(frame), 0);
        assert!(is(&frame(TCP, [0; 4], [0x40, 0])));
        assert!(!is(&frame(TCP, [0; 4], [0x20, 0])));
        assert!(!is(&frame(17, [0; 4], [0, 0])));
        assert!(!is(&[0; 60]));
        assert!(!is(&[]));
    }

    #[test]
    fn flows_spread_and_fragments_stay_together() {
        let hash = |frame: &[u8]| flow_hash(Packet::of(frame), 0);
        let mut cores = [0_u32; 4];
        for port in 0..4096_u16 {
            let [a, b] = port.to_be_bytes();
            let frame = frame(TCP, [a, b, 0x14, 0x51], [0, 0]);
            assert_eq!(hash(&frame), hash(&frame));
            cores[hash(&frame) as usize % 4] += 1;
        }
        assert!(
            cores.iter().all(|count| (900..1150).contains(count)),
            "{cores:?}"
        );
        let first = frame(17, [1, 2, 3, 4], [0x20, 0]);
        let second = frame(17, [9, 9, 9, 9], [0, 185]);
        assert_eq!(hash(&first), hash(&second));
    }
}
