//! IPv6 prefixes as RFC 5340 A.4.1 writes them: as many 32-bit words as the length needs.

use std::fmt;
use std::net::Ipv6Addr;

use serde::{Serialize, Serializer};

use super::{DecodeError, Decoded, PrefixOptions, Reader, Write};

/// An IPv6 prefix. The bits beyond its length are always zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    addr: Ipv6Addr,
    len: u8,
}

impl Prefix {
    /// Everything, `::/0`.
    pub const DEFAULT: Self = Self {
        addr: Ipv6Addr::UNSPECIFIED,
        len: 0,
    };

    /// `addr` cut to its first `len` bits; nothing if `len` is above 128.
    pub fn new(addr: Ipv6Addr, len: u8) -> Option<Self> {
        if len > 128 {
            return None;
        }
        let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
        Some(Self {
            addr: Ipv6Addr::from_bits(addr.to_bits() & mask),
            len,
        })
    }

    /// The /128 of one address.
    pub const fn host(addr: Ipv6Addr) -> Self {
        Self { addr, len: 128 }
    }

    /// The first address.
    pub const fn addr(&self) -> Ipv6Addr {
        self.addr
    }

    /// Length in bits.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a length in bits, not a container"
    )]
    pub const fn len(&self) -> u8 {
        self.len
    }

    /// Whether `addr` lies within.
    pub fn contains(&self, addr: Ipv6Addr) -> bool {
        Self::new(addr, self.len) == Some(*self)
    }

    /// Whether it lies within fe80::/10. RFC 5340 4.4.3.9: such a prefix is never advertised.
    pub fn is_link_local(&self) -> bool {
        self.addr.is_unicast_link_local()
    }

    fn wire_len(len: u8) -> usize {
        usize::from(len).div_ceil(32) * 4
    }

    /// Bytes of the address part on the wire.
    pub(crate) fn encoded_len(&self) -> usize {
        Self::wire_len(self.len)
    }

    pub(crate) fn encode_addr(&self, out: &mut Vec<u8>) {
        let octets = self.addr.octets();
        out.put(octets.get(..self.encoded_len()).unwrap_or(&octets));
    }

    /// Reads the address part. Bits beyond the length are ignored, as RFC 5340 A.4.1 has them zero.
    pub(crate) fn decode_addr(len: u8, r: &mut Reader<'_>) -> Decoded<Self> {
        if len > 128 {
            return Err(DecodeError::PrefixLength(len));
        }
        let mut octets = [0u8; 16];
        let bytes = r.take(Self::wire_len(len))?;
        for (to, from) in octets.iter_mut().zip(bytes) {
            *to = *from;
        }
        Self::new(Ipv6Addr::from(octets), len).ok_or(DecodeError::PrefixLength(len))
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

/// A prefix in a Link-LSA or an Intra-Area-Prefix-LSA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
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

    pub(crate) fn decode(r: &mut Reader<'_>) -> Decoded<Self> {
        let len = r.u8()?;
        let options = PrefixOptions::from_bits(r.u8()?);
        let metric = r.u16()?;
        let prefix = Prefix::decode_addr(len, r)?;
        Ok(Self {
            prefix,
            options,
            metric,
        })
    }
}
