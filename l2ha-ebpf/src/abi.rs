//! Keys and values of the maps, written by the daemon and read by the programs.
//!
//! What is compared with a packet is kept in the packet's byte order, as byte arrays; lengths and
//! indices are in the machine's. No type has padding (`Pod` refuses to be derived otherwise).

mod by_session;
mod detour;
mod form;
mod key;
pub mod layout;
mod next_hop;
mod session;
mod watch;

use bytemuck::{Pod, Zeroable};

pub use self::{
    by_session::{MAX_BY_SESSION, SessionReason},
    detour::{Detour, DetourKey, MAX_DETOURS},
    form::{Dscp, OuterForm},
    key::{Address, Carrier, EndpointKey, SessionId},
    next_hop::NextHop,
    session::{MAX_ROWS, Receive, SessionPlan, SessionValue, Transmit},
    watch::{
        CAPTURE_RX, CAPTURE_TX, FRAMES_BYTES, MAX_SNAPLEN, Missing, REFUSED_BYTES, REFUSED_SNAPLEN,
        Record, Watch,
    },
};

/// How many sessions a node can have.
pub const MAX_SESSIONS: u32 = 16384;
/// How many virtual interface ends: two for each session.
pub const MAX_INTERFACES: u32 = 2 * MAX_SESSIONS;
/// How many endpoints: each session's own, and one without a port for its fragments.
pub const MAX_ENDPOINTS: u32 = 2 * MAX_SESSIONS;

/// How many reasons can be counted; more than there are, so that a new one changes no map.
pub const MAX_REASONS: u32 = 128;

/// What went through one session on one CPU. Bytes are those of the inner frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Traffic {
    /// Frames delivered to the virtual interface.
    pub rx_packets: u64,
    /// Their bytes.
    pub rx_bytes: u64,
    /// Frames sent to the underlay, as they are on the wire.
    pub tx_packets: u64,
    /// Their bytes; headers that segmentation repeats are counted once.
    pub tx_bytes: u64,
    /// The session's id, written by the daemon: the next one finds the counters by it.
    pub session: u64,
}

/// The sequence numbers of one session (RFC 3931 4.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Numbers {
    /// The next to send; its lowest 24 bits are on the wire.
    pub next: u64,
    /// What is known of the peer's: an [`Expectation`](crate::sequence::Expectation).
    pub expected: u64,
}

layout::layout!(Numbers { next, expected });

layout::layout!(Traffic {
    rx_packets,
    rx_bytes,
    tx_packets,
    tx_bytes,
    session,
});
