//! Why a packet, or a part of one, was refused.

use serde::{Deserialize, Serialize};

use crate::wire::DecodeError;

/// Why a packet, or a part of one, was refused.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, thiserror::Error,
)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// On an interface we do not know.
    #[error("unknown interface")]
    UnknownInterface,
    /// On an interface that is down or a loopback.
    #[error("interface down")]
    InterfaceDown,
    /// From our own address: another router has it too, or our packet came back.
    #[error(
        "from our own address: the router at the other end has it too, or the packet came back"
    )]
    OwnPacket,
    /// The source is no link-local address (RFC 5340 4.2.2).
    #[error("source address")]
    SourceAddress,
    /// The destination is neither ours nor AllSPFRouters.
    #[error("destination address")]
    DestinationAddress,
    /// To AllDRouters, and we are neither Designated Router nor Backup.
    #[error("not designated router")]
    NotDesignated,
    /// Shorter than its fields.
    #[error("truncated")]
    Truncated,
    /// Not version 3.
    #[error("version")]
    Version,
    /// No such packet type.
    #[error("packet type")]
    PacketType,
    /// The header's length field lies.
    #[error("length field")]
    Length,
    /// Bytes after the end.
    #[error("trailing bytes")]
    TrailingBytes,
    /// Keys are configured, and the packet has no authentication trailer (RFC 7166 4.6).
    #[error("authentication trailer missing")]
    AuthMissing,
    /// The packet has an authentication trailer, and no keys are configured.
    #[error("authentication trailer unexpected")]
    AuthUnexpected,
    /// The authentication trailer is malformed or of an unknown type.
    #[error("authentication trailer malformed")]
    AuthTrailer,
    /// Signed with a key of an SA ID that we do not have.
    #[error("authentication key unknown")]
    AuthUnknownKey,
    /// Signed with a key whose time is over or has not come.
    #[error("authentication key expired or not yet valid")]
    AuthKeyExpired,
    /// The digest is wrong: another secret, another algorithm, or a forgery.
    #[error("authentication digest wrong")]
    AuthDigest,
    /// A sequence number that is not greater than the last: repeated on the way, or by an attacker.
    #[error("authentication sequence number replayed")]
    AuthReplay,
    /// Not sent: the time of no key to sign with has come.
    #[error("no authentication key to send with")]
    AuthNoKey,
    /// The block of link-local signalling behind a Hello (RFC 5613) cannot be read; the Hello is taken.
    #[error("link-local signalling malformed")]
    Signalling,
    /// Packet checksum.
    #[error("packet checksum")]
    Checksum,
    /// Another area.
    #[error("area mismatch")]
    AreaMismatch,
    /// Another instance on the same link; normal if several are run.
    #[error("instance mismatch")]
    InstanceMismatch,
    /// Our own Router ID from another address.
    #[error("duplicate router id")]
    DuplicateRouterId,
    /// Router ID 0.0.0.0.
    #[error("router id 0.0.0.0")]
    ZeroRouterId,
    /// Not a Hello, and no such neighbour.
    #[error("unknown neighbor")]
    UnknownNeighbor,
    /// Hello interval differs.
    #[error("hello interval mismatch")]
    HelloIntervalMismatch,
    /// Dead interval differs.
    #[error("dead interval mismatch")]
    DeadIntervalMismatch,
    /// E or N bit differs: the area is a stub for one of us only.
    #[error("area type mismatch")]
    AreaTypeMismatch,
    /// Not an IPv6 instance, and the AF bit is clear: the sender knows nothing of address families
    /// (RFC 5838 2.4).
    #[error("AF bit missing")]
    AfBitMissing,
    /// As many neighbours as the limit allows; shown with how many that is, and how many they would be.
    #[error("too many neighbors")]
    TooManyNeighbors,
    /// The neighbour's MTU is larger than ours (RFC 2328 10.6).
    #[error("mtu mismatch")]
    MtuMismatch,
    /// The neighbour's IPv6 MTU, which OSPF's own packets have, is larger than ours (RFC 5838 2.7).
    #[error("IPv6 mtu mismatch")]
    Ipv6MtuMismatch,
    /// The packet makes no sense in the neighbour's state.
    #[error("neighbor state")]
    NeighborState,
    /// A Database Description out of sequence.
    #[error("database description sequence")]
    DdSequence,
    /// A duplicate Database Description; normal after loss.
    #[error("duplicate database description")]
    DdDuplicate,
    /// A request for an LSA we do not have.
    #[error("bad link state request")]
    BadRequest,
    /// An LSA's length does not fit.
    #[error("LSA length")]
    LsaLength,
    /// An LSA's checksum.
    #[error("LSA checksum")]
    LsaChecksum,
    /// Reserved flooding scope.
    #[error("LSA scope")]
    LsaScope,
    /// Reserved sequence number.
    #[error("LSA sequence number")]
    LsaSequence,
    /// An LSA body that contradicts itself.
    #[error("LSA body")]
    LsaBody,
    /// A prefix longer than 128 bits.
    #[error("prefix length")]
    PrefixLength,
    /// A second instance within MinLSArrival.
    #[error("LSA within MinLSArrival")]
    MinLsArrival,
    /// An older instance than ours.
    #[error("LSA older than ours")]
    LsaOlder,
    /// The database is as large as the limit allows.
    #[error("database full")]
    DatabaseFull,
    /// A neighbour has brought as many LSAs as one may.
    #[error("too many LSAs from one neighbor")]
    NeighborFull,
    /// A router has originated as many LSAs as one may; shown with the limit and its Router ID.
    #[error("too many LSAs of one router")]
    OriginFull,
    /// Of another router than the one that belongs behind the interface (its `Edge`).
    #[error("router id of another router than the one that belongs here")]
    EdgeRouterId,
    /// A router at the edge floods an LSA of another router; from that one, or from others, it comes too.
    #[error("LSA of another router from one at the edge")]
    EdgeStranger,
    /// A router at the edge says of itself what it may not: a prefix that is not its own, links to networks, routes to
    /// other areas.
    #[error("LSA that a router at the edge may not originate")]
    EdgeNotGranted,
    /// An acknowledgment of something else than we sent.
    #[error("questionable acknowledgment")]
    AckMismatch,
    /// The output queue is as long as the limit allows.
    #[error("output queue full")]
    OutputFull,
    /// We have been shut down.
    #[error("shut down")]
    ShutDown,
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::Truncated => Self::Truncated,
            DecodeError::Version(_) => Self::Version,
            DecodeError::PacketType(_) => Self::PacketType,
            DecodeError::Length { .. } => Self::Length,
            DecodeError::TrailingBytes(_) => Self::TrailingBytes,
            DecodeError::AuthenticationType(_) => Self::AuthTrailer,
            DecodeError::Checksum => Self::Checksum,
            DecodeError::LsaLength(_) => Self::LsaLength,
            DecodeError::LsaChecksum => Self::LsaChecksum,
            DecodeError::LsaScope => Self::LsaScope,
            DecodeError::LsaSequence => Self::LsaSequence,
            DecodeError::LsaBody => Self::LsaBody,
            DecodeError::PrefixLength(_) => Self::PrefixLength,
        }
    }
}

