//! The I/O around the BFD crate: a thread of its own, so that neither routing nor repair delays a
//! packet or a detection.

mod echo;
mod socket;
mod thread;

use std::{
    net::Ipv6Addr,
    os::fd::AsFd as _,
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use anyhow::{Context as _, Result};
use bfd::{Algorithm, Diagnostic, Event, Key, SessionView, Timers};
use nix::sys::eventfd::{EfdFlags, EventFd};
use serde::Serialize;
use tokio::sync::{mpsc as news, oneshot};

/// A neighbour whose path is to be watched: one for each interface and address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Index of the interface.
    pub(crate) interface: u32,
    /// Its name.
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

/// A session has changed its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// Index of the interface.
    pub(crate) interface: u32,
    /// The neighbour's address.
    pub(crate) remote: Ipv6Addr,
    /// What has happened.
    pub(crate) event: Event,
    /// The neighbour has taken it down by will, which says nothing about the path (RFC 5882 3.2).
    pub(crate) by_will: bool,
    /// The neighbour's kernel has answered for the path before, while the neighbour was silent.
    pub(crate) vouched: bool,
}

/// What the thread tells without being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// A session has changed its state.
    Changed(Change),
    /// A session notices failures after another time than before; none while it is not Up.
    DetectsIn {
        /// Index of the interface.
        interface: u32,
        /// The neighbour's address.
        remote: Ipv6Addr,
        /// The silence that counts as a failure.
        silence: Option<std::time::Duration>,
    },
}

impl Change {
    /// Whether the path itself is gone, and not only the neighbour's daemon: its kernel, which used
    /// to answer, does not any more.
    pub(crate) fn path_is_gone(&self) -> bool {
        self.vouched && self.event.diagnostic == Diagnostic::DetectionTimeExpired
    }
}

/// What there is to show of a session.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Shown {
    interface: String,
    local: Ipv6Addr,
    remote: Ipv6Addr,
    interval_ms: f64,
    multiplier: u8,
    /// Number and algorithm of the key that signs.
    key: Option<(u8, Algorithm)>,
    #[serde(flatten)]
    session: SessionView,
    /// Packets that were none of this session's, by reason.
    refused: std::collections::BTreeMap<&'static str, u64>,
    send_errors: u64,
}

/// What there is to show.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct View {
    /// Whether the thread runs before all ordinary processes.
    real_time: bool,
    /// How often the thread was woken later than a session's interval.
    late_wakes: u64,
    /// The latest it ever was, in microseconds.
    latest_wake_us: u64,
    sessions: Vec<Shown>,
}

enum Request {
    Watch(Vec<Peer>),
    Show(oneshot::Sender<View>),
    Stop,
}

/// The running thread. Dropping it tells every neighbour that the sessions end by will.
pub(crate) struct Bfd {
    requests: mpsc::Sender<Request>,
    bell: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl Bfd {
    /// Starts the thread; `changes` gets what happens.
    ///
    /// # Errors
    ///
    /// When there can be no thread.
    pub(crate) fn start(changes: news::UnboundedSender<News>) -> Result<Self> {
        let bell = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)
            .context("cannot make an eventfd")?;
        let bell = Arc::new(bell);
        let (requests, inbox) = mpsc::channel();
        let thread = {
            let bell = Arc::clone(&bell);
            std::thread::Builder::new()
                .name("bfd".into())
                .spawn(move || thread::run(bell.as_fd(), &inbox, &changes))
                .context("cannot start the BFD thread")?
        };
        Ok(Self {
            requests,
            bell,
            thread: Some(thread),
        })
    }

    /// Says which neighbours to watch; sessions of others end.
    pub(crate) fn watch(&self, peers: Vec<Peer>) {
        self.ask(Request::Watch(peers));
    }

    /// What there is to show.
    pub(crate) fn show(&self) -> oneshot::Receiver<View> {
        let (answer, receiver) = oneshot::channel();
        self.ask(Request::Show(answer));
        receiver
    }

    fn ask(&self, request: Request) {
        // The thread ends only when it is told to.
        let _ = self.requests.send(request);
        let _ = self.bell.write(1);
    }
}

impl Drop for Bfd {
    fn drop(&mut self) {
        self.ask(Request::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the BFD thread had panicked");
        }
    }
}
