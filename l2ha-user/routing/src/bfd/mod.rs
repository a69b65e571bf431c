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

/// The running thread.
pub(crate) struct Bfd {
    requests: mpsc::Sender<Request>,
    wake: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl Bfd {
    /// Starts the thread; `notices` gets what happens.
    ///
    /// # Errors
    ///
    /// When there can be no thread.
    pub(crate) fn start(notices: notices::UnboundedSender<Notice>) -> Result<Self> {
        let wake = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)
            .context("cannot make an eventfd")?;
        let wake = Arc::new(wake);
        let (requests, inbox) = mpsc::channel();
        let thread = {
            let wake = Arc::clone(&wake);
            std::thread::Builder::new()
                .name("bfd".into())
                .spawn(move || thread::run(wake.as_fd(), &inbox, &notices))
                .context("cannot start the BFD thread")?
        };
        Ok(Self {
            requests,
            wake,
            thread: Some(thread),
        })
    }

    fn ask(&self, request: Request) {
        // The thread ends only when it is asked to.
        let _ = self.requests.send(request);
        let _ = self.wake.write(1);
    }
}

impl Sessions for Bfd {
    fn watch(&self, peers: Vec<Peer>) {
        self.ask(Request::Watch(peers));
    }

    fn show(&self) -> oneshot::Receiver<BfdStatus> {
        let (answer, receiver) = oneshot::channel();
        self.ask(Request::Show(answer));
        receiver
    }

    fn abandon(mut self: Box<Self>) {
        // It goes on until the process ends.
        drop(self.thread.take());
    }
}

impl Drop for Bfd {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        self.ask(Request::Stop);
        if thread.join().is_err() {
            tracing::error!("the BFD thread had panicked");
        }
    }
}
