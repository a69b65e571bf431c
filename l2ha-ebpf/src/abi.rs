//! Keys and values of the maps, written by the daemon and read by the programs.
//!
//! What is compared with a packet is kept in the packet's byte order, as byte arrays; lengths and
//! indices are in the machine's. No type has padding (`Pod` refuses to be derived otherwise).

use core::net::{IpAddr, Ipv6Addr};

use bytemuck::{Pod, Zeroable};

use crate::outer::{Outer, OuterLength};

/// How many sessions a node can have.
pub const MAX_SESSIONS: u32 = 4096;
/// How many virtual interface ends: two for each session.
pub const MAX_INTERFACES: u32 = 2 * MAX_SESSIONS;
/// How many endpoints: each session's own, and one without a port for its fragments.
pub const MAX_ENDPOINTS: u32 = 2 * MAX_SESSIONS;

/// An IPv4 address as the IPv6 address that stands for it (RFC 4291 2.5.5.2), or an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct Address([u8; 16]);

impl Address {
    /// From the bytes of an IPv4 header.
    #[inline(always)]
    #[must_use]
    pub const fn v4(bytes: [u8; 4]) -> Self {
        let [a, b, c, d] = bytes;
        Self([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d])
    }

    /// From the bytes of an IPv6 header.
    #[inline(always)]
    #[must_use]
    pub const fn v6(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Whether both are the same; two comparisons instead of a call of `memcmp`.
    #[inline(always)]
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        let halves = |address: &Self| -> [u64; 2] { bytemuck::cast(address.0) };
        let (one, two) = (halves(self), halves(other));
        one[0] == two[0] && one[1] == two[1]
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::v4(address.octets()),
            IpAddr::V6(address) => Self::v6(address.octets()),
        }
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        let v6 = Ipv6Addr::from(address.0);
        v6.to_ipv4_mapped().map_or(Self::V6(v6), Self::V4)
    }
}

/// What carries L2TPv3: the family of the outer IP header, and whether UDP is in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(transparent)]
pub struct Carrier(u8);

impl Carrier {
    /// UDP over IPv4.
    pub const UDP_V4: Self = Self(0);
    /// UDP over IPv6.
    pub const UDP_V6: Self = Self(1);
    /// IP protocol 115 over IPv4.
    pub const IP_V4: Self = Self(2);
    /// IP protocol 115 over IPv6.
    pub const IP_V6: Self = Self(3);

    /// The carrier of this family.
    #[inline(always)]
    #[must_use]
    pub const fn new(v6: bool, udp: bool) -> Self {
        Self(v6 as u8 | (!udp as u8) << 1)
    }

    /// Whether the outer IP header is IPv6.
    #[inline(always)]
    #[must_use]
    pub const fn is_v6(self) -> bool {
        self.0 & 1 != 0
    }

    /// Whether UDP is between IP and L2TPv3.
    #[inline(always)]
    #[must_use]
    pub const fn is_udp(self) -> bool {
        self.0 & 2 == 0
    }

    /// Whether packets must be cut before they are encapsulated: the kernel has no segmentation
    /// behind protocol 115, and none that writes the UDP checksum that IPv6 wants.
    #[inline(always)]
    #[must_use]
    pub const fn wants_cut_packets(self) -> bool {
        !self.is_udp() || self.is_v6()
    }
}

/// Key of the sessions: the session id that the peer writes, big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct SessionId([u8; 4]);

impl SessionId {
    /// From the bytes of a packet.
    #[inline(always)]
    #[must_use]
    pub const fn from_wire(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }

    /// From the number.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number.to_be_bytes())
    }

    /// Whether it is 0, which no session has.
    #[inline(always)]
    #[must_use]
    pub const fn is_zero(self) -> bool {
        u32::from_ne_bytes(self.0) == 0
    }
}

/// Key of the endpoints: a local address, and the port or protocol on it that is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct EndpointKey {
    address: Address,
    port: [u8; 2],
    carrier: Carrier,
    reserved: u8,
}

impl EndpointKey {
    /// An address with a port (big-endian; 0 over IP, and for fragments, which do not show it).
    #[inline(always)]
    #[must_use]
    pub const fn new(address: Address, carrier: Carrier, port: [u8; 2]) -> Self {
        Self {
            address,
            port,
            carrier,
            reserved: 0,
        }
    }

    /// The same for a fragment of a packet.
    #[inline(always)]
    #[must_use]
    pub const fn of_fragments(self) -> Self {
        Self {
            port: [0; 2],
            ..self
        }
    }
}

