//! The header of an LSA and what names it, RFC 5340 A.4.2; its order in time, RFC 2328 13.1.

use std::net::Ipv4Addr;

use serde::Serialize;

use super::{Decoded, LsaType, Reader, Write};

/// Bytes of an LSA header.
pub const LSA_HEADER_LEN: usize = 20;
/// Age in seconds at which an LSA is flushed (MaxAge), RFC 2328 B.
pub const MAX_AGE: u16 = 3600;
/// Ages further apart than this many seconds tell instances apart, RFC 2328 B.
pub const MAX_AGE_DIFF: u16 = 900;
/// The first sequence number of an LSA, 0x80000001 (RFC 2328 12.1.6).
pub const INITIAL_SEQUENCE: i32 = i32::MIN + 1;
/// The last sequence number of an LSA, 0x7fffffff.
pub const MAX_SEQUENCE: i32 = i32::MAX;

/// What makes an LSA the same LSA, RFC 5340 4.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct LsaKey {
    /// LS type.
    pub ty: LsaType,
    /// Link State ID.
    pub id: u32,
    /// Router ID of the originator.
    pub adv: Ipv4Addr,
}

impl LsaKey {
    /// Bytes of one entry of a Link State Request.
    pub(crate) const REQUEST_LEN: usize = 12;

    pub(crate) fn encode_request(&self, out: &mut Vec<u8>) {
        out.put_u16(0);
        out.put_u16(self.ty.0);
        out.put_u32(self.id);
        out.put(&self.adv.octets());
    }

    pub(crate) fn decode_request(r: &mut Reader<'_>) -> Decoded<Self> {
        r.u16()?;
        Ok(Self {
            ty: LsaType(r.u16()?),
            id: r.u32()?,
            adv: r.ipv4()?,
        })
    }
}

/// The 20 bytes every LSA begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LsaHeader {
    /// Seconds since origination, at most [`MAX_AGE`].
    pub age: u16,
    /// Type, Link State ID and originator.
    pub key: LsaKey,
    /// Signed, growing from [`INITIAL_SEQUENCE`] to [`MAX_SEQUENCE`].
    pub sequence: i32,
    /// Fletcher checksum.
    pub checksum: u16,
    /// Bytes of the whole LSA, header included.
    pub length: u16,
}

impl LsaHeader {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(self.age);
        out.put_u16(self.key.ty.0);
        out.put_u32(self.key.id);
        out.put(&self.key.adv.octets());
        out.put_u32(self.sequence.cast_unsigned());
        out.put_u16(self.checksum);
        out.put_u16(self.length);
    }

    pub(crate) fn decode(r: &mut Reader<'_>) -> Decoded<Self> {
        Ok(Self {
            // An age beyond MaxAge has no meaning; it counts as MaxAge.
            age: r.u16()?.min(MAX_AGE),
            key: LsaKey {
                ty: LsaType(r.u16()?),
                id: r.u32()?,
                adv: r.ipv4()?,
            },
            sequence: r.i32()?,
            checksum: r.u16()?,
            length: r.u16()?,
        })
    }

    /// Whether its age is MaxAge.
    pub const fn is_max_age(&self) -> bool {
        self.age >= MAX_AGE
    }

    /// Orders two instances of one LSA: the greater is the more recent. RFC 2328 13.1.
    pub fn compare(&self, other: &Self) -> std::cmp::Ordering {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let by_number = self.sequence.cmp(&other.sequence);
        match by_number.then(self.checksum.cmp(&other.checksum)) {
            Equal => {}
            unequal => return unequal,
        }
        match (self.is_max_age(), other.is_max_age()) {
            (true, false) => return Greater,
            (false, true) => return Less,
            _ => {}
        }
        if self.age.abs_diff(other.age) > MAX_AGE_DIFF {
            // The younger one is more recent.
            return other.age.cmp(&self.age);
        }
        Equal
    }
}
