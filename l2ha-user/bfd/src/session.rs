//! A session, RFC 5880 6.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::packet::{Diagnostic, Packet, State};

/// A moment, as the time since one the caller has chosen.
pub type Time = Duration;

/// RFC 5880 6.8.3: no session sends faster than this while it is not Up.
const SLOW: Duration = Duration::from_secs(1);

/// The intervals of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Timers {
    /// How often to send and to receive: DesiredMinTxInterval and RequiredMinRxInterval.
    pub interval: Duration,
    /// DetectMult: how many intervals of silence mean that the path is gone. Not 0.
    pub multiplier: u8,
}

/// What a session is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Our number for it: not 0, and no other session's.
    pub discriminator: u32,
    /// Its intervals.
    pub timers: Timers,
    /// Where the jitter begins; any number, better a random one.
    pub seed: u64,
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// The state it left.
    pub from: State,
    /// The state it is in.
    pub to: State,
    /// Why.
    pub diagnostic: Diagnostic,
}

/// Why a packet was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// It is for a session of another number: from before a restart of the peer, or of ours.
    WrongDiscriminator,
    /// The session is administratively down.
    AdminDown,
}

/// What a session counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Counters {
    /// Packets sent.
    pub sent: u64,
    /// Packets taken.
    pub received: u64,
    /// Packets refused.
    pub refused: u64,
    /// How often it came up.
    pub ups: u64,
    /// How often it went down from Up.
    pub downs: u64,
    /// How often the peer was given more time because we had not been running.
    pub own_pauses: u64,
    /// How often other traffic was asked for because the peer's packets had stopped.
    pub probes: u64,
    /// How often such traffic showed that the path works.
    pub probes_answered: u64,
}

/// What there is to show of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct SessionView {
    /// Its state.
    pub state: State,
    /// What the peer says that its state is.
    pub remote_state: State,
    /// Why it last went down.
    pub diagnostic: Diagnostic,
    /// Why the peer last went down.
    pub remote_diagnostic: Diagnostic,
    /// Our number for it.
    pub discriminator: u32,
    /// The peer's; 0 while it is not known.
    pub remote_discriminator: u32,
    /// How often packets are sent now, in microseconds, before jitter.
    pub transmit_interval_us: u64,
    /// After how much silence it goes down, in microseconds; 0 before a packet has come.
    pub detection_time_us: u64,
    /// Its counters.
    pub counters: Counters,
}

/// One session: what RFC 5880 6.8.1 calls the state variables, and the timers.
///
/// ```text
///                              +--+
///                              |  | UP, ADMIN DOWN, TIMER
///                              |  V
///                      DOWN  +------+  INIT
///               +------------|      |------------+
///               |            | DOWN |            |
///               |  +-------->|      |<--------+  |
///               |  |         +------+         |  |
///               |  |                          |  |
///               |  |               ADMIN DOWN,|  |
///               |  |ADMIN DOWN,          DOWN,|  |
///               |  |TIMER                TIMER|  |
///               V  |                          |  V
///             +------+                      +------+
///        +----|      |                      |      |----+
///    DOWN|    | INIT |--------------------->|  UP  |    |INIT, UP
///        +--->|      | INIT, UP             |      |<---+
///             +------+                      +------+
/// ```
#[derive(Clone, Debug)]
pub struct Session {
    config: Config,
    state: State,
    diagnostic: Diagnostic,
    remote: Option<Packet>,
    /// When the next periodic packet is due.
    send_at: Time,
    /// When the last one went out.
    sent_at: Time,
    /// When the peer will have been silent for too long; none before it was heard.
    detect_at: Option<Time>,
    /// When silence has lasted long enough to probe the peer otherwise.
    doubt_at: Option<Time>,
    /// The peer was given more time since it was last heard.
    pardoned: bool,
    /// The interval from before a change that the peer has not confirmed yet.
    before: Option<Duration>,
    /// A poll of ours is on: its answer has not come.
    polling: bool,
    /// The peer's poll wants an answer.
    answer: bool,
    /// A change that is not to wait for the next interval.
    at_once: bool,
    random: u64,
    events: Vec<Event>,
    counters: Counters,
}

impl Session {
    /// A session that is Down and sends its first packet now.
    #[must_use]
    pub fn new(now: Time, config: Config) -> Self {
        Self {
            config,
            state: State::Down,
            diagnostic: Diagnostic::None,
            remote: None,
            send_at: now,
            sent_at: now,
            detect_at: None,
            doubt_at: None,
            pardoned: false,
            before: None,
            polling: false,
            answer: false,
            at_once: false,
            random: config.seed | 1,
            events: Vec::new(),
            counters: Counters::default(),
        }
    }

    /// Its state.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// After how much silence it goes down, while it is Up.
    #[must_use]
    pub fn detects_in(&self) -> Option<Duration> {
        (self.state == State::Up).then(|| self.detection_time())
    }

