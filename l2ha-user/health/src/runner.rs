//! The thread that makes the attempts.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use config::{Check, CheckKind};
use tokio::{
    sync::{mpsc, watch},
    task::{JoinHandle as Task, spawn_local},
    time::{MissedTickBehavior, interval, sleep_until},
};

use crate::{
    attempt::{asked, attempt},
    exec,
    judge::Judge,
    listener::Listeners,
    state::{ServiceState, States, Verdict},
    unit::{SYSTEM_BUS, UnitWatch},
};

/// How often it is looked whether a socket that did listen still does.
const LOOK: Duration = Duration::from_millis(10);
/// How many looks in a row must find nothing: a server that opens its socket anew is not gone.
const LOOKS: u8 = 2;
/// Why a check fails whose socket is gone.
const CLOSED: &str = "nothing listens there";
/// How long a program may take that is told of a change.
const TELLING: Duration = Duration::from_secs(10);
/// How many changes may wait to be told.
const TO_TELL: usize = 64;

/// A service that is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Its name.
    pub name: String,
    /// Its checks; not empty.
    pub checks: Vec<Check>,
    /// Whether it is taken to pass until its checks have failed, where it was not known before.
    pub passing: bool,
}

/// A program that is told of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Name of the service.
    pub service: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// What has happened.
    pub environment: Vec<(String, String)>,
}

/// The thread; dropping it ends the thread and what it has started.
pub struct Health {
    orders: Option<mpsc::UnboundedSender<Vec<Watched>>>,
    to_tell: mpsc::Sender<Told>,
    states: watch::Receiver<States>,
    thread: Option<JoinHandle<()>>,
}

impl Health {
    /// Starts the thread, which does `first` before all else: it gives up privileges there.
    ///
    /// # Errors
    ///
    /// When the thread cannot be had.
    pub fn start(first: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        Self::start_at(SYSTEM_BUS, first)
    }

    /// As [`Health::start`], with systemd on another bus.
    pub(crate) fn start_at(
        bus: &'static str,
        first: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let (orders, ordered) = mpsc::unbounded_channel();
        let (to_tell, telling) = mpsc::channel(TO_TELL);
        let (publish, states) = watch::channel(States::new());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = std::thread::Builder::new()
            .name("health".into())
            .spawn(move || {
                first();
                if let Err(error) = nix::sys::prctl::set_child_subreaper(true) {
                    tracing::warn!(%error, "a program that a check starts may leave others behind");
                }
                let local = tokio::task::LocalSet::new();
                local.block_on(&runtime, serve(bus, ordered, telling, publish));
                // Attempts and what they have started end with their tasks.
                drop(local);
            })?;
        Ok(Self {
            orders: Some(orders),
            to_tell,
            states,
            thread: Some(thread),
        })
    }

    /// Says which services are to be checked from now on. Checks that are the same go on as they are; new ones of
    /// a service that was there begin in its state.
    pub fn watch(&self, services: Vec<Watched>) {
        if let Some(orders) = &self.orders {
            // The thread ends with this only.
            let _ = orders.send(services);
        }
    }

    /// The states, as they come.
    pub fn states(&self) -> watch::Receiver<States> {
        self.states.clone()
    }

    /// Has a program told of a change, after those before it. Whether there is room for that.
    pub fn tell(&self, told: Told) -> bool {
        self.to_tell.try_send(told).is_ok()
    }
}

impl Drop for Health {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the health thread had panicked");
        }
    }
}

/// An attempt's outcome, or that what it asks is known to be gone.
enum Outcome {
    Attempt(Result<(), String>),
    Gone(String),
}

/// What a check's task says.
struct Report {
    /// Number of the task: one that was ended may still have said something.
    task: u64,
    outcome: Outcome,
}

/// A check that is made.
struct Running {
    check: Check,
    judge: Judge,
    number: u64,
    task: Task<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A service and its checks.
struct Service {
    checks: Vec<Running>,
    state: ServiceState,
}

struct Runner {
    /// Where systemd is asked.
    bus: &'static str,
    services: BTreeMap<String, Service>,
    reports: mpsc::UnboundedSender<Report>,
    next_task: u64,
}

async fn serve(
    bus: &'static str,
    mut ordered: mpsc::UnboundedReceiver<Vec<Watched>>,
    mut telling: mpsc::Receiver<Told>,
    publish: watch::Sender<States>,
) {
    let (reports, mut reported) = mpsc::unbounded_channel();
    let mut runner = Runner {
        bus,
        services: BTreeMap::new(),
        reports,
        next_task: 0,
    };
    spawn_local(async move {
        while let Some(told) = telling.recv().await {
            tell(told).await;
        }
    });
    loop {
        tokio::select! {
            watched = ordered.recv() => match watched {
                Some(watched) => runner.watch(watched),
                None => return,
            },
            report = reported.recv() => match report {
                Some(report) => runner.take(report),
                None => return,
            },
        }
        let states = runner.states();
        publish.send_if_modified(|known| {
            let changed = *known != states;
            *known = states;
            changed
        });
    }
}

async fn tell(told: Told) {
    let program = told.command.first().cloned().unwrap_or_default();
    if let Err(why) = exec::run(told.command, told.environment, TELLING).await {
        tracing::warn!(
            service = told.service,
            "on_change: {program} {why}; nothing else depends on it"
        );
    }
}

impl Runner {
    fn watch(&mut self, watched: Vec<Watched>) {
        let mut before = std::mem::take(&mut self.services);
        for service in watched {
            let known = before.remove(&service.name);
            let service_now = self.service(service.checks, known, service.passing);
            self.services.insert(service.name, service_now);
        }
    }

