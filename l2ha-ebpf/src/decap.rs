//! What is to be done with a packet that arrived on the underlay.
//!
//! The same code decides in XDP, in tc and in the tests on the host.

use crate::{
    abi::{Address, Carrier, EndpointKey, Receive, SessionId},
    congestion,
    packet::Packet,
    reason::Reason,
    sequence,
    wire::{self, ETHERNET, Ethernet, IPV6, Ipv4, Ipv6, L2tpUdp, SESSION_ID, UDP, Udp},
};

/// What the programs look up in their maps.
pub trait Tables {
    /// The session with this id. By value: it may be of one map or of another, and the verifier would follow both
    /// to the end.
    fn session(&self, id: SessionId) -> Option<Receive>;
    /// This session's former cookie.
    fn previous_cookie(&self, id: SessionId) -> Option<[u8; 8]>;
    /// Whether packets to this address and port are ours.
    fn is_endpoint(&self, key: &EndpointKey) -> bool;
    /// Takes note of the session, by its slot, whose packet is refused.
    fn blame(&self, slot: u32, reason: Reason);
}

/// A frame to be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Where the inner frame starts, in bytes from the start of the outer one.
    pub start: usize,
    /// Where it ends; behind that there may be padding.
    pub end: usize,
    /// Index of the interface to send it to.
    pub hidden_ifindex: u32,
    /// Index of the interface at which it arrives then.
    pub visible_ifindex: u32,
    /// Index into the traffic counters.
    pub slot: u32,
    /// Whether it carried the session's former cookie.
    pub previous_cookie: bool,
    /// What the session's numbers say.
    pub sequence: Sequence,
    /// The outer header's congestion mark, where the session wants it in the inner one; else 0.
    pub ecn: u8,
}

/// The sequence number of a packet (RFC 3931 4.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sequence {
    /// The session does not look at it.
    Unchecked,
    /// There should be one.
    Missing,
    /// It is there.
    Number(u32),
}

/// Why a packet is not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketRefusal {
    /// Not addressed to us: nobody's business, goes on untouched.
    Foreign,
    /// For the kernel to deal with; goes on untouched, counted.
    Pass(Reason),
    /// Ours and wrong: dropped, counted.
    Drop(Reason),
}

/// An outer IP header, whatever its family.
struct Outer {
    v6: bool,
    protocol: u8,
    source: Address,
    destination: Address,
    fragment: bool,
    /// Where the header ends.
    header_end: usize,
    /// Where the packet ends according to the header.
    end: usize,
}

