//! Outer headers of a packet that is shown, and keeping cookies out of it.

use std::net::IpAddr;

use l2ha_ebpf::{
    outer::INTERNAL_DESTINATION,
    reason::Reason,
    wire::{self, ETHERNET, IPV4, IPV6, SESSION_ID, UDP},
};

/// Length of the longest cookie in bytes.
const LONGEST_COOKIE: usize = 8;
/// Flags and version in front of the session id, over UDP.
const FLAGS: usize = 4;
/// Bit of a control message in the first byte (RFC 3931 3.2.1).
const CONTROL: u8 = 0x80;

/// What the outer headers of a packet say, as far as they are there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// Outer source address.
    pub source: Option<IpAddr>,
    /// Outer destination address.
    pub destination: Option<IpAddr>,
    /// UDP source port.
    pub source_port: Option<u16>,
    /// UDP destination port.
    pub destination_port: Option<u16>,
    /// Session id of a data message.
    pub session_id: Option<u32>,
    /// Where the UDP header starts.
    udp: Option<usize>,
    /// What may be shown at most: behind it a cookie can be anywhere.
    readable: usize,
    /// Where a data message's cookie starts.
    cookie: Option<usize>,
}

impl Headers {
    /// Reads them; lengths and checksums are not looked at.
    pub(super) fn of(packet: &[u8]) -> Self {
        Self::read(packet).unwrap_or_default()
    }

    fn read(packet: &[u8]) -> Option<Self> {
        let ethertype = u16::from_be_bytes(array(packet, 12)?);
        let mut headers = Self {
            readable: packet.len(),
            ..Self::default()
        };
        let (protocol, offset, mut at) = match ethertype {
            wire::ETHERTYPE_IPV4 => {
                let header: [u8; IPV4] = array(packet, ETHERNET)?;
                headers.source = Some(IpAddr::from(array::<4>(packet, ETHERNET + 12)?));
                headers.destination = Some(IpAddr::from(array::<4>(packet, ETHERNET + 16)?));
                let offset = u16::from_be_bytes([header[6], header[7]]) & 0x1fff;
                let length = usize::from(header[0] & 0x0f) * 4;
                (header[9], offset, ETHERNET + length)
            }
            wire::ETHERTYPE_IPV6 => {
                let header: [u8; IPV6] = array(packet, ETHERNET)?;
                headers.source = Some(IpAddr::from(array::<16>(packet, ETHERNET + 8)?));
                headers.destination = Some(IpAddr::from(array::<16>(packet, ETHERNET + 24)?));
                let mut at = ETHERNET + IPV6;
                match header[6] {
                    wire::PROTOCOL_FRAGMENT => {
                        let fragment: [u8; 8] = array(packet, at)?;
                        at += fragment.len();
                        let offset = u16::from_be_bytes([fragment[2], fragment[3]]) >> 3;
                        (fragment[0], offset, at)
                    }
                    protocol => (protocol, 0, at),
                }
            }
            _ => return Some(headers),
        };
        if offset > 0 {
            headers.readable = at;
            return Some(headers);
        }
        let udp = match protocol {
            wire::PROTOCOL_UDP => true,
            wire::PROTOCOL_L2TP => false,
            _ => return Some(headers),
        };
        headers.readable = at;
        if udp {
            let Some(ports) = array::<UDP>(packet, at) else {
                return Some(headers);
            };
            headers.source_port = Some(u16::from_be_bytes([ports[0], ports[1]]));
            headers.destination_port = Some(u16::from_be_bytes([ports[2], ports[3]]));
            headers.udp = Some(at);
            at += UDP;
            let Some(flags) = array::<FLAGS>(packet, at) else {
                return Some(headers);
            };
            at += FLAGS;
            headers.readable = at;
            if flags[0] & CONTROL != 0 {
                // Control messages carry cookies too, in attributes (RFC 3931 5.4.4).
                return Some(headers);
            }
        }
        let Some(id) = array::<SESSION_ID>(packet, at) else {
            return Some(headers);
        };
        at += SESSION_ID;
        headers.readable = at;
        match u32::from_be_bytes(id) {
            0 if !udp => {}
            id => {
                headers.session_id = Some(id);
                headers.cookie = Some(at);
                headers.readable = packet.len();
            }
        }
        Some(headers)
    }

