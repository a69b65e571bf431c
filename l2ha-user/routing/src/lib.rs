//! The I/O around the OSPFv3 crate: a thread of its own with sockets, timers and kernel routes; and
//! the I/O around the BFD crate, in another one.

mod bfd;
mod detection;
mod detours;
mod fib;
mod flaps;
mod graceful;
mod instances;
mod protection;
mod rate;
mod redistribute;
mod refusals;
mod restart_state;
mod socket;
mod thread;
mod types;
mod views;

use std::{path::Path, thread::JoinHandle};

use anyhow::{Context as _, Result};
use config::Ospf;
use tokio::sync::{mpsc, oneshot};

use self::{
    detection::Detection,
    protection::Protection,
    restart_state::{Ending, Life},
    types::Request,
};
pub use self::{
    detours::{Detour, DetourTable},
    fib::remove_routes,
    types::{Desired, HostPrefix, Interface, STOP_GRACE, View},
};

/// The running routing thread.
pub struct Routing {
    requests: mpsc::UnboundedSender<Request>,
    finished: oneshot::Receiver<()>,
    thread: JoinHandle<()>,
    life: Life,
}

impl Routing {
    /// Starts the thread; `memory` is the file that keeps what must outlive a crash, `detours` where the
    /// data plane takes detours, if it can.
    ///
    /// # Errors
    ///
    /// When its rtnetlink connection or the thread cannot be had.
    pub fn start(
        config: Ospf,
        memory: &Path,
        detours: Option<Box<dyn DetourTable>>,
    ) -> Result<Self> {
        let life = Life::begin(memory)?;
        let (number, before) = (life.number, life.before);
        let (requests, inbox) = mpsc::unbounded_channel();
        let (finish, finished) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = std::thread::Builder::new()
            .name("routing".into())
            .spawn(move || {
                let detection = Detection::start();
                let protection = Protection::new(detours);
                linux::drop_capabilities();
                if let Err(error) = runtime.block_on(thread::run(
                    config,
                    (number, before),
                    detection,
                    protection,
                    inbox,
                )) {
                    tracing::error!(error = format!("{error:#}"), "OSPF has stopped");
                }
                let _ = finish.send(());
            })
            .context("cannot start the routing thread")?;
        Ok(Self {
            requests,
            finished,
            thread,
            life,
        })
    }

    /// Says which interfaces and prefixes there are now.
    pub fn sync(&self, desired: Desired) {
        self.ask(Request::Sync(desired));
    }

    /// Says that kernel routes have changed: they may have been ours.
    pub fn check_routes(&self) {
        self.ask(Request::CheckRoutes);
    }

    /// Whether the node was drained in the life before, and this one goes on with that.
    pub fn was_drained(&self) -> bool {
        self.life.drained
    }

    /// Makes the node the last resort, or ends that, for lives that follow without a clean stop too.
    ///
    /// # Errors
    ///
    /// When that cannot be written down; nothing has been changed then.
    pub fn drain(&mut self, on: bool) -> Result<()> {
        self.life.drain(on)?;
        self.ask(Request::Drain(on));
        Ok(())
    }

    /// What the thread answers to `view`, when it does.
    pub fn show(&self, view: View) -> oneshot::Receiver<serde_json::Value> {
        let (answer, receiver) = oneshot::channel();
        self.ask(Request::Show(view, answer));
        receiver
    }

    /// Withdraws everything, waits until the neighbours have moved, removes the routes and ends.
    pub async fn stop(self) {
        self.end(Request::Stop, Ending::Stopped).await;
    }

    /// Ends so that the next start can go on where this one was: the neighbours are asked to wait
    /// (RFC 3623 2.1), and everything is left in its place.
    pub async fn leave(self) {
        self.end(Request::Leave, Ending::Restarting).await;
    }

    async fn end(self, how: Request, ending: Ending) {
        self.ask(how);
        let _ = self.finished.await;
        if let Err(error) = self.life.end(ending) {
            tracing::error!(
                error = format!("{error:#}"),
                "the next start will take this end for a crash"
            );
        }
        if self.thread.join().is_err() {
            tracing::error!("the routing thread had panicked");
        }
    }

    fn ask(&self, request: Request) {
        // The thread ends early only after an error it has logged.
        let _ = self.requests.send(request);
    }
}
