//! The BFD thread.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
    os::fd::BorrowedFd,
    sync::mpsc,
    time::{Duration, Instant},
};

use bfd::{Authenticator, Config, Diagnostic, Event, Session, State};
use control::{BfdSession, BfdStatus};
use nix::{
    libc,
    poll::{PollFd, PollFlags, ppoll},
    sys::time::TimeSpec,
    unistd,
};
use tokio::sync::mpsc as notices;

use super::{
    echo::Echo,
    socket::Sockets,
    types::{Notice, Peer, Request},
};

/// Priority among real-time threads: above the ordinary ones of audio and databases, below the
/// kernel's own.
const PRIORITY: libc::c_int = 50;
/// The longest to sleep without anything to do.
const IDLE: Duration = Duration::from_secs(3600);
/// How long to wait before sockets that could not be opened are tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Packets read from a session at a time: one that floods shall not hold up the others.
const AT_ONCE: usize = 64;

/// A session and its sockets.
struct Watched {
    peer: Peer,
    session: Session,
    authenticator: Authenticator,
    sockets: Sockets,
    /// None where it could not be had: then only the peer's own packets count.
    echo: Option<Echo>,
    refused: BTreeMap<&'static str, u64>,
    send_errors: u64,
    /// What was reported last.
    detects_in: Option<Duration>,
}

struct Thread {
    epoch: Instant,
    /// Nobody hears before the first routing thread is there.
    notices: notices::UnboundedSender<Notice>,
    wanted: Vec<Peer>,
    sessions: BTreeMap<(u32, Ipv6Addr), Watched>,
    /// What could not be opened, of which the log knows.
    not_open: BTreeSet<(u32, Ipv6Addr)>,
    /// When to try again to open what could not be opened.
    again: Option<Duration>,
    discriminators: u32,
    real_time: bool,
    warned: bool,
    late_wakes: u64,
    latest_wake: Duration,
}

/// Runs until asked to stop.
pub(super) fn run(wake: BorrowedFd<'_>, inbox: &mpsc::Receiver<Request>) {
    let real_time = become_real_time();
    linux::drop_capabilities();
    let mut thread = Thread {
        epoch: Instant::now(),
        notices: notices::unbounded_channel().0,
        wanted: Vec::new(),
        sessions: BTreeMap::new(),
        not_open: BTreeSet::new(),
        again: None,
        discriminators: random(),
        real_time,
        warned: false,
        late_wakes: 0,
        latest_wake: Duration::ZERO,
    };
    let (mut planned, mut abandoned) = (None, false);
    loop {
        let mut bytes = [0; 8];
        let _ = unistd::read(wake, &mut bytes);
        while let Ok(request) = inbox.try_recv() {
            match request {
                Request::Report(notices) => thread.notices = notices,
                Request::Watch(peers) => thread.watch(peers),
                Request::Show(answer) => {
                    let _ = answer.send(thread.view());
                }
                Request::Abandon => abandoned = true,
                Request::Stop if abandoned => return,
                Request::Stop => return thread.watch(Vec::new()),
            }
        }
        thread.step(planned);
        let now = thread.epoch.elapsed();
        let next = thread.next();
        planned = next;
        let wait = next.map_or(IDLE, |next| next.saturating_sub(now));
        thread.sleep(wake, wait);
    }
}

/// Lets the thread run before all ordinary processes; whether it may.
fn become_real_time() -> bool {
    let parameters = libc::sched_param {
        sched_priority: PRIORITY,
    };
    // SAFETY: 0 is the calling thread, and the parameters outlive the call.
    let answer = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) };
    if answer == 0 {
        return true;
    }
    // The next best: wake-ups that are not gathered with others'.
    let _ = nix::sys::prctl::set_timerslack(1);
    false
}

/// A number that another run of this daemon will not have had.
fn random() -> u32 {
    getrandom::u32().unwrap_or_else(|_| std::process::id())
}

impl Thread {
    fn watch(&mut self, peers: Vec<Peer>) {
        let now = self.epoch.elapsed();
        self.sessions.retain(|key, watched| {
            let same = |peer: &Peer| {
                peer.key() == *key
                    && peer.local == watched.peer.local
                    && peer.name == watched.peer.name
            };
            let Some(peer) = peers.iter().find(|peer| same(peer)) else {
                watched.session.admin_down(now);
                watched.transmit(now);
                let (interface, remote) = *key;
                let _ = self.notices.send(Notice::DetectsIn {
                    interface,
                    remote,
                    silence: None,
                });
                return false;
            };
            watched.peer = peer.clone();
            watched.session.set_timers(now, peer.timers);
            watched.authenticator.set_keys(peer.keys.clone());
            true
        });
        self.wanted = peers;
        self.open(now);
    }

