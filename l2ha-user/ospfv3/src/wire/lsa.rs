//! LSAs as they travel: header, body, checksum, and the raw bytes that are flooded unchanged.

use super::{
    DecodeError, Decoded, Family, INITIAL_SEQUENCE, LSA_HEADER_LEN, LsaBody, LsaHeader, LsaKey,
    MAX_AGE, Reader, Write, fletcher, fletcher_ok,
};

/// An LSA that could be told from its neighbours in the packet, and nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct BadLsa {
    /// Its header, as far as it is consistent.
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
