//! The packet header and the five packet types, RFC 5340 A.3.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::Serialize;

use super::exchange::decode_headers;
use super::{
    BadLsa, DatabaseDescription, DecodeError, Decoded, Family, Hello, Lsa, LsaHeader, LsaKey,
    Options, Reader, Write, pseudo_header_checksum,
};

/// Bytes of the OSPF packet header.
pub const HEADER_LEN: usize = 16;

/// Packet types, RFC 5340 A.3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PacketType {
    /// Type 1.
    Hello,
    /// Type 2.
    DatabaseDescription,
    /// Type 3.
    LinkStateRequest,
    /// Type 4.
    LinkStateUpdate,
    /// Type 5.
    LinkStateAck,
}

impl PacketType {
    const fn code(self) -> u8 {
        match self {
            Self::Hello => 1,
            Self::DatabaseDescription => 2,
            Self::LinkStateRequest => 3,
            Self::LinkStateUpdate => 4,
            Self::LinkStateAck => 5,
        }
    }

    pub(crate) const fn from_code(code: u8) -> Decoded<Self> {
        Ok(match code {
            1 => Self::Hello,
            2 => Self::DatabaseDescription,
            3 => Self::LinkStateRequest,
            4 => Self::LinkStateUpdate,
            5 => Self::LinkStateAck,
            other => return Err(DecodeError::PacketType(other)),
        })
    }
}

/// What a packet header says besides version, type, length and checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Router ID of the sender.
    pub router_id: Ipv4Addr,
    /// Area the packet belongs to.
    pub area: Ipv4Addr,
    /// Instance ID, link-local in meaning.
    pub instance_id: u8,
}

/// Where the Instance ID stands in a packet, RFC 5340 A.3.1.
const INSTANCE_ID_AT: usize = 14;

impl Header {
    /// The Instance ID of a packet that is not checked yet.
    pub fn instance_id_of(packet: &[u8]) -> Option<u8> {
        packet.get(INSTANCE_ID_AT).copied()
    }
}

/// A whole OSPFv3 packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Its header.
    pub header: Header,
    /// The rest.
    pub body: PacketBody,
}

/// The five bodies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PacketBody {
    /// Type 1.
    Hello(Hello),
    /// Type 2.
    DatabaseDescription(DatabaseDescription),
    /// Type 3.
    LinkStateRequest(Vec<LsaKey>),
    /// Type 4: every LSA, or why it has to be refused alone.
    LinkStateUpdate(Vec<Result<Lsa, BadLsa>>),
    /// Type 5.
    LinkStateAck(Vec<LsaHeader>),
}

impl PacketBody {
    /// Which of the five.
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Self::Hello(_) => PacketType::Hello,
            Self::DatabaseDescription(_) => PacketType::DatabaseDescription,
            Self::LinkStateRequest(_) => PacketType::LinkStateRequest,
            Self::LinkStateUpdate(_) => PacketType::LinkStateUpdate,
            Self::LinkStateAck(_) => PacketType::LinkStateAck,
        }
    }
}

impl Packet {
    /// The bytes to send from `source` to `destination`, checksum filled in.
    pub fn encode(&self, source: Ipv6Addr, destination: Ipv6Addr) -> Vec<u8> {
        let mut body = Vec::with_capacity(128);
        match &self.body {
            PacketBody::Hello(hello) => hello.encode(&mut body),
            PacketBody::DatabaseDescription(dd) => dd.encode(&mut body),
            PacketBody::LinkStateRequest(keys) => {
                for key in keys {
                    key.encode_request(&mut body);
                }
            }
            PacketBody::LinkStateUpdate(lsas) => {
                let lsas: Vec<&Lsa> = lsas.iter().filter_map(|lsa| lsa.as_ref().ok()).collect();
                body.put_u32(u32::try_from(lsas.len()).unwrap_or(u32::MAX));
                for lsa in lsas {
                    lsa.encode(&mut body);
                }
            }
            PacketBody::LinkStateAck(headers) => {
                for header in headers {
                    header.encode(&mut body);
                }
            }
        }
        self.header
            .frame(self.body.packet_type(), &body, source, destination)
    }

    /// Reads the packet that came from `source` to `destination`.
    pub fn decode(bytes: &[u8], source: Ipv6Addr, destination: Ipv6Addr) -> Decoded<Self> {
        Self::decode_checked(bytes, Some((source, destination)))
    }

