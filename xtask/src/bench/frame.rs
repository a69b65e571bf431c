//! A small frame as it comes off the wire, in each subject's headers.

use super::{
    pair::COOKIES,
    subject::Subject,
    udp::{SINK, SOURCE},
};

/// User data: with the headers, an Ethernet frame of the least length.
const DATA: usize = 18;

/// Addresses of the frame.
pub(super) struct Addresses {
    /// Of the underlay: from and to.
    pub(super) outer: [[u8; 6]; 2],
    /// Of the inner interfaces: from and to.
    pub(super) inner: [[u8; 6]; 2],
    /// What the receiver expects.
    pub(super) session_id: u32,
}

/// Where in a frame of [`small`] the inner UDP ports lie: they and its data are the last.
pub(super) fn ports_at(frame: &[u8]) -> usize {
    frame.len() - DATA - 8
}

/// The frame, and where in it the session id lies.
pub(super) fn small(subject: Subject, addresses: &Addresses) -> (Vec<u8>, Option<usize>) {
    let data = [0; DATA];
    let net = match subject {
        Subject::Plain => 0,
        _ => 1,
    };
    let datagram = udp(SOURCE, SINK, &data);
    let inner = ethernet(addresses.inner, 0x0800, &ipv4(17, net, &datagram));
    match subject {
        Subject::Plain => (inner, None),
        Subject::Vxlan => {
            // RFC 7348 5: the flag I, and the network's number.
            let payload = [&[8, 0, 0, 0, 0, 0, 7, 0], &inner[..]].concat();
            let datagram = udp(50_000, 4789, &payload);
            (
                ethernet(addresses.outer, 0x0800, &ipv4(17, 0, &datagram)),
                None,
            )
        }
        Subject::L2haIp => {
            let payload = [&addresses.session_id.to_be_bytes(), &COOKIES[1][..], &inner].concat();
            (
                ethernet(addresses.outer, 0x0800, &ipv4(115, 0, &payload)),
                Some(34),
            )
        }
        Subject::L2ha | Subject::L2haTc => {
            let datagram = udp(1701, 1701, &l2tp(addresses.session_id, &inner));
            (
                ethernet(addresses.outer, 0x0800, &ipv4(17, 0, &datagram)),
                Some(46),
            )
        }
        Subject::L2haUdp6 => {
            let mut datagram = udp(1701, 1701, &l2tp(addresses.session_id, &inner));
            let header = ipv6_header(17, datagram.len());
            // RFC 8200 8.1: addresses, length and protocol are summed too.
            let mut pseudo = header[8..].to_vec();
            pseudo.extend((datagram.len() as u32).to_be_bytes());
            pseudo.extend([0, 0, 0, 17]);
            pseudo.extend(&datagram);
            let sum = match checksum(&pseudo) {
                0 => 0xffff,
                sum => sum,
            };
            datagram[6..8].copy_from_slice(&sum.to_be_bytes());
            let packet = [&header[..], &datagram].concat();
            // The sum covers the session id, which therefore cannot vary.
            (ethernet(addresses.outer, 0x86dd, &packet), None)
        }
    }
}

/// L2TPv3 over UDP (RFC 3931 4.1.2.2) with a cookie of 8 bytes and no sublayer.
fn l2tp(session_id: u32, inner: &[u8]) -> Vec<u8> {
    [
        &[0, 3, 0, 0],
        &session_id.to_be_bytes()[..],
        &COOKIES[1],
        inner,
    ]
    .concat()
}

fn ethernet(from_to: [[u8; 6]; 2], kind: u16, payload: &[u8]) -> Vec<u8> {
    [&from_to[1][..], &from_to[0], &kind.to_be_bytes(), payload].concat()
}

/// From 10.8.`net`.1 to 10.8.`net`.2.
fn ipv4(protocol: u8, net: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = [0; 20];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&((20 + payload.len()) as u16).to_be_bytes());
    // Do not fragment.
    header[6] = 0x40;
    header[8] = 64;
    header[9] = protocol;
    header[12..16].copy_from_slice(&[10, 8, net, 1]);
    header[16..20].copy_from_slice(&[10, 8, net, 2]);
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    [&header, payload].concat()
}

/// From fd08::1 to fd08::2.
fn ipv6_header(protocol: u8, length: usize) -> [u8; 40] {
    let mut header = [0; 40];
    header[0] = 0x60;
    header[4..6].copy_from_slice(&(length as u16).to_be_bytes());
    header[6] = protocol;
    header[7] = 64;
    for (at, last) in [(8, 1), (24, 2)] {
        header[at] = 0xfd;
        header[at + 1] = 0x08;
        header[at + 15] = last;
    }
    header
}

/// Without a checksum, which IPv4 allows.
fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let length = (8 + payload.len()) as u16;
    let mut datagram = Vec::with_capacity(usize::from(length));
    for field in [from, to, length, 0] {
        datagram.extend(field.to_be_bytes());
    }
    datagram.extend(payload);
    datagram
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
    fn the_session_id_lies_where_it_is_said_to() {
        let addresses = Addresses {
            outer: [[1; 6], [2; 6]],
            inner: [[3; 6], [4; 6]],
            session_id: 0x1234_5678,
        };
        for (subject, length) in [
            (Subject::Plain, 60),
            (Subject::Vxlan, 60 + 50),
            (Subject::L2ha, 60 + 58),
            (Subject::L2haIp, 60 + 46),
            (Subject::L2haUdp6, 60 + 78),
        ] {
            let (frame, at) = small(subject, &addresses);
            assert_eq!(frame.len(), length, "{subject}");
            let ports = &frame[ports_at(&frame)..][..4];
            assert_eq!(ports, [SOURCE.to_be_bytes(), SINK.to_be_bytes()].concat());
            if let Some(at) = at {
                assert_eq!(frame[at..at + 4], [0x12, 0x34, 0x56, 0x78], "{subject}");
            }
        }
    }

    #[test]
    fn an_internet_checksum_checks_itself() {
        let packet = ipv4(17, 0, &[1, 2, 3]);
        assert_eq!(checksum(&packet[..20]), 0);
    }
}
