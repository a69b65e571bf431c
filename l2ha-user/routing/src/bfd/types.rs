//! What the BFD thread is asked, and what it reports.

use std::{net::Ipv6Addr, time::Duration};

use bfd::{Key, Timers};
use control::BfdStatus;
use tokio::sync::{mpsc, oneshot};

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
    fn show(&self) -> oneshot::Receiver<BfdStatus>;

    /// Leaves all sessions as they are, without a word to the neighbours: the next start takes them up.
    fn abandon(self: Box<Self>);
}

/// What the thread is asked.
pub(super) enum Request {
    /// Whom to report to from now on.
    Report(mpsc::UnboundedSender<Notice>),
    Watch(Vec<Peer>),
    Show(oneshot::Sender<BfdStatus>),
    /// What there is goes on until the process ends, and nobody is told of that end.
    Abandon,
    Stop,
}