impl Refusal {
    /// Whether loss, reordering or a restart explains it, so that it passes by itself.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        self.is_ordinary()
            || matches!(
                self,
                Self::DdSequence
                    | Self::BadRequest
                    | Self::UnknownNeighbor
                    | Self::UnknownInterface
            )
    }

    /// Whether the two sides of its [`Mismatch`] are a limit and the Router ID of who has reached it.
    #[must_use]
    pub const fn is_of_router(self) -> bool {
        matches!(
            self,
            Self::NeighborFull | Self::OriginFull | Self::EdgeNotGranted
        )
    }

    /// Whether it belongs to normal operation and is worth a count but no event.
    pub(crate) const fn is_ordinary(self) -> bool {
        matches!(
            self,
            Self::NotDesignated
                | Self::DdDuplicate
                | Self::LsaOlder
                | Self::MinLsArrival
                | Self::AckMismatch
                | Self::EdgeStranger
                | Self::InterfaceDown
                | Self::ShutDown
                | Self::NeighborState
        )
    }
}

/// The two sides of a disagreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// What we have configured.
    pub ours: u32,
    /// What the packet says.
    pub theirs: u32,
}

/// A refusal with the two sides of the disagreement, if there are two.
pub(crate) struct Refused(pub(crate) Refusal, pub(crate) Option<Mismatch>);

impl From<Refusal> for Refused {
    fn from(reason: Refusal) -> Self {
        Self(reason, None)
    }
}

impl Refused {
    pub(crate) fn mismatch(reason: Refusal, ours: impl Into<u32>, theirs: impl Into<u32>) -> Self {
        Self(
            reason,
            Some(Mismatch {
                ours: ours.into(),
                theirs: theirs.into(),
            }),
        )
    }
}
