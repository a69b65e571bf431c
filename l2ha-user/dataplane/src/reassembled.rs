//! Packets that came in fragments: checked as the programs check them, and delivered.
//!
//! A fragment does not show session and cookie, so the programs leave all of them to the kernel,
//! whose reassembled packets reach the sockets that hold the ports. Where fragments come, those of the remotes
//! are put together here as well (`fragments`), because others can fill the kernel's memory for that, and
//! what the kernel has put together is left. This way is slow and limited on
//! purpose: it keeps a peer with a wrong MTU reachable and makes the mistake visible.

mod handover;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use l2ha_ebpf::{
    abi::{EndpointKey, Receive, SessionId, SessionValue},
    decap::{self, Delivery, PacketRefusal, Tables},
    packet::Packet,
    reason::Reason,
    wire::{self, ETHERNET, IPV4, IPV6, UDP},
};
use linux::sockets;
use nix::sys::socket::{SockaddrStorage, recvfrom};
use socket2::{Domain, Socket, Type};

use self::handover::{By, Handover};
use crate::fragments::{Fragments, Taken, Way};

/// Frames a second that are delivered, for the node as a whole.
const RATE: u32 = 1000;
/// How many may come at once.
const BURST: u32 = 250;
/// How long after the last fragment a tunnel's MTU is still called wrong.
const RECENT: Duration = Duration::from_secs(60);
/// Room for the largest packet behind the longest headers written here.
const BUFFER: usize = ETHERNET + IPV6 + UDP + 0xffff;
/// Written for the UDP checksum, which the kernel has verified: over IPv6 its socket takes none without
/// one, but where a tunnel agreed to that ([`sockets::accept_zero_checksum`]).
const VERIFIED: u16 = 0xffff;
/// What a veth takes above its MTU: the Ethernet header and a VLAN tag.
const ABOVE_MTU: usize = ETHERNET + 4;

/// The way of reassembled packets. Clones share everything.
#[derive(Clone, Debug, Default)]
pub struct Reassembled(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    known: Known,
    limit: Limit,
    counts: BTreeMap<&'static str, u64>,
    refused: BTreeMap<&'static str, u64>,
    /// By the visible end's interface index.
    interfaces: HashMap<u32, Interface>,
    buffer: Vec<u8>,
    sender: Option<Socket>,
    /// While fragments of remotes are put together here.
    fragments: Option<Fragments>,
    /// Since that began, until what came before has been read.
    handover: Option<Handover>,
}

/// The maps' contents, as far as [`decap::decide`] asks.
#[derive(Debug, Default)]
struct Known {
    sessions: HashMap<SessionId, SessionValue>,
    endpoints: HashSet<EndpointKey>,
}

impl Tables for Known {
    fn session(&self, id: SessionId) -> Option<Receive> {
        self.sessions.get(&id).map(|session| *session.receive())
    }

    fn previous_cookie(&self, id: SessionId) -> Option<[u8; 8]> {
        self.sessions.get(&id).map(SessionValue::previous_cookie)
    }

    fn is_endpoint(&self, key: &EndpointKey) -> bool {
        self.endpoints.contains(key)
    }