/// Decides about one packet.
///
/// # Errors
///
/// Everything but a valid data packet of a known session is a [`PacketRefusal`].
#[inline(always)]
pub fn decide(packet: Packet<'_>, tables: &impl Tables) -> Result<Delivery, PacketRefusal> {
    let outer = outer(packet)?;
    let udp = match outer.protocol {
        wire::PROTOCOL_UDP => true,
        wire::PROTOCOL_L2TP => false,
        _ => return Err(PacketRefusal::Foreign),
    };
    let carrier = Carrier::new(outer.v6, udp);
    let mut endpoint = EndpointKey::new(outer.destination, carrier, [0; 2]);
    // Whether it is ours is asked only once something is wrong: a good packet needs one look-up.
    let refuse = |endpoint: EndpointKey, reason| {
        if !tables.is_endpoint(&endpoint) {
            return PacketRefusal::Foreign;
        }
        match reason {
            Reason::PassedControl | Reason::PassedFragment => PacketRefusal::Pass(reason),
            _ => PacketRefusal::Drop(reason),
        }
    };
    if outer.fragment {
        return Err(refuse(endpoint.of_fragments(), Reason::PassedFragment));
    }

    let mut source_port = [0; 2];
    let mut length_fits = true;
    let l2tp = if udp {
        let header: &Udp = packet
            .read(outer.header_end)
            .ok_or(PacketRefusal::Foreign)?;
        endpoint = EndpointKey::new(outer.destination, carrier, header.destination);
        source_port = header.source;
        length_fits = outer.header_end + header.length() == outer.end;
        outer.header_end + UDP
    } else {
        outer.header_end
    };
    if outer.end > packet.length() {
        return Err(refuse(endpoint, Reason::BadIpLength));
    }
    if !outer.v6 && !is_ipv4_checksum_right(packet, outer.header_end) {
        return Err(refuse(endpoint, Reason::BadIpChecksum));
    }
    if !length_fits {
        return Err(refuse(endpoint, Reason::BadUdpLength));
    }

    let (id, body) = if udp {
        let body = l2tp + size_of::<L2tpUdp>();
        let header: Option<&L2tpUdp> = packet.read(l2tp);
        let Some(header) = header.filter(|_| body <= outer.end) else {
            return Err(refuse(endpoint, Reason::ShortHeader));
        };
        if header.is_control() {
            return Err(refuse(endpoint, Reason::PassedControl));
        }
        if header.version() != wire::VERSION {
            return Err(refuse(endpoint, Reason::BadVersion));
        }
        (SessionId::from_wire(header.session), body)
    } else {
        let body = l2tp + SESSION_ID;
        let id: Option<&[u8; SESSION_ID]> = packet.read(l2tp);
        let Some(id) = id.filter(|_| body <= outer.end) else {
            return Err(refuse(endpoint, Reason::ShortHeader));
        };
        let id = SessionId::from_wire(*id);
        if id.is_zero() {
            return Err(refuse(endpoint, Reason::PassedControl));
        }
        (id, body)
    };
    let Some(session) = tables
        .session(id)
        .filter(|session| session.is_at(&endpoint))
    else {
        return Err(refuse(endpoint, Reason::UnknownSession));
    };

    let wrong = |reason| {
        tables.blame(session.slot(), reason);
        PacketRefusal::Drop(reason)
    };
    if !session.remote().is(&outer.source) {
        return Err(wrong(Reason::WrongSourceAddress));
    }
    if session.wants_checksum() && is_checksum_missing(packet) {
        return Err(wrong(Reason::MissingChecksum));
    }
    if !session.is_remote_port(source_port) {
        return Err(wrong(Reason::WrongSourcePort));
    }
    let (cookie_end, previous_cookie) =
        check_cookie(packet, body, outer.end, &session, tables).map_err(wrong)?;
    let start = cookie_end + session.sublayer_length();
    if start + ETHERNET > outer.end {
        return Err(wrong(Reason::ShortFrame));
    }
    let sequence = if session.wants_sequence() {
        match packet.read(cookie_end).copied().and_then(sequence::read) {
            Some(number) => Sequence::Number(number),
            None => Sequence::Missing,
        }
    } else {
        Sequence::Unchecked
    };
    let ecn = if session.wants_ecn() {
        packet
            .read(ETHERNET)
            .map_or(0, |[first, second]: &[u8; 2]| {
                congestion::class(*first, *second) & congestion::ECN
            })
    } else {
        0
    };
    Ok(Delivery {
        start,
        end: outer.end,
        hidden_ifindex: session.hidden_ifindex(),
        visible_ifindex: session.visible_ifindex(),
        slot: session.slot(),
        previous_cookie,
        sequence,
        ecn,
    })
}

/// Whether a packet known as UDP over IPv6 carries no checksum.
#[inline(always)]
fn is_checksum_missing(packet: Packet<'_>) -> bool {
    const CHECKSUM: usize = ETHERNET + IPV6 + 6;
    packet.read(CHECKSUM) == Some(&[0_u8; 2])
}