    /// Zeroes the bytes from the session id on to `end`. A right UDP checksum is made to fit what is
    /// left; any other becomes 0, because its difference to the right one can tell of what was there
    /// (a checksum that is left to the NIC has no cookie in it).
    fn blank(&self, packet: &mut [u8], end: usize) {
        let Some(start) = self.cookie else { return };
        let was_right = self.udp.is_some_and(|udp| is_checksum_right(packet, udp));
        let end = end.min(packet.len());
        let Some(hidden) = packet.get_mut(start..end) else {
            return;
        };
        let removed = words(hidden);
        hidden.fill(0);
        let Some(udp) = self.udp else { return };
        let Some(checksum) = packet.get_mut(udp + 6..udp + 8) else {
            return;
        };
        let new = match was_right {
            // RFC 1624, equation 3, with 0 for each new word: the sum grows by what was taken away.
            true => fold(u32::from(u16::from_be_bytes([checksum[0], checksum[1]])) + removed),
            false => 0,
        };
        checksum.copy_from_slice(&new.to_be_bytes());
    }
}

/// Whether a UDP checksum is there and right (RFC 768, RFC 8200 8.1); not if only a part of the
/// packet is here.
fn is_checksum_right(packet: &[u8], udp: usize) -> bool {
    let Some(header) = array::<UDP>(packet, udp) else {
        return false;
    };
    let length = u16::from_be_bytes([header[4], header[5]]);
    let Some(datagram) = packet.get(udp..udp + usize::from(length)) else {
        return false;
    };
    let addresses = match u16::from_be_bytes([packet[12], packet[13]]) {
        wire::ETHERTYPE_IPV4 => &packet[ETHERNET + 12..ETHERNET + IPV4],
        _ => &packet[ETHERNET + 8..ETHERNET + IPV6],
    };
    let pseudo = words(addresses) + u32::from(wire::PROTOCOL_UDP) + u32::from(length);
    header[6..] != [0, 0] && fold(pseudo + words(datagram)) == 0xffff
}

/// Sums bytes as 16-bit words; of at most 64 KiB.
fn words(bytes: &[u8]) -> u32 {
    bytes
        .chunks(2)
        .map(|word| {
            let low = word.get(1).copied().unwrap_or_default();
            u32::from(u16::from_be_bytes([word[0], low]))
        })
        .sum()
}

/// Adds the carries (RFC 1071).
fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Takes whatever can be a cookie out of a refused packet; what it says of itself is not to be
/// believed, so it is always as many bytes as the longest cookie has.
pub(super) fn redact_refused(reason: Reason, packet: &mut Vec<u8>) -> Headers {
    if reason.is_outgoing() && !packet.starts_with(&INTERNAL_DESTINATION) {
        // A frame without outer headers.
        return Headers::default();
    }
    let headers = Headers::of(packet);
    packet.truncate(headers.readable);
    if let Some(cookie) = headers.cookie {
        headers.blank(packet, cookie + LONGEST_COOKIE);
    }
    headers
}

/// Takes the cookie out of a packet of a session whose inner frame starts at `start`, behind a
/// sublayer of `sublayer` bytes.
pub(super) fn redact_captured(packet: &mut Vec<u8>, start: usize, sublayer: usize) {
    let headers = Headers::of(packet);
    packet.truncate(headers.readable);
    headers.blank(packet, start.saturating_sub(sublayer));
}