    /// Opens the sessions that are wanted and not there.
    fn open(&mut self, now: Duration) {
        self.again = None;
        for peer in &self.wanted {
            if self.sessions.contains_key(&peer.key()) {
                continue;
            }
            self.discriminators = self.discriminators.wrapping_add(1).max(1);
            let number = self.discriminators;
            let sockets =
                Sockets::open(&peer.name, peer.interface, peer.local, peer.remote, number);
            let sockets = match sockets {
                Ok(sockets) => sockets,
                Err(error) => {
                    let interface = &peer.name;
                    if self.not_open.insert(peer.key()) {
                        tracing::warn!(interface, %error, "cannot open a BFD session, trying again");
                    }
                    self.again = Some(now + AGAIN);
                    continue;
                }
            };
            let secret = u64::from(random()) << 32 | u64::from(random());
            let echo = Echo::open(&peer.name, peer.interface, peer.local, peer.remote, secret)
                .inspect_err(|error| {
                    let interface = &peer.name;
                    tracing::warn!(
                        interface, %error,
                        "cannot ask the path itself by ICMPv6: a peer whose daemon is held up will be \
                         taken for a broken path"
                    );
                });
            let config = Config {
                discriminator: number,
                timers: peer.timers,
                seed: u64::from(random()) << 32 | u64::from(number),
            };
            tracing::debug!(interface = peer.name, remote = %peer.remote, "BFD session");
            if !self.real_time && !std::mem::replace(&mut self.warned, true) {
                tracing::warn!(
                    "BFD runs without real-time priority: on a busy machine sessions may fall \
                     although the path is fine. Start l2ha as root or with CAP_SYS_NICE, or raise \
                     RLIMIT_RTPRIO"
                );
            }
            self.not_open.remove(&peer.key());
            self.sessions.insert(
                peer.key(),
                Watched {
                    peer: peer.clone(),
                    session: Session::new(now, config),
                    authenticator: Authenticator::new(peer.keys.clone(), random()),
                    sockets,
                    echo: echo.ok(),
                    refused: BTreeMap::new(),
                    send_errors: 0,
                    detects_in: None,
                },
            );
        }
    }

    /// Does everything that is due. `planned` is when the thread wanted to be woken.
    fn step(&mut self, planned: Option<Duration>) {
        let now = self.epoch.elapsed();
        let late = planned.map_or(Duration::ZERO, |planned| now.saturating_sub(planned));
        if self.again.is_some_and(|again| again <= now) {
            self.open(now);
        }
        let mut paused = false;
        for watched in self.sessions.values_mut() {
            // First what has come, however late we are: it is no fault of the peer's.
            watched.receive(self.epoch);
            let now = self.epoch.elapsed();
            if late > watched.peer.timers.interval {
                paused = true;
                watched.session.paused(now);
            }
            watched.session.handle_timeout(now);
            watched.transmit(now);
            watched.probe(now);
            while let Some(event) = watched.session.poll_event() {
                let view = watched.session.view();
                let by_will = view.remote_state == State::AdminDown;
                let failed = event.from == State::Up && !by_will;
                log(&watched.peer, &event, failed);
                if failed {
                    let answered = view.counters.probes_answered > 0;
                    let _ = self.notices.send(Notice::Failed {
                        interface: watched.peer.interface,
                        remote: watched.peer.remote,
                        path_is_gone: answered
                            && event.diagnostic == Diagnostic::DetectionTimeExpired,
                    });
                }
            }
            let detects_in = watched.session.detects_in();
            if std::mem::replace(&mut watched.detects_in, detects_in) != detects_in {
                let _ = self.notices.send(Notice::DetectsIn {
                    interface: watched.peer.interface,
                    remote: watched.peer.remote,
                    silence: detects_in,
                });
            }
        }
        self.latest_wake = self.latest_wake.max(late);
        if paused {
            self.late_wakes += 1;
        }
    }

    fn next(&self) -> Option<Duration> {
        let sessions = self.sessions.values();
        let next = sessions.filter_map(|watched| watched.session.poll_timeout());
        next.chain(self.again).min()
    }

