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
use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::{mpsc as news, oneshot};

use self::types::Request;
pub(crate) use self::types::{Change, News, Peer, View};

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