    fn service(&mut self, checks: Vec<Check>, known: Option<Service>, passing: bool) -> Service {
        let now = Instant::now();
        let (mut before, state) = match known {
            Some(known) => (known.checks, known.state),
            None if passing => (Vec::new(), ServiceState::new(Verdict::Passing, now)),
            None => (Vec::new(), ServiceState::new(Verdict::Waiting, now)),
        };
        let passing = state.verdict == Verdict::Passing;
        let checks =
            checks.into_iter().map(
                |check| match before.iter().position(|it| it.check == check) {
                    Some(same) => before.swap_remove(same),
                    None => self.begin(check, passing),
                },
            );
        let checks: Vec<Running> = checks.collect();
        let mut service = Service { checks, state };
        service.look(now);
        service
    }

    fn begin(&mut self, check: Check, passing: bool) -> Running {
        self.next_task += 1;
        let number = self.next_task;
        Running {
            judge: Judge::new(check.fall, check.rise, passing),
            task: spawn_local(make(check.clone(), number, self.bus, self.reports.clone())),
            check,
            number,
        }
    }

    fn take(&mut self, report: Report) {
        let now = Instant::now();
        for service in self.services.values_mut() {
            let mut checks = service.checks.iter_mut();
            let Some(check) = checks.find(|check| check.number == report.task) else {
                continue;
            };
            let changed = match report.outcome {
                Outcome::Attempt(outcome) => check.judge.attempt(outcome),
                Outcome::Gone(reason) => check.judge.gone(reason),
            };
            if changed {
                service.look(now);
            }
            return;
        }
    }

    fn states(&self) -> States {
        let services = self.services.iter();
        services
            .map(|(name, service)| (name.clone(), service.state.clone()))
            .collect()
    }
}

impl Service {
    fn look(&mut self, now: Instant) {
        let judges: Vec<Judge> = self.checks.iter().map(|it| it.judge.clone()).collect();
        self.state = self.state.next(&judges, now);
    }
}

/// Makes a check for ever.
async fn make(check: Check, task: u64, bus: &'static str, reports: mpsc::UnboundedSender<Report>) {
    let say = |outcome| reports.send(Report { task, outcome }).is_ok();
    let listener = match &check.kind {
        CheckKind::Tcp(address) => Some(*address),
        CheckKind::Http(http) => Some(http.target),
        CheckKind::Exec(_) | CheckKind::Unit(_) => None,
    };
    let mut watch = ListenerWatch::of(listener);
    let mut unit = UnitWatch::new(bus);
    let gone = |why: &str| Outcome::Gone(format!("{} {why}", asked(&check.kind)));
    let mut next = Instant::now();
    loop {
        let told = tokio::select! {
            biased;
            () = sleep_until(next.into()) => None,
            () = watch.gone() => Some(gone(CLOSED)),
            why = unit.failed() => Some(gone(&why)),
        };
        if let Some(told) = told {
            if !say(told) {
                return;
            }
            continue;
        }
        let began = Instant::now();
        let outcome = tokio::select! {
            outcome = attempt(&check, &mut unit) => Outcome::Attempt(outcome),
            () = watch.gone() => gone(CLOSED),
        };
        if matches!(outcome, Outcome::Attempt(Ok(()))) {
            watch.begin();
        }
        if !say(outcome) {
            return;
        }
        // After an attempt that took longer than the interval the next one follows at once.
        next = (began + check.interval).max(Instant::now());
    }
}

/// Watches a socket that listens on this host, from when an attempt has passed.
struct ListenerWatch {
    address: Option<SocketAddr>,
    listeners: Option<Listeners>,
    watching: bool,
}

impl ListenerWatch {
    fn of(address: Option<SocketAddr>) -> Self {
        let listeners = address.and_then(|_| Listeners::open().ok());
        Self {
            address,
            listeners,
            watching: false,
        }
    }

    fn has(&self) -> Option<bool> {
        self.listeners.as_ref()?.has(self.address?).ok()
    }

    /// An attempt has passed: if a socket of this host has answered, it is watched from now on.
    fn begin(&mut self) {
        self.watching = self.watching || self.has() == Some(true);
    }

    /// Waits until the socket is gone, and watches no more then; for ever where none is watched.
    async fn gone(&mut self) {
        if !self.watching {
            return std::future::pending().await;
        }
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut absent = 0;
        loop {
            looks.tick().await;
            match self.has() {
                Some(false) => absent += 1,
                Some(true) | None => absent = 0,
            }
            if absent >= LOOKS {
                self.watching = false;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
