//! Puts fragments together (RFC 791 3.2, RFC 8200 4.5), apart from the kernel, whose memory for that anybody can fill
//! with beginnings: what a tunnel's remote sends has room of its own here, and the oldest gives way to the newest.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

use l2ha_ebpf::wire::{self, ETHERNET, IPV4, IPV6, UDP};

/// Packets of one remote that are put together at a time.
const MOST: usize = 32;
/// Bytes kept of one remote.
const MOST_BYTES: usize = 128 * 1024;
/// Pieces of one packet: as many as of 1500 bytes make the largest.
const MOST_PIECES: usize = 64;
/// How long a packet is waited for. The kernel waits 30 s; the pieces of a packet leave together.
const PATIENCE: Duration = Duration::from_secs(2);
/// Next Header of a fragment (RFC 8200 4.5), and the length of that header.
const FRAGMENT: u8 = 44;
const FRAGMENT_HEADER: usize = 8;
/// More Fragments, and the offset in units of 8 bytes (RFC 791 3.1).
const MORE_V4: u16 = 0x2000;
const OFFSET_V4: u16 = 0x1fff;

/// A local address and a remote.
pub type Way = (IpAddr, IpAddr);

/// What became of a fragment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is none, or nobody's.
    Foreign,
    /// More is needed.
    Kept,
    /// It does not go with the others.
    Damaged,
    /// The packet is whole: an Ethernet header of which only the type counts, and the packet as if it had never been
    /// cut.
    Whole(Vec<u8>),
}

/// The packets that are not whole yet.
#[derive(Debug)]
pub(crate) struct Fragments {
    ways: HashSet<Way>,
    waiting: HashMap<Way, VecDeque<Waiting>>,
    /// Packets that were given up.
    given_up: u64,
}

#[derive(Debug)]
struct Waiting {
    id: u32,
    protocol: u8,
    since: Instant,
    /// The IP header of the first piece.
    header: Option<Vec<u8>>,
    /// Where each begins; they do not overlap.
    pieces: Vec<(usize, Vec<u8>)>,
    /// Length of the whole, once the last piece is there.
    total: Option<usize>,
}

struct Piece<'a> {
    way: Way,
    id: u32,
    protocol: u8,
    header: &'a [u8],
    offset: usize,
    more: bool,
    payload: &'a [u8],
}

impl Fragments {
    /// For packets on these ways only.
    pub(crate) fn new(ways: HashSet<Way>) -> Self {
        Self {
            ways,
            waiting: HashMap::new(),
            given_up: 0,
        }
    }

    /// How many packets were given up since this was asked.
    pub(crate) fn given_up(&mut self) -> u64 {
        std::mem::take(&mut self.given_up)
    }

    /// Takes an IP packet.
    pub(crate) fn take(&mut self, now: Instant, packet: &[u8]) -> Taken {
        let piece = match packet.first().map(|first| first >> 4) {
            Some(4) => piece_v4(packet),
            Some(6) => piece_v6(packet),
            _ => None,
        };
        let Some(piece) = piece.filter(|piece| self.ways.contains(&piece.way)) else {
            return Taken::Foreign;
        };
        let waiting = self.waiting.entry(piece.way).or_default();
        let before = waiting.len();
        waiting.retain(|it| now < it.since + PATIENCE);
        let mut given_up = before - waiting.len();
        let known = waiting.iter().position(|it| it.is_of(&piece));
        let mut whole = known
            .and_then(|at| waiting.remove(at))
            .unwrap_or_else(|| Waiting::new(now, &piece));
        let taken = match whole.add(&piece) {
            Err(Damaged) => Taken::Damaged,
            Ok(()) => match whole.put_together(piece.way) {
                None => {
                    waiting.push_back(whole);
                    Taken::Kept
                }
                Some(Ok(packet)) => Taken::Whole(packet),
                Some(Err(Damaged)) => Taken::Damaged,
            },
        };
        let bytes = |waiting: &VecDeque<Waiting>| waiting.iter().map(Waiting::bytes).sum::<usize>();
        while waiting.len() > MOST || bytes(waiting) > MOST_BYTES {
            waiting.pop_front();
            given_up += 1;
        }
        self.given_up += given_up as u64;
        taken
    }
}

/// The pieces do not make a packet: all of them go (RFC 5722).
struct Damaged;

impl Waiting {
    fn new(now: Instant, piece: &Piece<'_>) -> Self {
        Self {
            id: piece.id,
            protocol: piece.protocol,
            since: now,
            header: None,
            pieces: Vec::new(),
            total: None,
        }
    }

    fn is_of(&self, piece: &Piece<'_>) -> bool {
        (self.id, self.protocol) == (piece.id, piece.protocol)
    }

