//! LSAs as they travel: type, header, checksum, and the raw bytes that are flooded unchanged.

use serde::{Serialize, Serializer};

use super::{DecodeError, Decoded, Family, LsaBody, LsaKey, Reader, Write, fletcher, fletcher_ok};

/// Bytes of an LSA header.
pub const LSA_HEADER_LEN: usize = 20;
/// Age in seconds at which an LSA is dead, RFC 2328 B.
pub const MAX_AGE: u16 = 3600;
/// Ages further apart than this many seconds tell instances apart, RFC 2328 B.
pub const MAX_AGE_DIFF: u16 = 900;
/// The first sequence number of an LSA, 0x80000001 (RFC 2328 12.1.6).
pub const INITIAL_SEQUENCE: i32 = i32::MIN + 1;
/// The last sequence number of an LSA, 0x7fffffff.
pub const MAX_SEQUENCE: i32 = i32::MAX;

/// How far an LSA is flooded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Only over the link it came from.
    Link,
    /// Through one area.
    Area,
    /// Everywhere.
    As,
}

/// The 16-bit LS type: U bit, two scope bits, function code (RFC 5340 A.4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LsaType(pub u16);

impl LsaType {
    /// Router-LSA.
    pub const ROUTER: Self = Self(0x2001);
    /// Network-LSA.
    pub const NETWORK: Self = Self(0x2002);
    /// Inter-Area-Prefix-LSA.
    pub const INTER_AREA_PREFIX: Self = Self(0x2003);
    /// Inter-Area-Router-LSA.
    pub const INTER_AREA_ROUTER: Self = Self(0x2004);
    /// AS-External-LSA.
    pub const AS_EXTERNAL: Self = Self(0x4005);
    /// Link-LSA.
    pub const LINK: Self = Self(0x0008);
    /// Intra-Area-Prefix-LSA.
    pub const INTRA_AREA_PREFIX: Self = Self(0x2009);
    /// Grace-LSA (RFC 5187 2.1).
    pub const GRACE: Self = Self(0x000b);

    /// A name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ROUTER => "router",
            Self::NETWORK => "network",
            Self::INTER_AREA_PREFIX => "inter_area_prefix",
            Self::INTER_AREA_ROUTER => "inter_area_router",
            Self::AS_EXTERNAL => "as_external",
            Self::LINK => "link",
            Self::INTRA_AREA_PREFIX => "intra_area_prefix",
            Self::GRACE => "grace",
            _ => "unknown",
        }
    }

    /// Whether this crate understands the body.
    pub const fn is_known(self) -> bool {
        matches!(
            self,
            Self::ROUTER
                | Self::NETWORK
                | Self::INTER_AREA_PREFIX
                | Self::INTER_AREA_ROUTER
                | Self::AS_EXTERNAL
                | Self::LINK
                | Self::INTRA_AREA_PREFIX
                | Self::GRACE
        )
    }

    /// The scope it is flooded with; nothing for the reserved scope.
    pub const fn scope(self) -> Option<Scope> {
        // RFC 5340 4.5.1: an unknown type without the U bit is treated as link-local.
        let link_only = !self.is_known() && self.0 & 0x8000 == 0;
        match (self.0 >> 13) & 3 {
            3 => None,
            _ if link_only => Some(Scope::Link),
            0 => Some(Scope::Link),
            1 => Some(Scope::Area),
            _ => Some(Scope::As),
        }
    }
}

impl Serialize for LsaType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_known() {
            serializer.serialize_str(self.name())
        } else {
            serializer.collect_str(&format_args!("{:#06x}", self.0))
        }
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
            // An age beyond MaxAge has no meaning; it is dead either way.
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

/// An LSA that could be told from its neighbours in the packet, and nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct BadLsa {
    /// Its header, as far as that can be believed.
    pub header: LsaHeader,
    /// What is wrong.
    pub error: DecodeError,
}

/// An LSA: its header and body decoded, and the bytes as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lsa {
    header: LsaHeader,
    body: LsaBody,
    raw: Vec<u8>,
}

impl Lsa {
    /// Builds an LSA to originate: length and checksum are computed. Nothing if it would be longer
    /// than its length field can say.
    pub fn build(key: LsaKey, sequence: i32, body: &LsaBody) -> Option<Self> {
        let mut raw = Vec::with_capacity(64);
        let mut header = LsaHeader {
            age: 0,
            key,
            sequence,
            checksum: 0,
            length: 0,
        };
        header.encode(&mut raw);
        body.encode(&mut raw);
        header.length = u16::try_from(raw.len()).ok()?;
        raw.get_mut(18..20)?
            .copy_from_slice(&header.length.to_be_bytes());
        header.checksum = fletcher(&raw);
        raw.get_mut(16..18)?
            .copy_from_slice(&header.checksum.to_be_bytes());
        Some(Self {
            header,
            body: body.clone(),
            raw,
        })
    }

    /// Takes one LSA off an update. The outer error means that the packet cannot be read on; the
    /// inner one that this LSA is to be refused, and the next one tried (RFC 2328 13).
    pub(crate) fn decode(family: Family, r: &mut Reader<'_>) -> Decoded<Result<Self, BadLsa>> {
        let header = LsaHeader::decode(&mut r.clone())?;
        if usize::from(header.length) < LSA_HEADER_LEN {
            return Err(DecodeError::LsaLength(header.length));
        }
        let raw = r
            .take(usize::from(header.length))
            .map_err(|_| DecodeError::LsaLength(header.length))?;
        Ok(Self::check(family, header, raw).map_err(|error| BadLsa { header, error }))
    }

    fn check(family: Family, header: LsaHeader, raw: &[u8]) -> Decoded<Self> {
        // RFC 2328 13 (1)
        if !fletcher_ok(raw) {
            return Err(DecodeError::LsaChecksum);
        }
        // RFC 5340 4.5.1 (2)
        if header.key.ty.scope().is_none() {
            return Err(DecodeError::LsaScope);
        }
        // RFC 2328 12.1.6
        if header.sequence < INITIAL_SEQUENCE {
            return Err(DecodeError::LsaSequence);
        }
        let mut r = Reader::new(raw.get(LSA_HEADER_LEN..).unwrap_or_default());
        let body = LsaBody::decode(family, header.key.ty, &mut r)
            .and_then(|body| r.finish().map(|()| body))
            .map_err(|_| DecodeError::LsaBody)?;
        Ok(Self {
            header,
            body,
            raw: raw.to_vec(),
        })
    }

    /// The header, with the age it was received or built with.
    pub const fn header(&self) -> &LsaHeader {
        &self.header
    }

    /// Type, Link State ID and originator.
    pub const fn key(&self) -> LsaKey {
        self.header.key
    }

    /// The decoded body.
    pub const fn body(&self) -> &LsaBody {
        &self.body
    }

    /// Bytes on the wire.
    #[expect(clippy::len_without_is_empty, reason = "an LSA is never empty")]
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// The bytes after the header.
    pub fn body_bytes(&self) -> &[u8] {
        self.raw.get(LSA_HEADER_LEN..).unwrap_or_default()
    }

    /// Appends it with another age in seconds, which the checksum does not cover.
    pub(crate) fn encode_aged(&self, age: u16, out: &mut Vec<u8>) {
        out.put_u16(age.min(MAX_AGE));
        out.put(self.raw.get(2..).unwrap_or_default());
    }

    /// Appends it as it came.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        self.encode_aged(self.header.age, out);
    }
}