/// Value of the sessions: what a packet of this session must be, and where its frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Receive {
    local: Address,
    remote: Address,
    cookie: [u8; 8],
    local_port: [u8; 2],
    remote_port: [u8; 2],
    cookie_length: u8,
    sublayer_length: u8,
    carrier: Carrier,
    reserved: u8,
    hidden_ifindex: u32,
    visible_ifindex: u32,
    slot: u32,
    reserved_end: u32,
}

/// What the daemon knows of a session when it fills [`Receive`] and [`Transmit`].
#[derive(Clone, Copy, Debug)]
pub struct SessionPlan<'a> {
    /// Local outer address; of the same family as `remote`.
    pub local: IpAddr,
    /// The peer's outer address.
    pub remote: IpAddr,
    /// Local and remote port, or `None` for IP protocol 115.
    pub ports: Option<(u16, u16)>,
    /// The session id the peer expects.
    pub peer_session_id: u32,
    /// What the peer expects: 0, 4 or 8 bytes.
    pub send_cookie: &'a [u8],
    /// What this node expects: 0, 4 or 8 bytes.
    pub receive_cookie: &'a [u8],
    /// Whether the default L2-specific sublayer is there.
    pub sublayer: bool,
    /// Index of the end that the user sees.
    pub visible_ifindex: u32,
    /// Index of the end that is the data plane's.
    pub hidden_ifindex: u32,
    /// Index of the interface that carries the outer packets.
    pub underlay_ifindex: u32,
    /// Index into the traffic counters.
    pub slot: u32,
}

impl SessionPlan<'_> {
    /// What carries the session.
    #[must_use]
    pub const fn carrier(&self) -> Carrier {
        Carrier::new(self.remote.is_ipv6(), self.ports.is_some())
    }
}

impl Receive {
    /// Fills the value; `None` when a cookie is not 0, 4 or 8 bytes long or the addresses are of
    /// different families.
    #[must_use]
    pub fn new(plan: &SessionPlan<'_>) -> Option<Self> {
        if plan.local.is_ipv4() != plan.remote.is_ipv4() {
            return None;
        }
        let (local_port, remote_port) = plan.ports.unwrap_or_default();
        let (cookie, cookie_length) = cookie(plan.receive_cookie)?;
        Some(Self {
            local: plan.local.into(),
            remote: plan.remote.into(),
            cookie,
            local_port: local_port.to_be_bytes(),
            remote_port: remote_port.to_be_bytes(),
            cookie_length,
            sublayer_length: if plan.sublayer { 4 } else { 0 },
            carrier: plan.carrier(),
            reserved: 0,
            hidden_ifindex: plan.hidden_ifindex,
            visible_ifindex: plan.visible_ifindex,
            slot: plan.slot,
            reserved_end: 0,
        })
    }

    /// Whether a packet that came to this endpoint can be of this session.
    #[inline(always)]
    #[must_use]
    pub fn is_at(&self, endpoint: &EndpointKey) -> bool {
        self.carrier.0 == endpoint.carrier.0
            && u16::from_ne_bytes(self.local_port) == u16::from_ne_bytes(endpoint.port)
            && self.local.is(&endpoint.address)
    }

    /// The peer's address.
    #[inline(always)]
    #[must_use]
    pub const fn remote(&self) -> &Address {
        &self.remote
    }

    /// Whether this is the peer's port, big-endian.
    #[inline(always)]
    #[must_use]
    pub const fn is_remote_port(&self, port: [u8; 2]) -> bool {
        u16::from_ne_bytes(self.remote_port) == u16::from_ne_bytes(port)
    }

    /// The cookie's length in bytes: 0, 4 or 8.
    #[inline(always)]
    #[must_use]
    pub const fn cookie_length(&self) -> usize {
        self.cookie_length as usize
    }

    /// The cookie's first half.
    #[inline(always)]
    #[must_use]
    pub const fn cookie_start(&self) -> u32 {
        let [a, b, c, d, ..] = self.cookie;
        u32::from_ne_bytes([a, b, c, d])
    }

    /// The whole cookie of 8 bytes.
    #[inline(always)]
    #[must_use]
    pub const fn cookie(&self) -> u64 {
        u64::from_ne_bytes(self.cookie)
    }

    /// Length of the L2-specific sublayer in bytes: 0 or 4.
    #[inline(always)]
    #[must_use]
    pub const fn sublayer_length(&self) -> usize {
        self.sublayer_length as usize
    }

