//! What can be watched, and what comes of it.

use std::collections::HashSet;

use l2ha_ebpf::reason::Reason;

use super::outer::Headers;

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Packets that are refused.
    Refused {
        /// For these reasons.
        reasons: HashSet<Reason>,
    },
    /// Packets that are delivered or sent.
    Frames {
        /// Of these sessions, by id; of all when nothing is said.
        sessions: Option<HashSet<u32>>,
        /// Received ones.
        received: bool,
        /// Sent ones.
        sent: bool,
        /// With their outer headers.
        outer: bool,
        /// How much of each, in bytes.
        snaplen: u32,
    },
}

/// A packet that a client gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A refused one.
    Refused(Refused),
    /// A captured one.
    Frame(Frame),
}

/// A refused packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// When, in nanoseconds since 1970.
    pub time: u64,
    /// Why.
    pub reason: Reason,
    /// Index of the interface.
    pub ifindex: u32,
    /// Length of the whole packet in bytes.
    pub length: u32,
    /// What its outer headers say.
    pub headers: Headers,
    /// Its first bytes, without whatever can be a cookie.
    pub bytes: Vec<u8>,
}

/// A captured packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// When, in nanoseconds since 1970.
    pub time: u64,
    /// Id of its session.
    pub session_id: u32,
    /// Whether it was received; otherwise it was sent.
    pub received: bool,
    /// Length of the whole packet, or of the whole inner frame, in bytes.
    pub length: u32,
    /// Its first bytes, without the cookie.
    pub bytes: Vec<u8>,
}

/// What a client did not get, since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// The daemon read too slowly.
    pub ring: u64,
    /// The client read too slowly.
    pub queue: u64,
    /// Refused packets beyond the rate.
    pub limited: u64,
}
