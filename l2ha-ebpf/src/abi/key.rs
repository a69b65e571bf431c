//! Keys: addresses, ports, session ids as they are in packets.

use core::net::{IpAddr, Ipv6Addr};

use bytemuck::{Pod, Zeroable};

use super::{MAX_ROWS, layout::layout};

/// An IPv4 address as the IPv6 address that stands for it (RFC 4291 2.5.5.2), or an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
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

    /// How many bits of it count for a prefix of this length.
    #[inline(always)]
    #[must_use]
    pub const fn bits(v6: bool, prefix_length: u8) -> u32 {
        prefix_length as u32 + if v6 { 0 } else { 96 }
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
}

/// Key of the sessions: the session id that the peer writes, big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct SessionId([u8; 4]);

impl SessionId {
    /// The number of its layout.
    pub(crate) const LAYOUT: u32 = size_of::<Self>() as u32;

    /// Of no session.
    pub const NONE: Self = Self([0; 4]);

    /// The bytes as they lie in memory, as a word of this machine's.
    #[inline(always)]
    #[must_use]
    const fn word(self) -> u32 {
        u32::from_ne_bytes(self.0)
    }

    /// The number.
    #[inline(always)]
    #[must_use]
    pub const fn get(self) -> u32 {
        u32::from_be_bytes(self.0)
    }

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

    /// The last bits of the number: which of the rows can be this session's.
    #[inline(always)]
    #[must_use]
    pub const fn row(self) -> u32 {
        self.get() & (MAX_ROWS - 1)
    }

    /// Whether both are the same.
    #[inline(always)]
    #[must_use]
    pub const fn is(self, other: Self) -> bool {
        self.word() == other.word()
    }

    /// Whether it is 0, which no session has.
    #[inline(always)]
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.word() == 0
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

layout!(EndpointKey {
    address,
    port,
    carrier,
    reserved,
});

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

    /// The address.
    #[inline(always)]
    pub(crate) const fn address(&self) -> &Address {
        &self.address
    }

    /// The port, big-endian.
    #[inline(always)]
    pub(crate) const fn port(&self) -> [u8; 2] {
        self.port
    }

    /// What carries packets to it.
    #[inline(always)]
    pub(crate) const fn carrier(&self) -> Carrier {
        self.carrier
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
    fn an_ipv4_address_is_the_last_word() {
        assert_eq!(Address::bits(false, 24), 120);
        assert_eq!(Address::bits(true, 64), 64);
    }

    #[test]
    fn carriers_are_what_they_say() {
        assert_eq!(Carrier::new(false, true), Carrier::UDP_V4);
        assert_eq!(Carrier::new(true, true), Carrier::UDP_V6);
        assert_eq!(Carrier::new(false, false), Carrier::IP_V4);
        assert_eq!(Carrier::new(true, false), Carrier::IP_V6);
        assert!(Carrier::IP_V6.is_v6() && !Carrier::IP_V6.is_udp());
    }
}
