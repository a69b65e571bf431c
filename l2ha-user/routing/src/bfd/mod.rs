//! The I/O around the BFD crate: a thread of its own, so that neither routing nor repair delays a
//! packet or a detection.

mod echo;
mod socket;
mod thread;
mod types;

use std::{
    os::fd::AsFd as _,
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use anyhow::{Context as _, Result};
use control::BfdStatus;
use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::{mpsc as notices, oneshot};

use self::types::Request;
pub(crate) use self::types::{Notice, Peer, Sessions};

/// The running thread. It serves each routing thread that the daemon starts, one after the other: it is
/// started once, while the daemon still may give it real-time priority. Dropping it ends all sessions
/// (AdminDown), unless they have been left for the next start.
pub struct Bfd {
    mailbox: Mailbox,
    thread: Option<JoinHandle<()>>,
}

/// Where the thread is asked.
#[derive(Clone)]
struct Mailbox {
    requests: mpsc::Sender<Request>,
    wake: Arc<EventFd>,
}

/// The sessions of one routing thread.
pub(crate) struct ThreadSessions {
    mailbox: Mailbox,
    abandoned: bool,
}

impl Bfd {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// When there can be no thread.
    pub fn start() -> Result<Self> {
        let wake = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)
            .context("cannot make an eventfd")?;
        let wake = Arc::new(wake);
        let (requests, inbox) = mpsc::channel();
        let thread = {
            let wake = Arc::clone(&wake);
            std::thread::Builder::new()
                .name("bfd".into())
                .spawn(move || thread::run(wake.as_fd(), &inbox))
                .context("cannot start the BFD thread")?
        };
        Ok(Self {
            mailbox: Mailbox { requests, wake },
            thread: Some(thread),
        })
    }

    /// Sessions for a routing thread, none yet, and what happens to them. Those of the one before have
    /// ended.
    pub(crate) fn sessions(&self) -> (ThreadSessions, notices::UnboundedReceiver<Notice>) {
        let (sender, notices) = notices::unbounded_channel();
        self.mailbox.ask(Request::Report(sender));
        let sessions = ThreadSessions {
            mailbox: self.mailbox.clone(),
            abandoned: false,
        };
        (sessions, notices)
    }
}

impl Mailbox {
    fn ask(&self, request: Request) {
        // The thread ends only when it is asked to.
        let _ = self.requests.send(request);
        let _ = self.wake.write(1);
    }
}

impl Sessions for ThreadSessions {
    fn watch(&self, peers: Vec<Peer>) {
        self.mailbox.ask(Request::Watch(peers));
    }

    fn show(&self) -> oneshot::Receiver<BfdStatus> {
        let (answer, receiver) = oneshot::channel();
        self.mailbox.ask(Request::Show(answer));
        receiver
    }

    fn abandon(mut self: Box<Self>) {
        self.abandoned = true;
        self.mailbox.ask(Request::Abandon);
    }
}

impl Drop for ThreadSessions {
    fn drop(&mut self) {
        if !self.abandoned {
            self.mailbox.ask(Request::Watch(Vec::new()));
        }
    }
}

impl Drop for Bfd {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        self.mailbox.ask(Request::Stop);
        if thread.join().is_err() {
            tracing::error!("the BFD thread had panicked");
        }
    }
}
