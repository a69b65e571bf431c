//! The authentication trailer and where it is found, RFC 7166 4.1, behind a block of link-local
//! signalling (RFC 5613 2) if there is one.

use super::{DecodeError, Decoded, HEADER_LEN, Options, PacketType, Reader, Write};

/// Bytes of a trailer before its Authentication Data.
pub const TRAILER_FIXED_LEN: usize = 16;
/// HMAC Cryptographic Authentication, the only type there is (RFC 7166 4.1).
const HMAC: u16 = 1;
/// Bytes of the header of a block of link-local signalling.
const LLS_HEADER_LEN: usize = 4;

/// An authentication trailer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// Which key of the two ends: Security Association ID.
    pub sa_id: u16,
    /// Grows with every packet of the sender.
    pub sequence: u64,
    /// The digest.
    pub data: Vec<u8>,
}

impl Trailer {
    /// Appends the bytes on the wire.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let length = TRAILER_FIXED_LEN + self.data.len();
        out.put_u16(HMAC);
        out.put_u16(u16::try_from(length).unwrap_or(u16::MAX));
        out.put_u16(0);
        out.put_u16(self.sa_id);
        out.put(&self.sequence.to_be_bytes());
        out.put(&self.data);
    }

    /// Reads a trailer that fills `bytes`.
    pub fn decode(bytes: &[u8]) -> Decoded<Self> {
        let mut r = Reader::new(bytes);
        let kind = r.u16()?;
        if kind != HMAC {
            return Err(DecodeError::AuthenticationType(kind));
        }
        let field = usize::from(r.u16()?);
        if field != bytes.len() {
            return Err(DecodeError::Length {
                field,
                actual: bytes.len(),
            });
        }
        r.u16()?;
        let sa_id = r.u16()?;
        let high = u64::from(r.u32()?);
        let low = u64::from(r.u32()?);
        Ok(Self {
            sa_id,
            sequence: high << 32 | low,
            data: r.take(r.remaining())?.to_vec(),
        })
    }
}

/// A packet as it lies in its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sections<'a> {
    /// The OSPF packet itself.
    pub packet: &'a [u8],
    /// The block of link-local signalling; empty if there is none.
    pub signalling: &'a [u8],
    /// What follows; empty or a trailer.
    pub rest: &'a [u8],
    /// What the AT bit says, in the packets that have one: Hello and Database Description.
    pub announced: Option<bool>,
}

impl<'a> Sections<'a> {
    /// Finds the parts. Only lengths and the L and AT bits are read; nothing is authenticated yet.
    pub fn find(bytes: &'a [u8]) -> Decoded<Self> {
        let mut r = Reader::new(bytes);
        let version = r.u8()?;
        if version != 3 {
            return Err(DecodeError::Version(version));
        }
        let packet_type = PacketType::from_code(r.u8()?)?;
        let field = usize::from(r.u16()?);
        let wrong_length = |field| DecodeError::Length {
            field,
            actual: bytes.len(),
        };
        if field < HEADER_LEN {
            return Err(wrong_length(field));
        }
        let (packet, after) = bytes
            .split_at_checked(field)
            .ok_or_else(|| wrong_length(field))?;
        // RFC 5340 A.3.2 and A.3.3: where the options are.
        let offset = match packet_type {
            PacketType::Hello => Some(HEADER_LEN + 5),
            PacketType::DatabaseDescription => Some(HEADER_LEN + 1),
            _ => None,
        };
        let options = match offset {
            Some(offset) => {
                let mut r = Reader::new(packet.get(offset..).ok_or(DecodeError::Truncated)?);
                Some(Options::from_bits(r.u24()?))
            }
            None => None,
        };
        let signals = options.is_some_and(|options| options.contains(Options::L));
        let signalling_len = if signals { signalling_len(after)? } else { 0 };
        let (signalling, rest) = after
            .split_at_checked(signalling_len)
            .ok_or_else(|| wrong_length(field + signalling_len))?;
        Ok(Self {
            packet,
            signalling,
            rest,
            announced: options.map(|options| options.contains(Options::AT)),
        })
    }
}

/// RFC 5613 2.2: a checksum, and the length of the block in 32-bit words, header included.
fn signalling_len(bytes: &[u8]) -> Decoded<usize> {
    let mut r = Reader::new(bytes);
    r.u16()?;
    let length = usize::from(r.u16()?) * 4;
    if length < LLS_HEADER_LEN {
        return Err(DecodeError::Truncated);
    }
    Ok(length)
}