    fn blame(&self, _slot: u32, _reason: Reason) {
        // What comes in fragments is counted for the node alone.
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Interface {
    mtu: Option<u32>,
    last: Option<Instant>,
}

/// What is counted here, besides the reasons of refusals.
const COUNTS: [&str; 9] = [
    "control_ignored",
    "foreign_ignored",
    "fragments_damaged",
    "fragments_delivered",
    "fragments_given_up",
    "fragments_seen_twice",
    "fragments_rate_limited",
    "fragments_send_failed",
    "fragments_too_big",
];

impl Reassembled {
    /// Reads one packet from a socket that holds `address`, and `port` over UDP, and does with it
    /// what is to be done. A raw IPv4 socket's packets begin with their IP header.
    ///
    /// # Errors
    ///
    /// When the socket has none ([`io::ErrorKind::WouldBlock`]), or is broken.
    pub fn receive(&self, socket: &Socket, address: IpAddr, port: Option<u16>) -> io::Result<()> {
        let mut state = self.lock();
        let mut buffer = std::mem::take(&mut state.buffer);
        buffer.resize(BUFFER, 0);
        let result = receive(socket, address, port, &mut buffer);
        if let Ok(Some(length)) = result {
            state.judge(&buffer[..length], By::Kernel);
        }
        state.buffer = buffer;
        match result {
            Ok(Some(_)) => Ok(()),
            Ok(None) => {
                state.count("foreign_ignored");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Puts fragments together here from now on, of packets on these ways; `None` leaves them to the kernel.
    pub fn put_together(&self, ways: Option<HashSet<Way>>) {
        let mut state = self.lock();
        state.handover = ways.is_some().then(|| Handover::new(Instant::now()));
        state.fragments = ways.map(Fragments::new);
    }

    /// Takes an IP packet that was seen on the underlay, if it is a fragment from a remote.
    pub fn take_fragment(&self, packet: &[u8]) {
        let mut state = self.lock();
        let Some(fragments) = &mut state.fragments else {
            return;
        };
        let taken = fragments.take(Instant::now(), packet);
        let given_up = fragments.given_up();
        *state.counts.entry("fragments_given_up").or_default() += given_up;
        match taken {
            Taken::Foreign | Taken::Kept => {}
            Taken::Damaged => state.count("fragments_damaged"),
            Taken::Whole(packet) => state.judge(&packet, By::Us),
        }
    }

    /// What became of the packets, by name.
    #[must_use]
    pub fn counters(&self) -> BTreeMap<String, u64> {
        let state = self.lock();
        let fixed = COUNTS.iter().map(|name| {
            let count = state.counts.get(name).copied().unwrap_or_default();
            ((*name).to_owned(), count)
        });
        let refused = state
            .refused
            .iter()
            .map(|(name, count)| (format!("fragments_refused_{name}"), *count));
        fixed.chain(refused).collect()
    }

    /// Tells the MTU of a virtual interface's visible end.
    pub fn set_mtu(&self, visible_ifindex: u32, mtu: u32) {
        let mut state = self.lock();
        state.interfaces.entry(visible_ifindex).or_default().mtu = Some(mtu);
    }

    /// Whether a session's peer lately sent packets that had to be fragmented.
    #[must_use]
    pub fn is_fragmenting(&self, visible_ifindex: u32) -> bool {
        let state = self.lock();
        let last = state
            .interfaces
            .get(&visible_ifindex)
            .and_then(|it| it.last);
        last.is_some_and(|last| last.elapsed() < RECENT)
    }

    pub(crate) fn set_session(&self, id: u32, value: SessionValue) {
        let id = SessionId::new(id);
        self.lock().known.sessions.insert(id, value);
    }

    pub(crate) fn remove_session(&self, id: u32, visible_ifindex: u32) {
        let mut state = self.lock();
        state.known.sessions.remove(&SessionId::new(id));
        state.interfaces.remove(&visible_ifindex);
    }

    pub(crate) fn set_endpoints(&self, endpoints: &HashSet<EndpointKey>) {
        self.lock().known.endpoints.clone_from(endpoints);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing is left half done where a panic could happen.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn count(&mut self, name: &'static str) {
        *self.counts.entry(name).or_default() += 1;
    }

    fn judge(&mut self, packet: &[u8], by: By) {
        match decap::decide(Packet::of(packet), &self.known) {
            Ok(delivery) => {
                let frame = &packet[delivery.start..delivery.end];
                let name = match self.is_first(&delivery, frame, by) {
                    true => self.deliver(&delivery, frame),
                    false => "fragments_seen_twice",
                };
                self.count(name);
            }
            Err(PacketRefusal::Drop(_)) if by == By::Kernel && self.fragments.is_some() => {
                self.count("fragments_seen_twice");
            }
            Err(PacketRefusal::Foreign) => self.count("foreign_ignored"),
            Err(PacketRefusal::Pass(Reason::PassedControl)) => self.count("control_ignored"),
            Err(PacketRefusal::Pass(reason) | PacketRefusal::Drop(reason)) => {
                *self.refused.entry(reason.name()).or_default() += 1;
            }
        }
    }

    /// Where fragments are put together here, the kernel's work is the same once more.
    fn is_first(&mut self, delivery: &Delivery, frame: &[u8], by: By) -> bool {
        let now = Instant::now();
        if self.handover.as_ref().is_some_and(|it| it.is_over(now)) {
            self.handover = None;
        }
        match &mut self.handover {
            Some(handover) => handover.is_first(by, delivery.hidden_ifindex, frame),
            None => by == By::Us || self.fragments.is_none(),
        }
    }

    /// Sends a frame into the hidden end; returns under which name that is counted.
    fn deliver(&mut self, delivery: &Delivery, frame: &[u8]) -> &'static str {
        let now = Instant::now();
        let interface = self.interfaces.entry(delivery.visible_ifindex).or_default();
        interface.last = Some(now);
        if interface
            .mtu
            .is_some_and(|mtu| frame.len() > mtu as usize + ABOVE_MTU)
        {
            return "fragments_too_big";
        }
        if !self.limit.admits(now) {
            return "fragments_rate_limited";
        }
        match self.send(delivery.hidden_ifindex, frame) {
            Ok(()) => "fragments_delivered",
            Err(error) => {
                tracing::debug!(%error, ifindex = delivery.hidden_ifindex, "frame not handed on");
                "fragments_send_failed"
            }
        }
    }

    fn send(&mut self, ifindex: u32, frame: &[u8]) -> io::Result<()> {
        let sender = match self.sender.take() {
            Some(sender) => sender,
            None => {
                // Without a protocol it receives nothing.
                let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
                socket.set_nonblocking(true)?;
                socket
            }
        };
        let sent = sender.send_to(frame, &sockets::link_address(ifindex)?);
        self.sender = Some(sender);
        sent.map(|_| ())
    }
}

/// A token bucket.
#[derive(Debug)]
struct Limit {
    tokens: f64,
    at: Option<Instant>,
}

impl Default for Limit {
    fn default() -> Self {
        Self {
            tokens: f64::from(BURST),
            at: None,
        }
    }
}

impl Limit {
    fn admits(&mut self, now: Instant) -> bool {
        if let Some(before) = self.at.replace(now) {
            let gained = now.duration_since(before).as_secs_f64() * f64::from(RATE);
            self.tokens = (self.tokens + gained).min(f64::from(BURST));
        }
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

/// Reads a packet and writes the outer headers it had in front of it. Returns the length of all, or
/// `None` for a packet whose sender is of another family than the socket.
fn receive(
    socket: &Socket,
    local: IpAddr,
    port: Option<u16>,
    buffer: &mut [u8],
) -> io::Result<Option<usize>> {
    let udp = if port.is_some() { UDP } else { 0 };
    let (ethertype, ip) = match local {
        IpAddr::V4(_) => (wire::ETHERTYPE_IPV4, IPV4),
        IpAddr::V6(_) => (wire::ETHERTYPE_IPV6, IPV6),
    };
    buffer[12..ETHERNET].copy_from_slice(&ethertype.to_be_bytes());
    let has_header = port.is_none() && local.is_ipv4();
    let start = ETHERNET + if has_header { 0 } else { ip + udp };
    let (length, source) = recvfrom::<SockaddrStorage>(socket.as_raw_fd(), &mut buffer[start..])?;
    let end = start + length;
    if has_header {
        return Ok(Some(end));
    }
    let Some(source) = source.as_ref().and_then(socket_address) else {
        return Ok(None);
    };
    let protocol = match port {
        Some(_) => wire::PROTOCOL_UDP,
        None => wire::PROTOCOL_L2TP,
    };
    let header = &mut buffer[ETHERNET..ETHERNET + ip];
    header.fill(0);
    let Ok(payload) = u16::try_from(udp + length) else {
        return Ok(None);
    };
    match (source.ip(), local) {
        (IpAddr::V4(source), IpAddr::V4(local)) => {
            let Some(total) = payload.checked_add(IPV4 as u16) else {
                return Ok(None);
            };
            header[0] = 0x45;
            header[2..4].copy_from_slice(&total.to_be_bytes());
            header[9] = protocol;
            header[12..16].copy_from_slice(&source.octets());
            header[16..20].copy_from_slice(&local.octets());
            let sum = wire::checksum_finish(wire::checksum_sum(header));
            header[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        (IpAddr::V6(source), IpAddr::V6(local)) => {
            header[0] = 0x60;
            header[4..6].copy_from_slice(&payload.to_be_bytes());
            header[6] = protocol;
            header[8..24].copy_from_slice(&source.octets());
            header[24..40].copy_from_slice(&local.octets());
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return Ok(None),
    }
    if let Some(port) = port {
        let header = &mut buffer[ETHERNET + ip..start];
        header[..2].copy_from_slice(&source.port().to_be_bytes());
        header[2..4].copy_from_slice(&port.to_be_bytes());
        header[4..6].copy_from_slice(&payload.to_be_bytes());
        header[6..].copy_from_slice(&VERIFIED.to_be_bytes());
    }
    Ok(Some(end))
}

fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddr::new(v4.ip().into(), v4.port()));
    }
    let v6 = address.as_sockaddr_in6()?;
    Some(SocketAddr::new(v6.ip().into(), v6.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_lets_a_burst_through_and_then_its_rate() {
        let mut limit = Limit::default();
        let start = Instant::now();
        let admitted = |limit: &mut Limit, at: Duration, tried: u32| {
            (0..tried).filter(|_| limit.admits(start + at)).count()
        };
        assert_eq!(admitted(&mut limit, Duration::ZERO, 2 * BURST), 250);
        assert_eq!(admitted(&mut limit, Duration::from_millis(100), 500), 100);
        assert_eq!(admitted(&mut limit, Duration::from_secs(100), 500), 250);
    }

    #[test]
    fn every_count_is_there_from_the_start() {
        let counters = Reassembled::default().counters();
        assert_eq!(counters.len(), COUNTS.len());
        assert!(counters.values().all(|count| *count == 0));
    }
}
