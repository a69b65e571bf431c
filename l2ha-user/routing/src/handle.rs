//! The handle of the routing thread.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
    thread::JoinHandle,
};

use anyhow::{Context as _, Result};
use config::Ospf;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    bfd::Bfd,
    detection::Detection,
    detours::DetourTable,
    event_loop::{self, Ends},
    kernel::Rtnetlink,
    restart_state::{Ending, RestartState},
    socket::RawSockets,
    types::{Desired, Request, Rotations, View},
};

/// The running routing thread.
pub struct Routing {
    requests: mpsc::UnboundedSender<Request>,
    finished: oneshot::Receiver<()>,
    /// None where the event loop has no thread of its own.
    thread: Option<JoinHandle<()>>,
    /// Why it has ended, if it was by an error.
    failure: Arc<OnceLock<String>>,
    state: RestartState,
}

/// What the event loop has of its handle.
pub(crate) struct Handled {
    pub(crate) requests: mpsc::UnboundedReceiver<Request>,
    /// Completed at the end.
    pub(crate) finish: oneshot::Sender<()>,
}

impl Routing {
    /// Starts the thread; `memory` is the file that keeps what must outlive a crash, `detours` where the
    /// data plane takes detours, if it can; `bfd` watches the neighbours, if there could be a thread of it;
    /// `rotations` is told how far rotations of secrets are.
    ///
    /// # Errors
    ///
    /// When the thread cannot be had.
    pub fn start(
        config: Ospf,
        memory: &Path,
        detours: Option<Box<dyn DetourTable>>,
        bfd: Option<&Bfd>,
        rotations: watch::Sender<Rotations>,
    ) -> Result<Self> {
        let state = RestartState::begin(memory);
        let begin = (state.epoch, state.before);
        let (mut routing, handled) = Self::of(state);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let failure = routing.failure.clone();
        let sessions = bfd.map(Bfd::sessions);
        let thread = std::thread::Builder::new()
            .name("routing".into())
            .spawn(move || {
                let detection = Detection::of(sessions);
                linux::drop_capabilities();
                let ran = runtime.block_on(async {
                    let kernel = Rtnetlink::open().context("cannot open rtnetlink")?;
                    let ends = Ends {
                        wire: Box::new(RawSockets::new()),
                        kernel: Box::new(kernel),
                        detection,
                        detours,
                        rotations,
                    };
                    event_loop::run(config, begin, ends, handled.requests).await
                });
                if let Err(error) = ran {
                    let _ = failure.set(format!("{error:#}"));
                }
                let _ = handled.finish.send(());
            })
            .context("cannot start the routing thread")?;
        routing.thread = Some(thread);
        Ok(routing)
    }

    /// The handle of an event loop that is still to be started.
    pub(crate) fn of(state: RestartState) -> (Self, Handled) {
        let (asked, requests) = mpsc::unbounded_channel();
        let (finish, finished) = oneshot::channel();
        let routing = Self {
            requests: asked,
            finished,
            thread: None,
            failure: Arc::default(),
            state,
        };
        (routing, Handled { requests, finish })
    }

    /// Why the thread has ended, if it has although nobody asked it to.
    pub fn ended(&self) -> Option<String> {
        let ended = self.thread.as_ref()?.is_finished();
        let why = || match self.failure.get() {
            Some(why) => why.clone(),
            None => "the routing thread has panicked".to_owned(),
        };
        ended.then(why)
    }

    /// Takes another configuration. What can be changed under live adjacencies is; another Router ID or
    /// Instance ID makes another router, whose adjacencies come up anew. The answer comes once it holds
    /// and all routes are in the table and have the metric that it says.
    pub fn configure(&self, config: Ospf) -> oneshot::Receiver<()> {
        let (done, receiver) = oneshot::channel();
        self.ask(Request::Configure(Box::new(config), done));
        receiver
    }

    /// Says which interfaces and prefixes there are now.
    pub fn sync(&self, desired: Desired) {
        self.ask(Request::Sync(desired));
    }

    /// Says that kernel routes have changed: they may have been ours.
    pub fn check_routes(&self) {
        self.ask(Request::CheckRoutes);
    }

    /// Says that others have changed routes, addresses or interfaces of their own. On a host where somebody does so all
    /// the time they are looked at in a fraction of it only, some seconds later at most.
    pub fn look_around(&self) {
        self.ask(Request::LookAround);
    }

    /// Whether the node was drained in the run before, and this one goes on with that.
    pub fn was_drained(&self) -> bool {
        self.state.drained
    }

    /// Makes the node the last resort, or ends that, also for runs that follow without a clean stop.
    pub fn drain(&mut self, on: bool) {
        self.state.drain(on);
        self.ask(Request::Drain(on));
    }

    /// Writes down again what must outlive a crash, if that could not be done or somebody has removed it. Returns why
    /// it cannot be done, if it cannot.
    pub fn keep_state(&mut self) -> Option<&str> {
        self.state.keep()
    }

    /// What the thread answers to `view`, when it does.
    pub fn show<T>(&self, view: impl FnOnce(oneshot::Sender<T>) -> View) -> oneshot::Receiver<T> {
        let (answer, receiver) = oneshot::channel();
        self.ask(Request::Show(view(answer)));
        receiver
    }

    /// Withdraws everything, waits until the neighbours have moved, removes the routes and ends.
    pub async fn stop(self) {
        self.end(Ending::Stopped).await;
    }

    /// Ends so that the next start can go on where this one was: the neighbours are asked to wait
    /// (RFC 3623 2.1), and everything is left in its place.
    pub async fn stop_for_restart(self) {
        self.end(Ending::Restarting).await;
    }

    async fn end(mut self, ending: Ending) {
        self.ask(Request::End(ending));
        let _ = self.finished.await;
        if let Some(why) = self.state.end(ending) {
            tracing::error!("the next start will take this end for a crash: {why}");
        }
        if self.thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the routing thread had panicked");
        }
    }

    fn ask(&self, request: Request) {
        // Whether the thread has ended early, `ended` says.
        let _ = self.requests.send(request);
    }
}
