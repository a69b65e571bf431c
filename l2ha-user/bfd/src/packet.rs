//! Control packets, RFC 5880 4.1.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Length of a control packet without authentication, in bytes.
pub const PACKET_LENGTH: usize = 24;

/// Where the Length field is.
pub(crate) const LENGTH: usize = 3;
/// RFC 5880 6.8.6: the shortest packet with authentication.
const WITH_AUTHENTICATION: usize = 26;
const VERSION: u8 = 1;
const POLL: u8 = 0x20;
const FINAL: u8 = 0x10;
const CONTROL_PLANE_INDEPENDENT: u8 = 0x08;
/// The A bit.
pub(crate) const AUTHENTICATION: u8 = 0x04;
const DEMAND: u8 = 0x02;
const MULTIPOINT: u8 = 0x01;

/// State of a session, RFC 5880 4.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Taken down by an administrator.
    AdminDown,
    /// Not working, or not begun.
    #[default]
    Down,
    /// The peer is heard, but does not say that it hears us.
    Init,
    /// Both hear each other.
    Up,
}

impl State {
    const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::AdminDown,
            1 => Self::Down,
            2 => Self::Init,
            _ => Self::Up,
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Self::AdminDown => 0,
            Self::Down => 1,
            Self::Init => 2,
            Self::Up => 3,
        }
    }
}

/// Why a session last went down, RFC 5880 4.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Diagnostic {
    /// 0: nothing to say.
    #[default]
    None,
    /// 1: the peer was silent for the detection time.
    DetectionTimeExpired,
    /// 2: an echo did not come back.
    EchoFailed,
    /// 3: the peer said that it is down.
    NeighborSignaledDown,
    /// 4: the forwarding plane was reset.
    ForwardingPlaneReset,
    /// 5: the path is down.
    PathDown,
    /// 6: a path behind this one is down.
    ConcatenatedPathDown,
    /// 7: an administrator took it down.
    AdministrativelyDown,
    /// 8: a path behind this one is down, seen from the other side.
    ReverseConcatenatedPathDown,
    /// A number without a meaning yet.
    Other(u8),
}

impl Diagnostic {
    const fn from_bits(bits: u8) -> Self {
        match bits & 0x1f {
            0 => Self::None,
            1 => Self::DetectionTimeExpired,
            2 => Self::EchoFailed,
            3 => Self::NeighborSignaledDown,
            4 => Self::ForwardingPlaneReset,
            5 => Self::PathDown,
            6 => Self::ConcatenatedPathDown,
            7 => Self::AdministrativelyDown,
            8 => Self::ReverseConcatenatedPathDown,
            other => Self::Other(other),
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Self::None => 0,
            Self::DetectionTimeExpired => 1,
            Self::EchoFailed => 2,
            Self::NeighborSignaledDown => 3,
            Self::ForwardingPlaneReset => 4,
            Self::PathDown => 5,
            Self::ConcatenatedPathDown => 6,
            Self::AdministrativelyDown => 7,
            Self::ReverseConcatenatedPathDown => 8,
            Self::Other(bits) => bits & 0x1f,
        }
    }
}

/// Why bytes are no control packet, or one to be discarded: RFC 5880 6.8.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Shorter than a packet, or than it says.
    #[error("{0} bytes are too short")]
    Short(usize),
    /// Not version 1.
    #[error("version {0}")]
    Version(u8),
    /// The Length field is shorter than a packet can be.
    #[error("the length field says {0}")]
    Length(u8),
    /// A Detect Mult of 0.
    #[error("a multiplier of 0")]
    Multiplier,
    /// The Multipoint bit is set.
    #[error("multipoint")]
    Multipoint,
    /// A My Discriminator of 0.
    #[error("a discriminator of 0")]
    Discriminator,
    /// No Your Discriminator in a state that has one.
    #[error("no discriminator of ours in state {0:?}")]
    NotOurs(State),
    /// Authentication, which is not in use here.
    #[error("an authenticated packet")]
    Authenticated,
}