fn array<const N: usize>(packet: &[u8], at: usize) -> Option<[u8; N]> {
    packet.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COOKIE: [u8; 8] = [0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8];

    /// UDP over IPv6 with a right checksum, a cookie of 8 bytes, a sublayer.
    fn packet() -> (Vec<u8>, usize) {
        let payload = [
            &[0, 3, 0, 0, 0, 0, 0x10, 1][..],
            &COOKIE,
            &[0x40, 0, 0, 7],
            &[0x11; 40],
        ]
        .concat();
        let length = u16::try_from(UDP + payload.len()).unwrap().to_be_bytes();
        let mut packet = vec![2; 12];
        packet.extend([0x86, 0xdd, 0x60, 0, 0, 0, length[0], length[1], 17, 64]);
        packet.extend([1; 16]);
        packet.extend([2; 16]);
        packet.extend([0x06, 0xa5, 0x06, 0xa6, length[0], length[1], 0, 0]);
        packet.extend(&payload);
        let sum = !sum(&packet);
        packet[60..62].copy_from_slice(&sum.to_be_bytes());
        (packet, 14 + 40 + 8 + 8 + 8 + 4)
    }

    /// The sum over the pseudo-header (RFC 8200 8.1) and all behind it.
    fn sum(packet: &[u8]) -> u16 {
        let length = u32::from(u16::from_be_bytes([packet[18], packet[19]]));
        fold(17 + length + words(&packet[22..]))
    }

    fn checksum(packet: &[u8]) -> [u8; 2] {
        [packet[60], packet[61]]
    }

    fn has_cookie(packet: &[u8]) -> bool {
        packet
            .windows(2)
            .any(|pair| COOKIE.windows(2).any(|part| part == pair))
    }

    #[test]
    fn a_captured_packet_keeps_all_but_the_cookie() {
        let (mut packet, start) = packet();
        assert_eq!(sum(&packet), 0xffff, "the test's own packet");
        let before = packet.clone();
        redact_captured(&mut packet, start, 4);
        assert_eq!(packet.len(), before.len());
        assert!(!has_cookie(&packet));
        assert_eq!(
            packet[start - 4..],
            before[start - 4..],
            "sublayer and frame"
        );
        assert_eq!(packet[start - 12..start - 4], [0; 8]);
        assert_eq!(sum(&packet), 0xffff, "the checksum fits again");
        let mut packet = before.clone();
        redact_captured(&mut packet, start, 0);
        assert_eq!(packet[start - 12..start], [0; 12]);
        // What this one would tell is unknown.
        let mut packet = before.clone();
        packet[60] ^= 1;
        redact_captured(&mut packet, start, 4);
        assert_eq!(checksum(&packet), [0, 0]);
        let mut packet = before[..before.len() - 1].to_vec();
        redact_captured(&mut packet, start, 4);
        assert_eq!(checksum(&packet), [0, 0]);
    }

    #[test]
    fn a_refused_packet_says_who_sent_it() {
        let (mut packet, _) = packet();
        let headers = redact_refused(Reason::WrongCookie, &mut packet);
        assert_eq!(headers.source, Some(IpAddr::from([1_u8; 16])));
        assert_eq!(headers.destination, Some(IpAddr::from([2_u8; 16])));
        assert_eq!(headers.source_port, Some(1701));
        assert_eq!(headers.destination_port, Some(1702));
        assert_eq!(headers.session_id, Some(0x1001));
        assert!(!has_cookie(&packet));
    }

    #[test]
    fn nothing_is_shown_of_what_is_unknown() {
        for length in 0..90 {
            let (mut packet, _) = packet();
            packet.truncate(length);
            redact_refused(Reason::ShortHeader, &mut packet);
            assert!(!has_cookie(&packet), "{length}");
        }
        let (mut control, _) = packet();
        control[62] = 0xc8;
        redact_refused(Reason::PassedControl, &mut control);
        assert!(!has_cookie(&control));
        let (mut fragment, _) = packet();
        let (ip, rest) = fragment.split_at_mut(54);
        ip[20] = wire::PROTOCOL_FRAGMENT;
        let mut fragment = [&*ip, &[17, 0, 0, 8, 0, 0, 0, 1], &rest[8..]].concat();
        redact_refused(Reason::PassedFragment, &mut fragment);
        assert!(!has_cookie(&fragment));
        assert_eq!(fragment.len(), 62);
    }

    #[test]
    fn a_frame_on_the_way_out_is_no_outer_packet() {
        let (mut packet, _) = packet();
        let before = packet.clone();
        redact_refused(Reason::GsoUnsupported, &mut packet);
        assert_eq!(packet, before);
        packet[..6].copy_from_slice(&INTERNAL_DESTINATION);
        redact_refused(Reason::TooBig, &mut packet);
        assert!(!has_cookie(&packet));
    }
}
