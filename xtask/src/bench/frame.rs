//! A small frame as it comes off the wire, in each subject's headers.

use std::net::{Ipv4Addr, Ipv6Addr};

use l2ha_lab::frame;

use super::{
    pair::COOKIES,
    subject::Subject,
    udp::{SINK, SOURCE},
};

/// User data: with the headers, an Ethernet frame of the least length.
const DATA: usize = 18;

/// Ethertypes, and protocols of IP.
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const UDP: u8 = 17;
const L2TP: u8 = 115;

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
    let session_id = addresses.session_id;
    let data = frame::udp([SOURCE, SINK], &[0; DATA]);
    let net = match subject {
        Subject::Plain => 0,
        _ => 1,
    };
    let inner = frame::ethernet(addresses.inner, IPV4, &frame::ipv4(hosts(net), UDP, &data));
    let outer = |protocol: u8, payload: &[u8]| {
        let packet = frame::ipv4(hosts(0), protocol, payload);
        frame::ethernet(addresses.outer, IPV4, &packet)
    };
    let l2tp = || frame::udp([1701; 2], &frame::l2tp_udp(session_id, &COOKIES[1], &inner));
    match subject {
        Subject::Plain => (inner, None),
        Subject::Vxlan => {
            // RFC 7348 5: the flag I, and the network's number.
            let payload = [&[8, 0, 0, 0, 0, 0, 7, 0], &inner[..]].concat();
            (outer(UDP, &frame::udp([50_000, 4789], &payload)), None)
        }
        Subject::L2haIp => {
            let payload = [&session_id.to_be_bytes(), &COOKIES[1][..], &inner].concat();
            (outer(L2TP, &payload), Some(34))
        }
        Subject::L2ha | Subject::L2haTc => (outer(UDP, &l2tp()), Some(46)),
        Subject::L2haUdp6 => {
            let hosts = [1, 2].map(|host| Ipv6Addr::new(0xfd08, 0, 0, 0, 0, 0, 0, host));
            let packet = frame::ipv6_udp(hosts, l2tp());
            // The sum covers the session id, which therefore cannot vary.
            (frame::ethernet(addresses.outer, IPV6, &packet), None)
        }
    }
}

/// The hosts of a network, the one that sends first.
fn hosts(net: u8) -> [Ipv4Addr; 2] {
    [1, 2].map(|host| Ipv4Addr::new(10, 8, net, host))
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
}