/// Reads the outer Ethernet and IP headers; what the kernel itself would not take is foreign.
#[inline(always)]
fn outer(packet: Packet<'_>) -> Result<Outer, PacketRefusal> {
    let ethernet: &Ethernet = packet.read(0).ok_or(PacketRefusal::Foreign)?;
    match ethernet.ethertype() {
        wire::ETHERTYPE_IPV4 => {
            let header: &Ipv4 = packet.read(ETHERNET).ok_or(PacketRefusal::Foreign)?;
            let header_length = header.header_length();
            let total = header.total_length();
            if header.version() != 4 || header_length < wire::IPV4 || total < header_length {
                return Err(PacketRefusal::Foreign);
            }
            Ok(Outer {
                v6: false,
                protocol: header.protocol,
                source: Address::v4(header.source),
                destination: Address::v4(header.destination),
                fragment: header.is_fragment(),
                header_end: ETHERNET + header_length,
                end: ETHERNET + total,
            })
        }
        wire::ETHERTYPE_IPV6 => {
            let header: &Ipv6 = packet.read(ETHERNET).ok_or(PacketRefusal::Foreign)?;
            if header.version() != 6 {
                return Err(PacketRefusal::Foreign);
            }
            let header_end = ETHERNET + IPV6;
            let fragment = header.next_header == wire::PROTOCOL_FRAGMENT;
            let protocol = if fragment {
                let behind: &[u8; 8] = packet.read(header_end).ok_or(PacketRefusal::Foreign)?;
                behind[0]
            } else {
                header.next_header
            };
            Ok(Outer {
                v6: true,
                protocol,
                source: Address::v6(header.source),
                destination: Address::v6(header.destination),
                fragment,
                header_end,
                end: header_end + header.payload_length(),
            })
        }
        _ => Err(PacketRefusal::Foreign),
    }
}

/// Sums the IPv4 header up to `header_end`, as the kernel would if it saw the packet (RFC 791 3.1).
#[inline(always)]
fn is_ipv4_checksum_right(packet: Packet<'_>, header_end: usize) -> bool {
    const OPTIONS: usize = ETHERNET + wire::IPV4;
    const WORD: usize = 4;
    let Some(fixed) = packet.read::<[[u8; 2]; wire::IPV4 / 2]>(ETHERNET) else {
        return false;
    };
    let word = |bytes: [u8; 2]| u32::from(u16::from_ne_bytes(bytes));
    let mut sum = 0;
    for bytes in fixed {
        sum += word(*bytes);
    }
    let mut at = OPTIONS;
    while at < OPTIONS + 10 * WORD {
        if at >= header_end {
            break;
        }
        let Some([one, two]) = packet.read::<[[u8; 2]; 2]>(at) else {
            return false;
        };
        sum += word(*one) + word(*two);
        at += WORD;
    }
    wire::checksum_finish(sum) == 0
}

/// Compares the cookie at `start`; returns where it ends, and whether it is the former one.
#[inline(always)]
fn check_cookie(
    packet: Packet<'_>,
    start: usize,
    packet_end: usize,
    session: &Receive,
    tables: &impl Tables,
) -> Result<(usize, bool), Reason> {
    let length = session.cookie_length();
    let present = is_cookie(packet, start, packet_end, session.cookie(), length);
    // No cookie is always there: a packet that carries the former one is told by that.
    if length > 0 && present == Ok(true) {
        return Ok((start + length, false));
    }
    if let Some(length) = session.previous_length()
        && let Some(previous) = tables.previous_cookie(session.id())
        && is_cookie(packet, start, packet_end, previous, length) == Ok(true)
    {
        return Ok((start + length, true));
    }
    match present {
        Ok(true) => Ok((start + length, false)),
        Ok(false) => Err(Reason::WrongCookie),
        Err(TooShort) => Err(Reason::ShortHeader),
    }
}

/// The packet ends before the cookie does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TooShort;

#[inline(always)]
fn is_cookie(
    packet: Packet<'_>,
    start: usize,
    packet_end: usize,
    cookie: [u8; 8],
    length: usize,
) -> Result<bool, TooShort> {
    if start + length > packet_end {
        return Err(TooShort);
    }
    match length {
        0 => Ok(true),
        4 => {
            let there: &[u8; 4] = packet.read(start).ok_or(TooShort)?;
            let [a, b, c, d, ..] = cookie;
            Ok(u32::from_ne_bytes(*there) == u32::from_ne_bytes([a, b, c, d]))
        }
        _ => {
            let there: &[u8; 8] = packet.read(start).ok_or(TooShort)?;
            Ok(u64::from_ne_bytes(*there) == u64::from_ne_bytes(cookie))
        }
    }
}