    fn bytes(&self) -> usize {
        self.pieces.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    fn add(&mut self, piece: &Piece<'_>) -> Result<(), Damaged> {
        let (start, end) = (piece.offset, piece.offset + piece.payload.len());
        let duplicate = self
            .pieces
            .iter()
            .any(|(at, bytes)| *at == start && bytes == piece.payload);
        if duplicate {
            return Ok(());
        }
        let overlaps = self
            .pieces
            .iter()
            .any(|(at, bytes)| *at < end && start < at + bytes.len());
        let uneven = piece.more && !piece.payload.len().is_multiple_of(8);
        if piece.payload.is_empty() || overlaps || uneven || self.pieces.len() >= MOST_PIECES {
            return Err(Damaged);
        }
        if !piece.more && self.total.replace(end).is_some_and(|before| before != end) {
            return Err(Damaged);
        }
        if start == 0 {
            self.header = Some(piece.header.to_vec());
        }
        self.pieces.push((start, piece.payload.to_vec()));
        Ok(())
    }

    /// The packet, if it is whole.
    fn put_together(&mut self, way: Way) -> Option<Result<Vec<u8>, Damaged>> {
        let total = self.total?;
        let bytes = self.bytes();
        if bytes > total {
            return Some(Err(Damaged));
        }
        // They do not overlap, so as many bytes are all of them.
        let header = self.header.as_ref().filter(|_| bytes == total)?;
        self.pieces.sort_unstable_by_key(|(at, _)| *at);
        let payload: Vec<u8> = self.pieces.iter().flat_map(|(_, it)| it).copied().collect();
        Some(packet(way, self.protocol, header, &payload))
    }
}

/// The packet with its header, and a checksum that is right.
fn packet(
    (local, remote): Way,
    protocol: u8,
    header: &[u8],
    payload: &[u8],
) -> Result<Vec<u8>, Damaged> {
    let mut packet = vec![0; ETHERNET];
    packet.extend_from_slice(header);
    packet.extend_from_slice(payload);
    let ip = packet.get_mut(ETHERNET..).ok_or(Damaged)?;
    let ethertype = match (local, remote) {
        (IpAddr::V4(_), IpAddr::V4(_)) => {
            let total = u16::try_from(ip.len()).map_err(|_| Damaged)?;
            ip[2..4].copy_from_slice(&total.to_be_bytes());
            ip[6..8].fill(0);
            ip[10..12].fill(0);
            let sum = wire::checksum_finish(wire::checksum_sum(&ip[..header.len()]));
            ip[10..12].copy_from_slice(&sum.to_be_bytes());
            wire::ETHERTYPE_IPV4
        }
        _ => {
            let length = u16::try_from(payload.len()).map_err(|_| Damaged)?;
            ip[4..6].copy_from_slice(&length.to_be_bytes());
            ip[6] = protocol;
            wire::ETHERTYPE_IPV6
        }
    };
    packet[12..ETHERNET].copy_from_slice(&ethertype.to_be_bytes());
    let right = protocol != wire::PROTOCOL_UDP || is_checksum_right(local, remote, payload);
    right.then_some(packet).ok_or(Damaged)
}

/// Whether a UDP checksum is right (RFC 768), or there is none: whether there may be none is judged elsewhere.
fn is_checksum_right(local: IpAddr, remote: IpAddr, udp: &[u8]) -> bool {
    let (Some(header), Ok(length)) = (udp.get(..UDP), u32::try_from(udp.len())) else {
        return false;
    };
    if header[6..] == [0, 0] {
        return true;
    }
    let addresses = |address: IpAddr| match address {
        IpAddr::V4(address) => wire::checksum_sum(&address.octets()),
        IpAddr::V6(address) => wire::checksum_sum(&address.octets()),
    };
    let odd = udp.chunks_exact(2).remainder().first();
    let sums = [
        addresses(local),
        addresses(remote),
        u32::from(wire::PROTOCOL_UDP),
        length,
        wire::checksum_sum(udp),
        odd.map_or(0, |last| u32::from(*last) << 8),
    ];
    let sum = sums.iter().map(|sum| u64::from(*sum)).sum::<u64>();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    (folded & 0xffff) + (folded >> 16) == 0xffff
}

const fn is_carrier(protocol: u8) -> bool {
    matches!(protocol, wire::PROTOCOL_UDP | wire::PROTOCOL_L2TP)
}

fn piece_v4(packet: &[u8]) -> Option<Piece<'_>> {
    let word = |at: usize| Some(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]));
    let length = usize::from(packet.first()? & 0xf) * 4;
    let (total, fragment) = (usize::from(word(2)?), word(6)?);
    let protocol = *packet.get(9)?;
    let address = |at: usize| {
        let octets: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
        Some(IpAddr::V4(Ipv4Addr::from(octets)))
    };
    let is_piece = fragment & (MORE_V4 | OFFSET_V4) != 0;
    (is_piece && length >= IPV4 && is_carrier(protocol)).then_some(Piece {
        way: (address(16)?, address(12)?),
        id: word(4)?.into(),
        protocol,
        header: packet.get(..length)?,
        offset: usize::from(fragment & OFFSET_V4) * 8,
        more: fragment & MORE_V4 != 0,
        payload: packet.get(length..total)?,
    })
}

/// With the fragment header right behind IPv6's, as whoever sends no extension headers has it.
fn piece_v6(packet: &[u8]) -> Option<Piece<'_>> {
    let header = packet.get(..IPV6)?;
    let payload_length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let fragment: [u8; FRAGMENT_HEADER] =
        packet.get(IPV6..IPV6 + FRAGMENT_HEADER)?.try_into().ok()?;
    let [protocol, _, high, low, id @ ..] = fragment;
    let place = u16::from_be_bytes([high, low]);
    let address = |at: usize| {
        let octets: [u8; 16] = header.get(at..at + 16)?.try_into().ok()?;
        Some(IpAddr::V6(Ipv6Addr::from(octets)))
    };
    (header[6] == FRAGMENT && is_carrier(protocol)).then_some(Piece {
        way: (address(24)?, address(8)?),
        id: u32::from_be_bytes(id),
        protocol,
        header,
        offset: usize::from(place & !7),
        more: place & 1 != 0,
        payload: packet.get(IPV6 + FRAGMENT_HEADER..IPV6 + payload_length)?,
    })
}

#[cfg(test)]
mod tests;