/// A control packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Why the sender last went down.
    pub diagnostic: Diagnostic,
    /// The sender's state.
    pub state: State,
    /// The sender wants an answer with `is_final`.
    pub poll: bool,
    /// The answer to a poll.
    pub is_final: bool,
    /// The sender's data plane speaks for itself.
    pub control_plane_independent: bool,
    /// The sender wants no periodic packets.
    pub demand: bool,
    /// Packets in a row that may be lost.
    pub detect_mult: u8,
    /// The sender's number for the session; not 0.
    pub my_discriminator: u32,
    /// The receiver's number for it; 0 while it is not known.
    pub your_discriminator: u32,
    /// How often the sender would like to send.
    pub desired_min_tx: Duration,
    /// How often the sender can receive.
    pub required_min_rx: Duration,
    /// How often the sender can take echoes; zero: not at all.
    pub required_min_echo_rx: Duration,
}

impl Packet {
    /// Reads a packet without authentication and checks what RFC 5880 6.8.6 has checked before a session
    /// is looked for.
    ///
    /// # Errors
    ///
    /// When it is to be discarded.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        match Self::split(bytes)? {
            (packet, None) => Ok(packet),
            (_, Some(_)) => Err(DecodeError::Authenticated),
        }
    }

    /// As [`Packet::decode`], and the authentication section if there is one.
    pub(crate) fn split(bytes: &[u8]) -> Result<(Self, Option<&[u8]>), DecodeError> {
        let short = DecodeError::Short(bytes.len());
        let fixed: &[u8; PACKET_LENGTH] = bytes.first_chunk().ok_or(short)?;
        let [first, flags, detect_mult, length, rest @ ..] = fixed;
        let version = first >> 5;
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        let is_authenticated = flags & AUTHENTICATION != 0;
        let least = match is_authenticated {
            true => WITH_AUTHENTICATION,
            false => PACKET_LENGTH,
        };
        if usize::from(*length) < least {
            return Err(DecodeError::Length(*length));
        }
        let whole = bytes.get(..usize::from(*length)).ok_or(short)?;
        if *detect_mult == 0 {
            return Err(DecodeError::Multiplier);
        }
        if flags & MULTIPOINT != 0 {
            return Err(DecodeError::Multipoint);
        }
        let word = |at: usize| {
            let bytes = rest.get(at * 4..).and_then(|rest| rest.first_chunk());
            bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes))
        };
        let microseconds = |at| Duration::from_micros(word(at).into());
        let state = State::from_bits(flags >> 6);
        let packet = Self {
            diagnostic: Diagnostic::from_bits(*first),
            state,
            poll: flags & POLL != 0,
            is_final: flags & FINAL != 0,
            control_plane_independent: flags & CONTROL_PLANE_INDEPENDENT != 0,
            demand: flags & DEMAND != 0,
            detect_mult: *detect_mult,
            my_discriminator: word(0),
            your_discriminator: word(1),
            desired_min_tx: microseconds(2),
            required_min_rx: microseconds(3),
            required_min_echo_rx: microseconds(4),
        };
        if packet.my_discriminator == 0 {
            return Err(DecodeError::Discriminator);
        }
        if packet.your_discriminator == 0 && !matches!(state, State::Down | State::AdminDown) {
            return Err(DecodeError::NotOurs(state));
        }
        let section = whole.get(PACKET_LENGTH..).filter(|_| is_authenticated);
        Ok((packet, section))
    }

    /// The bytes on the wire. Intervals beyond 2^32 µs are cut to that.
    #[must_use]
    pub fn encode(&self) -> [u8; PACKET_LENGTH] {
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        let flags = self.state.bits() << 6
            | flag(self.poll, POLL)
            | flag(self.is_final, FINAL)
            | flag(self.control_plane_independent, CONTROL_PLANE_INDEPENDENT)
            | flag(self.demand, DEMAND);
        let microseconds =
            |interval: Duration| u32::try_from(interval.as_micros()).unwrap_or(u32::MAX);
        let mut bytes = [0; PACKET_LENGTH];
        let head = [
            VERSION << 5 | self.diagnostic.bits(),
            flags,
            self.detect_mult,
            PACKET_LENGTH as u8,
        ];
        let words = [
            self.my_discriminator,
            self.your_discriminator,
            microseconds(self.desired_min_tx),
            microseconds(self.required_min_rx),
            microseconds(self.required_min_echo_rx),
        ];
        let all = head
            .into_iter()
            .chain(words.into_iter().flat_map(u32::to_be_bytes));
        for (to, byte) in bytes.iter_mut().zip(all) {
            *to = byte;
        }
        bytes
    }
}
