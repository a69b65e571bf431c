//! Reading and writing bytes.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Why bytes were not what they claimed to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Fewer bytes than the fields need.
    #[error("truncated")]
    Truncated,
    /// Not version 3.
    #[error("version {0} is not 3")]
    Version(u8),
    /// A packet type that does not exist.
    #[error("unknown packet type {0}")]
    PacketType(u8),
    /// The header's length field is longer than the packet or shorter than a header.
    #[error("length field {field} for {actual} bytes")]
    Length {
        /// What the length field says, in bytes.
        field: usize,
        /// How many bytes there are.
        actual: usize,
    },
    /// Bytes after the end of what the packet describes.
    #[error("{0} trailing bytes")]
    TrailingBytes(usize),
    /// An authentication type that does not exist (RFC 7166 4.1).
    #[error("authentication type {0}")]
    AuthenticationType(u16),
    /// The packet checksum over the pseudo-header is wrong.
    #[error("packet checksum")]
    Checksum,
    /// An LSA's length field does not fit its packet.
    #[error("LSA length {0}")]
    LsaLength(u16),
    /// An LSA's Fletcher checksum is wrong.
    #[error("LSA checksum")]
    LsaChecksum,
    /// Flooding scope 11, which is reserved (RFC 5340 4.5.1).
    #[error("LSA with the reserved flooding scope")]
    LsaScope,
    /// Sequence number 0x80000000, which is reserved (RFC 2328 12.1.6).
    #[error("LSA with the reserved sequence number")]
    LsaSequence,
    /// The LSA's body contradicts itself or its length.
    #[error("LSA body")]
    LsaBody,
    /// A prefix longer than 128 bits.
    #[error("prefix length {0}")]
    PrefixLength(u8),
}

/// Result of decoding.
pub type Decoded<T> = Result<T, DecodeError>;

/// A bounds-checked cursor: the only way this crate reads bytes from outside.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn remaining(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn take(&mut self, count: usize) -> Decoded<&'a [u8]> {
        let (head, tail) = self
            .0
            .split_at_checked(count)
            .ok_or(DecodeError::Truncated)?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Decoded<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.0 = tail;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Decoded<u8> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u16(&mut self) -> Decoded<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u24(&mut self) -> Decoded<u32> {
        let [a, b, c] = self.array()?;
        Ok(u32::from_be_bytes([0, a, b, c]))
    }

    pub(crate) fn u32(&mut self) -> Decoded<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Decoded<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub(crate) fn ipv4(&mut self) -> Decoded<Ipv4Addr> {
        self.array::<4>().map(Ipv4Addr::from)
    }

    pub(crate) fn ipv6(&mut self) -> Decoded<Ipv6Addr> {
        self.array::<16>().map(Ipv6Addr::from)
    }

    pub(crate) fn finish(&self) -> Decoded<()> {
        match self.0.len() {
            0 => Ok(()),
            n => Err(DecodeError::TrailingBytes(n)),
        }
    }
}

/// Big-endian appending.
pub(crate) trait Write {
    fn put(&mut self, bytes: &[u8]);

    fn put_u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    fn put_u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    fn put_u24(&mut self, value: u32) {
        let [_, a, b, c] = value.to_be_bytes();
        self.put(&[a, b, c]);
    }

    fn put_u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }
}

impl Write for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}
