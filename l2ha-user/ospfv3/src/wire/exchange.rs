//! Database Description, RFC 5340 A.3.3.

use super::{Decoded, LsaHeader, Options, Reader, Write};

/// The I, M and MS bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DdFlags {
    /// Init: the first of the exchange.
    pub init: bool,
    /// More will follow.
    pub more: bool,
    /// The sender is the master.
    pub master: bool,
}

impl DdFlags {
    const INIT: u8 = 4;
    const MORE: u8 = 2;
    const MASTER: u8 = 1;

    fn bits(self) -> u8 {
        let bit = |set, bit| if set { bit } else { 0 };
        bit(self.init, Self::INIT) | bit(self.more, Self::MORE) | bit(self.master, Self::MASTER)
    }

    fn from_bits(bits: u8) -> Self {
        Self {
            init: bits & Self::INIT != 0,
            more: bits & Self::MORE != 0,
            master: bits & Self::MASTER != 0,
        }
    }
}

/// Body of a Database Description packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseDescription {
    /// Optional capabilities.
    pub options: Options,
    /// The largest datagram of its address family the sender can send unfragmented, in bytes.
    pub mtu: u16,
    /// M6: [`Self::mtu`] is not the sender's IPv6 MTU (RFC 5838 2.7).
    pub other_mtu: bool,
    /// I, M and MS.
    pub flags: DdFlags,
    /// DD sequence number.
    pub sequence: u32,
    /// What the sender has.
    pub headers: Vec<LsaHeader>,
}

impl DatabaseDescription {
    /// Bytes before the LSA headers.
    pub(crate) const FIXED_LEN: usize = 12;
    const M6: u8 = 0x10;

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(0);
        out.put_u24(self.options.bits());
        out.put_u16(self.mtu);
        out.put_u8(0);
        let other_mtu = if self.other_mtu { Self::M6 } else { 0 };
        out.put_u8(self.flags.bits() | other_mtu);
        out.put_u32(self.sequence);
        for header in &self.headers {
            header.encode(out);
        }
    }

    pub(crate) fn decode(r: &mut Reader<'_>) -> Decoded<Self> {
        r.u8()?;
        let options = Options::from_bits(r.u24()?);
        let mtu = r.u16()?;
        r.u8()?;
        let bits = r.u8()?;
        let sequence = r.u32()?;
        let headers = decode_headers(r)?;
        Ok(Self {
            options,
            mtu,
            other_mtu: bits & Self::M6 != 0,
            flags: DdFlags::from_bits(bits),
            sequence,
            headers,
        })
    }
}

/// LSA headers up to the end, as in a Database Description or an acknowledgment.
pub(crate) fn decode_headers(r: &mut Reader<'_>) -> Decoded<Vec<LsaHeader>> {
    let mut headers = Vec::with_capacity(r.remaining() / super::LSA_HEADER_LEN);
    while r.remaining() > 0 {
        headers.push(LsaHeader::decode(r)?);
    }
    Ok(headers)
}