    /// Takes a packet that was received on this session's interface (RFC 5880 6.8.6).
    ///
    /// # Errors
    ///
    /// When it is not this session's; it is counted.
    pub fn handle_packet(&mut self, now: Time, packet: &Packet) -> Result<(), Refusal> {
        let ours = [0, self.config.discriminator].contains(&packet.your_discriminator);
        let refusal = match (ours, self.state) {
            (false, _) => Some(Refusal::WrongDiscriminator),
            (true, State::AdminDown) => Some(Refusal::AdminDown),
            (true, _) => None,
        };
        if let Some(refusal) = refusal {
            self.counters.refused += 1;
            return Err(refusal);
        }
        self.counters.received += 1;
        let before = self.transmit_interval();
        self.remote = Some(*packet);
        self.pardoned = false;
        if packet.is_final {
            self.polling = false;
            self.before = None;
        }
        self.answer |= packet.poll;
        self.reply_to(now, packet.state);
        self.heard(now);
        // RFC 5880 6.8.3: a shorter interval begins now, not after the present one.
        if self.transmit_interval() < before {
            self.schedule(
                self.sent_at
                    .max(now.saturating_sub(self.transmit_interval())),
            );
        }
        Ok(())
    }

    /// The state machine, for a packet in which the peer says its state.
    fn reply_to(&mut self, now: Time, remote: State) {
        let (to, diagnostic) = match (self.state, remote) {
            (State::AdminDown, _) => return,
            (State::Down, State::Down) => (State::Init, self.diagnostic),
            (State::Down | State::Init, State::Init) | (State::Init, State::Up) => {
                (State::Up, Diagnostic::None)
            }
            (State::Down, State::Up | State::AdminDown)
            | (State::Init, State::Down)
            | (State::Up, State::Init | State::Up) => return,
            (State::Init, State::AdminDown) => (State::Down, Diagnostic::NeighborSignaledDown),
            (State::Up, State::Down | State::AdminDown) => {
                (State::Down, Diagnostic::NeighborSignaledDown)
            }
        };
        self.enter(now, to, diagnostic);
    }

    fn enter(&mut self, now: Time, to: State, diagnostic: Diagnostic) {
        let from = std::mem::replace(&mut self.state, to);
        self.diagnostic = diagnostic;
        if from == to {
            return;
        }
        match (from, to) {
            (_, State::Up) => {
                self.counters.ups += 1;
                // RFC 5880 6.8.3: the intervals have changed, the peer is asked to confirm.
                self.polling = true;
            }
            (State::Up, _) => {
                self.counters.downs += 1;
                self.doubt_at = None;
                self.polling = false;
                self.before = None;
            }
            _ => {}
        }
        self.at_once = true;
        self.schedule(now);
        self.events.push(Event {
            from,
            to,
            diagnostic,
        });
    }

