//! The traffic class of inner and outer headers: DSCP, and the marks of congestion (RFC 3168), which
//! a tunnel's end brings from one to the other (RFC 6040; RFC 9601 4 for L2TPv3).

use crate::{
    reason::Reason,
    wire::{self, ETHERNET},
};

/// The bits of the traffic class that are ECN (RFC 3168 5).
pub const ECN: u8 = 0x03;
/// The bits of the traffic class that are DSCP (RFC 2474 3).
pub const DSCP: u8 = 0xfc;

const NOT_ECT: u8 = 0;
const ECT_1: u8 = 1;
const ECT_0: u8 = 2;
/// Congestion experienced.
const CE: u8 = 3;

/// Length of a VLAN tag in bytes.
const TAG: usize = 4;
/// How much of a frame says where its IP header is: Ethernet and two VLAN tags.
pub const LINK: usize = ETHERNET + 2 * TAG;
/// How much of an IP header is looked at: up to the checksum of IPv4.
pub const NETWORK: usize = 12;

/// The start of a frame, and that of an IP header in it.
pub type Link = [u8; LINK];
/// See [`Link`].
pub type Network = [u8; NETWORK];

/// Where the IP header starts, in bytes; behind no more than two VLAN tags.
#[inline(always)]
#[must_use]
pub const fn network_offset(link: &Link) -> Option<usize> {
    match ethertype(link[12], link[13]) {
        Next::Ip => return Some(ETHERNET),
        Next::Other => return None,
        Next::Tag => {}
    }
    match ethertype(link[16], link[17]) {
        Next::Ip => return Some(ETHERNET + TAG),
        Next::Other => return None,
        Next::Tag => {}
    }
    match ethertype(link[20], link[21]) {
        Next::Ip => Some(LINK),
        Next::Other | Next::Tag => None,
    }
}

enum Next {
    Ip,
    Tag,
    Other,
}

#[inline(always)]
const fn ethertype(high: u8, low: u8) -> Next {
    match u16::from_be_bytes([high, low]) {
        wire::ETHERTYPE_IPV4 | wire::ETHERTYPE_IPV6 => Next::Ip,
        wire::ETHERTYPE_VLAN | wire::ETHERTYPE_SERVICE_VLAN => Next::Tag,
        _ => Next::Other,
    }
}

/// The traffic class of an IP header: TOS of IPv4.
#[inline(always)]
#[must_use]
pub const fn class(first: u8, second: u8) -> u8 {
    if first >> 4 == 6 {
        first << 4 | second >> 4
    } else {
        second
    }
}

/// The ECN field with which a frame leaves the tunnel; `None` when it must be dropped (RFC 6040
/// 4.2, figure 4).
#[inline(always)]
#[must_use]
pub const fn combined(inner: u8, outer: u8) -> Option<u8> {
    match (inner & ECN, outer & ECN) {
        (NOT_ECT, CE) => None,
        (_, CE) => Some(CE),
        (ECT_0, ECT_1) => Some(ECT_1),
        (inner, _) => Some(inner),
    }
}

/// Brings the outer header's mark into an inner header; whether that changed it.
///
/// # Errors
///
/// When the frame must be dropped: it met congestion, and its sender would not learn of it.
#[inline(always)]
pub fn remark(network: &mut Network, outer: u8) -> Result<bool, Reason> {
    let class = class(network[0], network[1]);
    let Some(ecn) = combined(class, outer) else {
        return Err(Reason::CongestionLost);
    };
    if ecn == class & ECN {
        return Ok(false);
    }
    if network[0] >> 4 == 6 {
        network[1] = network[1] & !(ECN << 4) | ecn << 4;
        return Ok(true);
    }
    let second = class & DSCP | ecn;
    // RFC 1624 3: HC' = ~(~HC + ~m + m'); the other half of the word is version and length.
    let checksum = u16::from_be_bytes([network[10], network[11]]);
    let sum = u32::from(!checksum) + (0xffff - u32::from(class)) + u32::from(second);
    let checksum = wire::checksum_finish(sum).to_be_bytes();
    network[1] = second;
    network[10] = checksum[0];
    network[11] = checksum[1];
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_rfc_6040() {
        // Rows: inner Not-ECT, ECT(0), ECT(1), CE; columns: the same outside.
        let order = [NOT_ECT, ECT_0, ECT_1, CE];
        let table = [
            [Some(NOT_ECT), Some(NOT_ECT), Some(NOT_ECT), None],
            [Some(ECT_0), Some(ECT_0), Some(ECT_1), Some(CE)],
            [Some(ECT_1), Some(ECT_1), Some(ECT_1), Some(CE)],
            [Some(CE), Some(CE), Some(CE), Some(CE)],
        ];
        for (inner, row) in order.iter().zip(table) {
            for (outer, wanted) in order.iter().zip(row) {
                assert_eq!(combined(*inner, *outer), wanted, "{inner} in {outer}");
            }
        }
    }

    fn ipv4(class: u8) -> [u8; 20] {
        let mut header = [0x5a; 20];
        header[0] = 0x45;
        header[1] = class;
        header[10..12].copy_from_slice(&[0, 0]);
        let checksum = wire::checksum_finish(wire::checksum_sum(&header));
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        header
    }

    #[test]
    fn the_header_becomes_what_it_would_have_been_with_that_mark() {
        for class in 0..=255_u8 {
            for outer in 0..4 {
                let mut v4 = ipv4(class);
                let mut v6: Network = [
                    0x60 | class >> 4,
                    class << 4 | 0x0b,
                    1,
                    2,
                    3,
                    4,
                    5,
                    6,
                    7,
                    8,
                    9,
                    10,
                ];
                let mut start: Network = v4[..NETWORK].try_into().unwrap();
                let done = [remark(&mut start, outer), remark(&mut v6, 0xfc | outer)];
                let Some(ecn) = combined(class, outer) else {
                    assert_eq!(done, [Err(Reason::CongestionLost); 2]);
                    continue;
                };
                let wanted = class & DSCP | ecn;
                assert_eq!(done, [Ok(wanted != class); 2]);
                v4[..NETWORK].copy_from_slice(&start);
                assert_eq!(wire::checksum_finish(wire::checksum_sum(&v4)), 0);
                assert_eq!((v4[1], super::class(v4[0], v4[1])), (wanted, wanted));
                assert_eq!(super::class(v6[0], v6[1]), wanted);
                assert_eq!(
                    (v6[1] & 0x0f, &v6[2..]),
                    (0x0b, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10][..])
                );
            }
        }
    }

    #[test]
    fn an_ip_header_is_found_behind_two_tags() {
        let link = |tags: usize, ethertype: [u8; 2]| {
            let mut link: Link = [0x5a; LINK];
            for tag in 0..tags {
                let at = 12 + TAG * tag;
                let tag = if tag == 0 { [0x88, 0xa8] } else { [0x81, 0x00] };
                if at + 2 <= LINK {
                    link[at..at + 2].copy_from_slice(&tag);
                }
            }
            let at = 12 + TAG * tags;
            if at + 2 <= LINK {
                link[at..at + 2].copy_from_slice(&ethertype);
            }
            link
        };
        for (tags, at) in [(0, Some(14)), (1, Some(18)), (2, Some(22)), (3, None)] {
            assert_eq!(network_offset(&link(tags, [0x08, 0x00])), at);
            assert_eq!(network_offset(&link(tags, [0x86, 0xdd])), at);
            assert_eq!(network_offset(&link(tags, [0x08, 0x06])), None);
        }
    }
}
