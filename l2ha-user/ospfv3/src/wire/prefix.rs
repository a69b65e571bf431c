//! Prefixes as RFC 5340 A.4.1 writes them: as many 32-bit words as the length needs.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::text::from_text;
use super::{DecodeError, Decoded, Family, PrefixOptions, Reader, Write};

/// A prefix. The bits beyond its length are always zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    addr: IpAddr,
    len: u8,
}

impl Prefix {
    /// Everything of IPv6, `::/0`.
    pub const DEFAULT: Self = Self::default_of(Family::Ipv6);

    /// `addr` cut to its first `len` bits; nothing if it has fewer.
    pub fn new(addr: impl Into<IpAddr>, len: u8) -> Option<Self> {
        let addr = addr.into();
        let bits = Family::of(addr).bits();
        let rest = u32::from(bits.checked_sub(len)?);
        let addr = match addr {
            IpAddr::V6(addr) => {
                let mask = u128::MAX.checked_shl(rest).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(addr.to_bits() & mask))
            }
            IpAddr::V4(addr) => {
                let mask = u32::MAX.checked_shl(rest).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(addr.to_bits() & mask))
            }
        };
        Some(Self { addr, len })
    }

    /// Everything: `::/0` or `0.0.0.0/0`.
    pub const fn default_of(family: Family) -> Self {
        let addr = match family {
            Family::Ipv6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            Family::Ipv4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        Self { addr, len: 0 }
    }

    /// The /128 or /32 of one address.
    pub fn host(addr: impl Into<IpAddr>) -> Self {
        let addr = addr.into();
        let len = Family::of(addr).bits();
        Self { addr, len }
    }

    /// The first address.
    pub const fn addr(&self) -> IpAddr {
        self.addr
    }

    /// What kind of addresses it has.
    pub const fn family(&self) -> Family {
        Family::of(self.addr)
    }

    /// Length in bits.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a length in bits, not a container"
    )]
    pub const fn len(&self) -> u8 {
        self.len
    }

    /// Whether it is a single address.
    pub const fn is_host(&self) -> bool {
        self.len == self.family().bits()
    }

    /// Whether `addr` lies within.
    pub fn contains(&self, addr: impl Into<IpAddr>) -> bool {
        Self::new(addr, self.len) == Some(*self)
    }

    /// Whether it lies within fe80::/10. RFC 5340 4.4.3.9: such a prefix is never advertised.
    pub fn is_link_local(&self) -> bool {
        matches!(self.addr, IpAddr::V6(addr) if addr.is_unicast_link_local())
    }

    fn wire_len(len: u8) -> usize {
        usize::from(len).div_ceil(32) * 4
    }

    /// Bytes of the address part on the wire.
    pub(crate) fn encoded_len(&self) -> usize {
        Self::wire_len(self.len)
    }

    pub(crate) fn encode_addr(&self, out: &mut Vec<u8>) {
        let len = self.encoded_len();
        match self.addr {
            IpAddr::V6(addr) => out.put(addr.octets().get(..len).unwrap_or_default()),
            IpAddr::V4(addr) => out.put(addr.octets().get(..len).unwrap_or_default()),
        }
    }

    /// Reads the address part. Bits beyond the length are ignored, as RFC 5340 A.4.1 has them zero.
    ///
    /// What is too long for IPv4 is read as IPv6, and so never used: RFC 5838 2.3 keeps prefixes
    /// that do not conform to the family out of the calculation, not out of the database.
    pub(crate) fn decode_addr(family: Family, len: u8, r: &mut Reader<'_>) -> Decoded<Self> {
        if len > Family::Ipv6.bits() {
            return Err(DecodeError::PrefixLength(len));
        }
        let mut octets = [0u8; 16];
        let bytes = r.take(Self::wire_len(len))?;
        for (to, from) in octets.iter_mut().zip(bytes) {
            *to = *from;
        }
        let [a, b, c, d, ..] = octets;
        let addr = if family == Family::Ipv4 && len <= Family::Ipv4.bits() {
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        } else {
            IpAddr::V6(Ipv6Addr::from(octets))
        };
        Self::new(addr, len).ok_or(DecodeError::PrefixLength(len))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.len)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Prefix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Prefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer, |text| {
            let (addr, len) = text.split_once('/')?;
            Self::new(addr.parse::<IpAddr>().ok()?, len.parse().ok()?)
        })
    }
}

/// A prefix in a Link-LSA or an Intra-Area-Prefix-LSA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
pub struct PrefixEntry {
    /// The prefix.
    pub prefix: Prefix,
    /// Its capabilities.
    pub options: PrefixOptions,
    /// Its metric; meaningless and zero in a Link-LSA.
    pub metric: u16,
}

impl PrefixEntry {
    /// Bytes on the wire.
    pub(crate) fn encoded_len(&self) -> usize {
        4 + self.prefix.encoded_len()
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(self.prefix.len());
        out.put_u8(self.options.bits());
        out.put_u16(self.metric);
        self.prefix.encode_addr(out);
    }

    pub(crate) fn decode(family: Family, r: &mut Reader<'_>) -> Decoded<Self> {
        let len = r.u8()?;
        let options = PrefixOptions::from_bits(r.u8()?);
        let metric = r.u16()?;
        let prefix = Prefix::decode_addr(family, len, r)?;
        Ok(Self {
            prefix,
            options,
            metric,
        })
    }
}