    /// Does what is due. Received packets should have been handed in before.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.detect_at.is_some_and(|at| at <= now) {
            self.detect_at = None;
            // RFC 5880 6.8.1: the peer's number is forgotten after a detection time of silence.
            self.remote = None;
            if matches!(self.state, State::Init | State::Up) {
                self.enter(now, State::Down, Diagnostic::DetectionTimeExpired);
            }
        }
    }

    /// Tells that we were not running until now, so that silence says nothing about the peer: it is
    /// given a whole detection time, once until it is heard again: on a busy machine, where every
    /// wake-up is late, a session to a peer that is gone would stay up for ever.
    pub fn paused(&mut self, now: Time) {
        if self.detect_at.is_some() && !self.pardoned {
            self.pardoned = true;
            self.counters.own_pauses += 1;
            self.detect_at = Some(now + self.detection_time());
        }
    }

    /// Whether the peer has been silent for half the detection time, so that it is time to ask the
    /// path itself, such as by an ICMPv6 Echo Request, which the peer's kernel answers however
    /// starved or stopped its daemon is. Asked again every quarter of the detection time.
    pub fn poll_probe(&mut self, now: Time) -> bool {
        if self.doubt_at.is_none_or(|at| at > now) {
            return false;
        }
        self.doubt_at = Some(now + self.detection_time() / 4);
        self.counters.probes += 1;
        true
    }

    /// Tells that the path was seen to work at this moment by other traffic from the peer. A session
    /// that is not Up stays so.
    pub fn path_is_alive(&mut self, now: Time) {
        if self.state == State::Up && self.detect_at.is_some() {
            self.pardoned = false;
            self.counters.probes_answered += 1;
            self.heard(now);
        }
    }

    fn heard(&mut self, now: Time) {
        let detection = self.detection_time();
        self.detect_at = Some(now + detection);
        self.doubt_at = (self.state == State::Up).then_some(now + detection / 2);
    }

    /// Takes the session to AdminDown; the peer is told not to take it for a failure.
    pub fn admin_down(&mut self, now: Time) {
        self.detect_at = None;
        self.doubt_at = None;
        self.enter(now, State::AdminDown, Diagnostic::AdministrativelyDown);
    }

    /// Changes the intervals; the session stays up.
    pub fn set_timers(&mut self, now: Time, timers: Timers) {
        if self.config.timers == timers {
            return;
        }
        let interval = self.config.timers.interval;
        self.config.timers = timers;
        if self.state == State::Up {
            // RFC 5880 6.8.3: until the peer has confirmed, it expects the old interval of us, and
            // may send at the old one itself.
            self.before.get_or_insert(interval);
            self.polling = true;
            self.at_once = true;
        }
        self.schedule(now);
    }

    /// The packet to send now, if there is one.
    pub fn poll_transmit(&mut self, now: Time) -> Option<Packet> {
        let periodic = self.send_at <= now && !self.is_silent();
        if !(periodic || self.answer || self.at_once) {
            return None;
        }
        let answer = std::mem::take(&mut self.answer);
        self.at_once = false;
        let desired = self.desired_interval();
        let packet = Packet {
            diagnostic: self.diagnostic,
            state: self.state,
            // A packet is a question or an answer (RFC 5880 6.5).
            poll: self.polling && !answer,
            is_final: answer,
            control_plane_independent: false,
            demand: false,
            detect_mult: self.config.timers.multiplier,
            my_discriminator: self.config.discriminator,
            your_discriminator: self.remote.map_or(0, |remote| remote.my_discriminator),
            desired_min_tx: desired,
            required_min_rx: self.config.timers.interval,
            required_min_echo_rx: Duration::ZERO,
        };
        self.counters.sent += 1;
        if periodic {
            self.sent_at = now;
            self.schedule(now);
        }
        Some(packet)
    }

    /// When to call [`Session::handle_timeout`], [`Session::poll_transmit`] and
    /// [`Session::poll_probe`] next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        let send = (!self.is_silent()).then_some(self.send_at);
        [send, self.detect_at, self.doubt_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// What has happened since it was last asked.
    pub fn poll_event(&mut self) -> Option<Event> {
        if self.events.is_empty() {
            return None;
        }
        Some(self.events.remove(0))
    }

    /// What there is to show.
    #[must_use]
    pub fn view(&self) -> SessionView {
        let microseconds = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        SessionView {
            state: self.state,
            remote_state: self.remote.map_or(State::Down, |remote| remote.state),
            diagnostic: self.diagnostic,
            remote_diagnostic: self
                .remote
                .map_or(Diagnostic::None, |remote| remote.diagnostic),
            discriminator: self.config.discriminator,
            remote_discriminator: self.remote.map_or(0, |remote| remote.my_discriminator),
            transmit_interval_us: microseconds(self.transmit_interval()),
            detection_time_us: match self.detect_at {
                Some(_) => microseconds(self.detection_time()),
                None => 0,
            },
            counters: self.counters,
        }
    }

    /// RFC 5880 6.8.7: the peer wants no periodic packets.
    fn is_silent(&self) -> bool {
        self.remote.is_some_and(|remote| {
            remote.required_min_rx.is_zero()
                || (remote.demand && remote.state == State::Up && self.state == State::Up)
        })
    }

    /// bfd.DesiredMinTxInterval, RFC 5880 6.8.3.
    fn desired_interval(&self) -> Duration {
        match self.state {
            State::Up => self.config.timers.interval,
            _ => self.config.timers.interval.max(SLOW),
        }
    }

    fn transmit_interval(&self) -> Duration {
        let wanted = self
            .remote
            .map_or(Duration::ZERO, |remote| remote.required_min_rx);
        let desired = self.desired_interval();
        // RFC 5880 6.8.3: a longer interval waits for the end of the poll.
        self.before
            .map_or(desired, |before| desired.min(before))
            .max(wanted)
    }

    /// After how much silence of the peer it goes down (RFC 5880 6.8.4, asynchronous mode).
    #[must_use]
    pub fn detection_time(&self) -> Duration {
        let (interval, multiplier) = self.remote.map_or((SLOW, 1), |remote| {
            (remote.desired_min_tx, remote.detect_mult)
        });
        // RFC 5880 6.8.3: a shorter interval waits for the end of the poll.
        let required = self.before.max(Some(self.config.timers.interval));
        required.unwrap_or_default().max(interval) * u32::from(multiplier)
    }

    /// The next periodic packet: an interval after `from`, less up to a quarter (RFC 5880 6.8.7),
    /// and at least a tenth with a multiplier of 1.
    fn schedule(&mut self, from: Time) {
        let least = if self.config.timers.multiplier == 1 {
            10
        } else {
            0
        };
        // xorshift64
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let percent = least + (self.random >> 32) as u32 % (26 - least);
        self.send_at = from + self.transmit_interval() * (100 - percent) / 100;
    }
}