    /// Sleeps until a packet or a request comes, at most for this long.
    fn sleep(&self, wake: BorrowedFd<'_>, wait: Duration) {
        let sessions = self.sessions.values();
        let receivers = sessions.flat_map(|it| {
            let echo = it.echo.as_ref().map(Echo::descriptor);
            std::iter::once(it.sockets.receiver()).chain(echo)
        });
        let mut descriptors: Vec<PollFd<'_>> = std::iter::once(wake)
            .chain(receivers)
            .map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN))
            .collect();
        // An interrupted sleep is a short one.
        let _ = ppoll(&mut descriptors, Some(TimeSpec::from_duration(wait)), None);
    }

    fn view(&self) -> BfdStatus {
        BfdStatus {
            real_time: self.real_time,
            late_wakes: self.late_wakes,
            latest_wake_us: u64::try_from(self.latest_wake.as_micros()).unwrap_or(u64::MAX),
            sessions: self
                .sessions
                .values()
                .map(|watched| BfdSession {
                    interface: watched.peer.name.clone(),
                    local: watched.peer.local,
                    remote: watched.peer.remote,
                    interval_ms: watched.peer.timers.interval.as_secs_f64() * 1000.0,
                    multiplier: watched.peer.timers.multiplier,
                    key: watched
                        .authenticator
                        .signs_with()
                        .map(|key| (key.id, key.algorithm)),
                    session: watched.session.view(),
                    refused: watched
                        .refused
                        .iter()
                        .map(|(reason, count)| ((*reason).to_owned(), *count))
                        .collect(),
                    send_errors: watched.send_errors,
                })
                .collect(),
        }
    }
}

impl Watched {
    fn receive(&mut self, epoch: Instant) {
        if self.echo.as_ref().is_some_and(Echo::is_answered) {
            self.session.path_is_alive(epoch.elapsed());
        }
        let mut buffer = [0; 128];
        for _ in 0..AT_ONCE {
            let received = match self.sockets.receive(&mut buffer) {
                Ok(Some(received)) => received,
                Ok(None) => return,
                Err(error) => {
                    // A vanished interface; the session ends when routing is told of it.
                    tracing::trace!(interface = self.peer.name, %error, "cannot receive");
                    self.refuse("receive_error");
                    return;
                }
            };
            if received.source != self.peer.remote {
                self.refuse("wrong_source");
                continue;
            }
            if !received.one_hop {
                self.refuse("wrong_hop_limit");
                continue;
            }
            let bytes = buffer.get(..received.length).unwrap_or_default();
            let now = epoch.elapsed();
            let detection_time = self.session.detection_time();
            match self.authenticator.open(now, bytes, detection_time) {
                Ok(packet) => {
                    // The session counts what it refuses.
                    let _ = self.session.handle_packet(now, &packet);
                }
                Err(refused) => {
                    let reason = refused.name();
                    if !self.refused.contains_key(reason) {
                        let (interface, remote) = (&self.peer.name, self.peer.remote);
                        tracing::warn!(
                            interface, %remote, %refused,
                            "BFD packet refused; further ones are counted as {reason}"
                        );
                    }
                    self.refuse(reason);
                }
            }
        }
    }

    /// Asks the path itself when the peer is silent.
    fn probe(&mut self, now: Duration) {
        if !self.session.poll_probe(now) {
            return;
        }
        if let Some(Err(error)) = self.echo.as_ref().map(Echo::ask) {
            self.send_errors += 1;
            tracing::trace!(interface = self.peer.name, %error, "cannot ask the path");
        }
    }

    fn refuse(&mut self, reason: &'static str) {
        *self.refused.entry(reason).or_default() += 1;
    }

    fn transmit(&mut self, now: Duration) {
        while let Some(packet) = self.session.poll_transmit(now) {
            let bytes = self.authenticator.seal(&packet);
            if let Err(error) = self.sockets.send(&bytes) {
                self.send_errors += 1;
                tracing::trace!(interface = self.peer.name, %error, "cannot send");
            }
        }
    }
}

fn log(peer: &Peer, event: &Event, failed: bool) {
    let (interface, remote) = (&peer.name, peer.remote);
    let Event {
        from,
        to,
        diagnostic,
    } = event;
    // The neighbour that is lost with it has a line in the log, and what is not up is a problem.
    tracing::debug!(interface, %remote, ?from, ?to, ?diagnostic, failed, "BFD session");
}