    /// Index of the hidden end: what is sent there arrives at the visible one.
    #[inline(always)]
    #[must_use]
    pub const fn hidden_ifindex(&self) -> u32 {
        self.hidden_ifindex
    }

    /// Index of the visible end.
    #[inline(always)]
    #[must_use]
    pub const fn visible_ifindex(&self) -> u32 {
        self.visible_ifindex
    }

    /// Index into the traffic counters.
    #[inline(always)]
    #[must_use]
    pub const fn slot(&self) -> u32 {
        self.slot
    }
}

/// Value of the interfaces: what is written around a frame, and where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Transmit {
    outer: Outer,
    carrier: Carrier,
    outer_length: OuterLength,
    underlay_ifindex: u32,
    slot: u32,
}

impl Transmit {
    /// Fills the value; `None` under the conditions of [`Receive::new`].
    #[must_use]
    pub fn new(plan: &SessionPlan<'_>) -> Option<Self> {
        let (cookie, cookie_length) = cookie(plan.send_cookie)?;
        let (outer, outer_length) = Outer::new(plan, &cookie[..usize::from(cookie_length)])?;
        Some(Self {
            outer,
            carrier: plan.carrier(),
            outer_length,
            underlay_ifindex: plan.underlay_ifindex,
            slot: plan.slot,
        })
    }

    /// The outer headers, without lengths and checksum.
    #[inline(always)]
    #[must_use]
    pub const fn outer(&self) -> &Outer {
        &self.outer
    }

    /// Length of the outer headers in bytes, their Ethernet header included.
    #[inline(always)]
    #[must_use]
    pub const fn outer_length(&self) -> u32 {
        self.outer_length.bytes()
    }

    /// What carries the session.
    #[inline(always)]
    #[must_use]
    pub const fn carrier(&self) -> Carrier {
        self.carrier
    }

    /// Index of the interface that carries the outer packets.
    #[inline(always)]
    #[must_use]
    pub const fn underlay_ifindex(&self) -> u32 {
        self.underlay_ifindex
    }

    /// Index into the traffic counters.
    #[inline(always)]
    #[must_use]
    pub const fn slot(&self) -> u32 {
        self.slot
    }
}

/// What went through one session on one CPU. Bytes are those of the inner frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Traffic {
    /// Frames delivered to the virtual interface.
    pub rx_packets: u64,
    /// Their bytes.
    pub rx_bytes: u64,
    /// Frames sent to the underlay, as they are on the wire.
    pub tx_packets: u64,
    /// Their bytes; headers that segmentation repeats are counted once.
    pub tx_bytes: u64,
}

fn cookie(bytes: &[u8]) -> Option<([u8; 8], u8)> {
    let mut cookie = [0; 8];
    match bytes.len() {
        length @ (0 | 4 | 8) => {
            cookie[..length].copy_from_slice(bytes);
            Some((cookie, length as u8))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use super::*;

    #[test]
    fn addresses_survive() {
        for text in ["10.0.0.1", "2001:db8::1", "::1"] {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(IpAddr::from(Address::from(address)), address);
        }
        let one = Address::from(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)));
        let two = Address::from(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)));
        assert!(one.is(&one));
        assert!(!one.is(&two));
    }

    #[test]
    fn carriers_are_what_they_say() {
        assert_eq!(Carrier::new(false, true), Carrier::UDP_V4);
        assert_eq!(Carrier::new(true, true), Carrier::UDP_V6);
        assert_eq!(Carrier::new(false, false), Carrier::IP_V4);
        assert_eq!(Carrier::new(true, false), Carrier::IP_V6);
        assert!(Carrier::IP_V6.is_v6() && !Carrier::IP_V6.is_udp());
    }

    #[test]
    fn a_cookie_of_another_length_is_refused() {
        let plan = SessionPlan {
            local: "10.0.0.1".parse().unwrap(),
            remote: "10.0.0.2".parse().unwrap(),
            ports: Some((1701, 1701)),
            peer_session_id: 1,
            send_cookie: &[],
            receive_cookie: &[1, 2, 3],
            sublayer: false,
            visible_ifindex: 1,
            hidden_ifindex: 2,
            underlay_ifindex: 3,
            slot: 0,
        };
        assert!(Receive::new(&plan).is_none());
        assert!(Transmit::new(&plan).is_some());
        let mixed = SessionPlan {
            remote: "::1".parse().unwrap(),
            receive_cookie: &[],
            ..plan
        };
        assert!(Receive::new(&mixed).is_none());
        assert!(Transmit::new(&mixed).is_none());
    }
}
