//! What the BFD thread is asked, and what it reports.

use std::{collections::BTreeMap, net::Ipv6Addr, time::Duration};

use bfd::{Algorithm, Key, SessionView, Timers};
use serde::Serialize;
use tokio::sync::oneshot;

/// A neighbour whose path is to be watched: one for each interface and address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Index of the interface.
    pub(crate) interface: u32,
    pub(crate) name: String,
    /// Our link-local address there.
    pub(crate) local: Ipv6Addr,
    /// The neighbour's.
    pub(crate) remote: Ipv6Addr,
    /// How often packets go, and how many may be missed.
    pub(crate) timers: Timers,
    /// Keys that packets are signed with; the first one signs, each is accepted.
    pub(crate) keys: Vec<Key>,
}

impl Peer {
    /// What tells two sessions apart.
    pub(super) fn key(&self) -> (u32, Ipv6Addr) {
        (self.interface, self.remote)
    }
}

/// What the thread reports without being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// The path to a neighbour has failed: its session was Up, and the neighbour has not taken it down
    /// administratively, which says nothing about the path (RFC 5882 3.2).
    Failed {
        /// Index of the interface.
        interface: u32,
        /// The neighbour's address.
        remote: Ipv6Addr,
        /// Whether the path itself is gone, and not only the neighbour's daemon: its kernel, which used
        /// to answer, does not any more.
        path_is_gone: bool,
    },
    /// A session detects failures after another time than before.
    DetectsIn {
        /// Index of the interface.
        interface: u32,
        /// The neighbour's address.
        remote: Ipv6Addr,
        /// The silence that counts as a failure; none while the session is not Up.
        silence: Option<Duration>,
    },
}

/// BFD as routing uses it. Dropping it ends all sessions (AdminDown).
pub(crate) trait Sessions {
    /// Says which neighbours to watch; sessions with others end.
    fn watch(&self, peers: Vec<Peer>);

    /// What there is to show.
    fn show(&self) -> oneshot::Receiver<View>;

    /// Leaves all sessions as they are, without a word to the neighbours: the next start takes them up.
    fn abandon(self: Box<Self>);
}

/// What there is to show of a session.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Shown {
    pub(super) interface: String,
    pub(super) local: Ipv6Addr,
    pub(super) remote: Ipv6Addr,
    pub(super) interval_ms: f64,
    pub(super) multiplier: u8,
    /// Number and algorithm of the key that signs.
    pub(super) key: Option<(u8, Algorithm)>,
    #[serde(flatten)]
    pub(super) session: SessionView,
    /// Packets that were none of this session's, by reason.
    pub(super) refused: BTreeMap<&'static str, u64>,
    pub(super) send_errors: u64,
}

/// What there is to show.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct View {
    /// Whether the thread runs before all ordinary processes.
    pub(super) real_time: bool,
    /// How often the thread was woken later than a session's interval.
    pub(super) late_wakes: u64,
    /// The latest it ever was, in microseconds.
    pub(super) latest_wake_us: u64,
    pub(super) sessions: Vec<Shown>,
}

/// What the thread is asked.
pub(super) enum Request {
    Watch(Vec<Peer>),
    Show(oneshot::Sender<View>),
    Stop,
}