    /// Reads a packet whose authentication trailer has been verified and cut off. RFC 7166 4.2: its
    /// checksum is not looked at.
    pub fn decode_authenticated(bytes: &[u8]) -> Decoded<Self> {
        Self::decode_checked(bytes, None)
    }

    fn decode_checked(bytes: &[u8], addresses: Option<(Ipv6Addr, Ipv6Addr)>) -> Decoded<Self> {
        let mut r = Reader::new(bytes);
        let version = r.u8()?;
        if version != 3 {
            return Err(DecodeError::Version(version));
        }
        let packet_type = PacketType::from_code(r.u8()?)?;
        let length = usize::from(r.u16()?);
        let wrong_length = DecodeError::Length {
            field: length,
            actual: bytes.len(),
        };
        if length < HEADER_LEN {
            return Err(wrong_length);
        }
        let packet = bytes.get(..length).ok_or(wrong_length)?;
        // RFC 5340 A.3.1: the pseudo-header's length is that of the OSPF header.
        if let Some((source, destination)) = addresses
            && pseudo_header_checksum(source, destination, packet) != 0
        {
            return Err(DecodeError::Checksum);
        }
        let header = Header {
            router_id: r.ipv4()?,
            area: r.ipv4()?,
            instance_id: {
                r.u16()?;
                r.u8()?
            },
        };
        let mut r = Reader::new(packet.get(HEADER_LEN..).unwrap_or_default());
        let body = match packet_type {
            PacketType::Hello => PacketBody::Hello(Hello::decode(&mut r)?),
            PacketType::DatabaseDescription => {
                PacketBody::DatabaseDescription(DatabaseDescription::decode(&mut r)?)
            }
            PacketType::LinkStateRequest => PacketBody::LinkStateRequest(decode_request(&mut r)?),
            PacketType::LinkStateUpdate => {
                let family = Family::of_instance(header.instance_id);
                PacketBody::LinkStateUpdate(decode_update(family, &mut r)?)
            }
            PacketType::LinkStateAck => PacketBody::LinkStateAck(decode_headers(&mut r)?),
        };
        r.finish()?;
        let trailing = bytes.len() - length;
        if trailing > 0 && !may_trail(&body) {
            return Err(DecodeError::TrailingBytes(trailing));
        }
        Ok(Self { header, body })
    }
}

/// RFC 5613 2.1: a link-local signalling block follows a Hello or a Database Description whose L
/// bit is set. We do not speak it, and it is no reason to refuse the packet.
fn may_trail(body: &PacketBody) -> bool {
    match body {
        PacketBody::Hello(hello) => hello.options.contains(Options::L),
        PacketBody::DatabaseDescription(dd) => dd.options.contains(Options::L),
        _ => false,
    }
}

fn decode_request(r: &mut Reader<'_>) -> Decoded<Vec<LsaKey>> {
    let mut keys = Vec::with_capacity(r.remaining() / LsaKey::REQUEST_LEN);
    while r.remaining() > 0 {
        keys.push(LsaKey::decode_request(r)?);
    }
    Ok(keys)
}

fn decode_update(family: Family, r: &mut Reader<'_>) -> Decoded<Vec<Result<Lsa, BadLsa>>> {
    let count = r.u32()?;
    let mut lsas = Vec::new();
    for _ in 0..count {
        lsas.push(Lsa::decode(family, r)?);
    }
    Ok(lsas)
}

impl Header {
    /// Puts the header before a body that is already encoded.
    pub(crate) fn frame(
        &self,
        packet_type: PacketType,
        body: &[u8],
        source: Ipv6Addr,
        destination: Ipv6Addr,
    ) -> Vec<u8> {
        let length = HEADER_LEN + body.len();
        let mut out = Vec::with_capacity(length);
        out.put_u8(3);
        out.put_u8(packet_type.code());
        out.put_u16(u16::try_from(length).unwrap_or(u16::MAX));
        out.put(&self.router_id.octets());
        out.put(&self.area.octets());
        out.put_u16(0);
        out.put_u8(self.instance_id);
        out.put_u8(0);
        out.put(body);
        let checksum = pseudo_header_checksum(source, destination, &out);
        if let Some(field) = out.get_mut(12..14) {
            field.copy_from_slice(&checksum.to_be_bytes());
        }
        out
    }
}
