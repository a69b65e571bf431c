//! Watching packets: samples of refused ones and captures, from the programs to whoever asked.
//!
//! One task reads each ring buffer and hands records on to the queues of those who want them. The
//! programs write records only while somebody does.

mod outer;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use aya::maps::{Array, Map, MapData, PerCpuArray, RingBuf};
use l2ha_ebpf::{
    abi::{self, CAPTURE_RX, CAPTURE_TX, MAX_SNAPLEN, Missing, Record},
    outer::OUTER_MAX,
    reason::Reason,
};
use tokio::{io::unix::AsyncFd, sync::mpsc};

pub use self::outer::Headers;
use crate::{detours::map, object::Shared};

/// How many refused packets a second each CPU shows.
pub const RATE: u32 = 100;
/// How many can watch at once.
const MOST_CLIENTS: usize = 16;
/// How many records wait for a client; it loses what does not fit.
const QUEUE: usize = 4096;
/// How many records are read at a stretch, before the rest of the daemon has its turn.
const BATCH: usize = 256;
/// What outer headers with IP options are longer than those without, in bytes.
const OPTIONS: u32 = 40;
/// How long packets of a session's former form may still be on their way to the reader.
const SETTLE: Duration = Duration::from_millis(500);

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Packets that are refused.
    Refused {
        /// For these reasons.
        reasons: HashSet<Reason>,
    },
    /// Packets that are delivered or sent.
    Frames {
        /// Of these sessions, by id; of all when nothing is said.
        sessions: Option<HashSet<u32>>,
        /// Received ones.
        received: bool,
        /// Sent ones.
        sent: bool,
        /// With their outer headers.
        outer: bool,
        /// How much of each, in bytes.
        snaplen: u32,
    },
}

/// A packet that somebody watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A refused one.
    Refused(Refused),
    /// A captured one.
    Frame(Frame),
}

/// A refused packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// When, in nanoseconds since 1970.
    pub time: u64,
    /// Why.
    pub reason: Reason,
    /// Index of the interface.
    pub ifindex: u32,
    /// Length of the whole packet in bytes.
    pub length: u32,
    /// What its outer headers say.
    pub headers: Headers,
    /// Its first bytes, without whatever can be a cookie.
    pub bytes: Vec<u8>,
}

/// A captured packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// When, in nanoseconds since 1970.
    pub time: u64,
    /// Id of its session.
    pub session_id: u32,
    /// Whether it was received; otherwise it was sent.
    pub received: bool,
    /// Length of the whole packet, or of the whole inner frame, in bytes.
    pub length: u32,
    /// Its first bytes, without the cookie.
    pub bytes: Vec<u8>,
}

/// What a client did not get, since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// The daemon read too slowly.
    pub ring: u64,
    /// The client read too slowly.
    pub queue: u64,
    /// Refused packets beyond the rate.
    pub limited: u64,
}

/// The way to watch. Clones share everything.
#[derive(Clone)]
pub struct Watch(Arc<Mutex<State>>);

struct State {
    watch: Array<MapData, Shared<abi::Watch>>,
    chosen: Array<MapData, u32>,
    missing: PerCpuArray<MapData, u64>,
    /// Until somebody watches and the reading begins.
    refused: Option<RingBuf<MapData>>,
    frames: Option<RingBuf<MapData>>,
    /// What is in `chosen`; unknown at first.
    written: Option<HashMap<u32, u32>>,
    /// By slot.
    sessions: HashMap<u32, Session>,
    clients: BTreeMap<u64, Client>,
    next: u64,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    id: u32,
    /// Length of the sublayer in bytes.
    sublayer: usize,
    /// In nanoseconds of `CLOCK_MONOTONIC`: what came earlier may have another form.
    settled: u64,
}

struct Client {
    wanted: Wanted,
    sender: mpsc::Sender<Seen>,
    queue_full: u64,
    /// Counts of missing records when it began.
    before: [u64; Missing::COUNT as usize],
}

impl Watch {
    /// Opens the maps of a loaded data plane. Nothing is watched then.
    pub(crate) fn open(pin_dir: &Path) -> Result<Self> {
        let ring = |name| -> Result<RingBuf<MapData>> {
            let mut ring = RingBuf::try_from(Map::RingBuf(map(pin_dir, name)?)).context(name)?;
            // What nobody has read of an earlier daemon's.
            while ring.next().is_some() {}
            Ok(ring)
        };
        let mut watch: Array<_, Shared<abi::Watch>> =
            Array::try_from(Map::Array(map(pin_dir, "WATCH")?))?;
        watch.set(0, Shared(abi::Watch::default()), 0)?;
        Ok(Self(Arc::new(Mutex::new(State {
            watch,
            chosen: Array::try_from(Map::Array(map(pin_dir, "CHOSEN")?))?,
            missing: PerCpuArray::try_from(Map::PerCpuArray(map(pin_dir, "MISSING")?))?,
            refused: Some(ring("REFUSED")?),
            frames: Some(ring("FRAMES")?),
            written: None,
            sessions: HashMap::new(),
            clients: BTreeMap::new(),
            next: 0,
        }))))
    }

    /// Begins to watch, until the result is dropped. To be called where tokio runs.
    ///
    /// # Errors
    ///
    /// When too many watch already, or the kernel refuses.
    pub fn subscribe(&self, wanted: Wanted) -> Result<Subscription> {
        let mut state = self.lock();
        ensure!(
            state.clients.len() < MOST_CLIENTS,
            "{MOST_CLIENTS} clients watch packets already: end one of them"
        );
        if let Some(ring) = state.refused.take() {
            let ring = wait_for(ring).context("cannot wait for refused packets")?;
            tokio::spawn(read(self.clone(), ring, State::refused));
        }
        if let Some(ring) = state.frames.take() {
            let ring = wait_for(ring).context("cannot wait for captured packets")?;
            tokio::spawn(read(self.clone(), ring, State::frame));
        }
        let (sender, receiver) = mpsc::channel(QUEUE);
        let client = Client {
            wanted,
            sender,
            queue_full: 0,
            before: state.missing()?,
        };
        let number = state.next;
        state.next += 1;
        state.clients.insert(number, client);
        let subscription = Subscription {
            watch: self.clone(),
            number,
            receiver,
        };
        let applied = state.apply();
        // Dropping the subscription takes the lock.
        drop(state);
        applied.map(|()| subscription)
    }

    /// Tells a session as it was written to the maps.
    pub(crate) fn know(&self, slot: u32, id: u32, sublayer: usize) -> Result<()> {
        let mut state = self.lock();
        let before = state.sessions.get(&slot).copied();
        if before.is_some_and(|before| before.id == id && before.sublayer == sublayer) {
            return Ok(());
        }
        let settled = monotonic() + SETTLE.as_nanos() as u64;
        let session = Session {
            id,
            sublayer,
            settled: if before.is_some() { settled } else { 0 },
        };
        state.sessions.insert(slot, session);
        state.apply()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who watches.
pub struct Subscription {
    watch: Watch,
    number: u64,
    receiver: mpsc::Receiver<Seen>,
}

impl Subscription {
    /// The next packet.
    pub async fn next(&mut self) -> Seen {
        match self.receiver.recv().await {
            Some(seen) => seen,
            // The sender is there for as long as this is.
            None => std::future::pending().await,
        }
    }

    /// The next packet, if it waits already.
    pub fn waiting(&mut self) -> Option<Seen> {
        self.receiver.try_recv().ok()
    }

    /// What it did not get.
    ///
    /// # Errors
    ///
    /// When the kernel does not say.
    pub fn lost(&self) -> Result<Lost> {
        let state = self.watch.lock();
        let now = state.missing()?;
        let Some(client) = state.clients.get(&self.number) else {
            return Ok(Lost::default());
        };
        let since = |which: Missing| {
            let at = which as usize;
            now[at].saturating_sub(client.before[at])
        };
        let refused = matches!(client.wanted, Wanted::Refused { .. });
        Ok(Lost {
            ring: since(if refused {
                Missing::Refused
            } else {
                Missing::Frame
            }),
            queue: client.queue_full,
            limited: if refused { since(Missing::Limited) } else { 0 },
        })
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut state = self.watch.lock();
        state.clients.remove(&self.number);
        if let Err(error) = state.apply() {
            tracing::warn!(
                error = format!("{error:#}"),
                "the programs go on showing packets that nobody watches any more"
            );
        }
    }
}

impl State {
    /// Tells the programs what is wanted.
    fn apply(&mut self) -> Result<()> {
        let mut watch = abi::Watch::default();
        let mut wanted: HashMap<u32, u32> = HashMap::new();
        for client in self.clients.values() {
            match &client.wanted {
                Wanted::Refused { reasons } => {
                    reasons.iter().for_each(|reason| watch.want(*reason));
                    watch.rate = RATE;
                }
                Wanted::Frames {
                    sessions,
                    received,
                    sent,
                    outer,
                    snaplen,
                } => {
                    let headers = if *outer {
                        0
                    } else {
                        OUTER_MAX as u32 + OPTIONS
                    };
                    let snaplen = snaplen.saturating_add(headers).min(MAX_SNAPLEN);
                    watch.snaplen = watch.snaplen.max(snaplen);
                    let mut bits = 0;
                    if *received {
                        bits |= CAPTURE_RX;
                    }
                    if *sent {
                        bits |= CAPTURE_TX;
                    }
                    for (slot, session) in &self.sessions {
                        if is_one_of(sessions.as_ref(), session.id) {
                            *wanted.entry(*slot).or_default() |= bits;
                        }
                    }
                }
            }
        }
        if watch.snaplen > 0 {
            self.choose(wanted)?;
        }
        self.watch
            .set(0, Shared(watch), 0)
            .context("cannot tell the programs what is watched")
    }

    fn choose(&mut self, wanted: HashMap<u32, u32>) -> Result<()> {
        let before = self.written.take();
        let slots: Vec<u32> = match &before {
            Some(before) => before.keys().chain(wanted.keys()).copied().collect(),
            None => (0..self.chosen.len()).collect(),
        };
        for slot in slots {
            let now = wanted.get(&slot).copied().unwrap_or_default();
            let is_there = before
                .as_ref()
                .is_some_and(|before| before.get(&slot).copied().unwrap_or_default() == now);
            if !is_there {
                self.chosen
                    .set(slot, now, 0)
                    .context("cannot tell the programs which sessions are captured")?;
            }
        }
        self.written = Some(wanted);
        Ok(())
    }

    fn missing(&self) -> Result<[u64; Missing::COUNT as usize]> {
        let mut counts = [0; Missing::COUNT as usize];
        for (at, count) in (0..).zip(&mut counts) {
            let cpus = self
                .missing
                .get(&at, 0)
                .context("cannot read the lost records")?;
            *count = cpus.iter().sum();
        }
        Ok(counts)
    }

    fn refused(&mut self, record: &Record, bytes: &[u8], offset: u64) {
        let Some(reason) = Reason::ALL.get(record.reason as usize).copied() else {
            return;
        };
        let mut bytes = bytes.to_vec();
        let headers = outer::redact_refused(reason, &mut bytes);
        let refused = Refused {
            time: record.time.wrapping_add(offset),
            reason,
            ifindex: record.ifindex,
            length: record.length,
            headers,
            bytes,
        };
        for client in self.clients.values_mut() {
            if let Wanted::Refused { reasons } = &client.wanted
                && reasons.contains(&reason)
            {
                client.give(Seen::Refused(refused.clone()));
            }
        }
    }

    fn frame(&mut self, record: &Record, bytes: &[u8], offset: u64) {
        let Some(session) = self.sessions.get(&record.slot).copied() else {
            return;
        };
        let sublayer = if record.time < session.settled {
            0
        } else {
            session.sublayer
        };
        let start = record.start as usize;
        for client in self.clients.values_mut() {
            let Wanted::Frames {
                sessions,
                received,
                sent,
                outer,
                snaplen,
            } = &client.wanted
            else {
                continue;
            };
            let is_received = record.direction == CAPTURE_RX;
            let is_wanted = if is_received { *received } else { *sent };
            if !is_wanted || !is_one_of(sessions.as_ref(), session.id) {
                continue;
            }
            let (mut packet, length) = if *outer {
                let mut packet = bytes.to_vec();
                outer::redact_captured(&mut packet, start, sublayer);
                (packet, record.length)
            } else {
                let inner = bytes.get(start..).unwrap_or_default();
                (inner.to_vec(), record.length.saturating_sub(record.start))
            };
            packet.truncate(*snaplen as usize);
            client.give(Seen::Frame(Frame {
                time: record.time.wrapping_add(offset),
                session_id: session.id,
                received: is_received,
                length,
                bytes: packet,
            }));
        }
    }
}

impl Client {
    fn give(&mut self, seen: Seen) {
        if self.sender.try_send(seen).is_err() {
            self.queue_full += 1;
        }
    }
}

fn is_one_of(sessions: Option<&HashSet<u32>>, id: u32) -> bool {
    sessions.is_none_or(|sessions| sessions.contains(&id))
}

/// Puts a ring buffer into the event loop of the current runtime.
fn wait_for(ring: RingBuf<MapData>) -> Result<AsyncFd<RingBuf<MapData>>> {
    // SAFETY: the ring buffer owns its file descriptor, and what is done with it below replaces
    // neither; so the descriptor stays open and the same until the event loop has let go of it.
    Ok(unsafe { AsyncFd::register(ring) }.map_err(std::io::Error::from)?)
}

/// Reads a ring buffer for as long as the daemon runs.
async fn read(
    watch: Watch,
    mut ring: AsyncFd<RingBuf<MapData>>,
    hand_on: fn(&mut State, &Record, &[u8], u64),
) {
    loop {
        let Ok(mut ready) = ring.readable_mut().await else {
            return;
        };
        let offset = since_1970().wrapping_sub(monotonic());
        let mut left = BATCH;
        {
            let mut state = watch.lock();
            while left > 0
                && let Some(item) = ready.get_inner_mut().next()
            {
                left -= 1;
                if let Some((record, bytes)) = item.split_at_checked(size_of::<Record>()) {
                    let record: Record = bytemuck::pod_read_unaligned(record);
                    let captured = bytes.len().min(record.captured as usize);
                    hand_on(&mut state, &record, &bytes[..captured], offset);
                }
            }
        }
        if left > 0 {
            ready.clear_ready();
        } else {
            tokio::task::yield_now().await;
        }
    }
}

fn monotonic() -> u64 {
    nanoseconds(rustix::time::ClockId::Monotonic)
}

fn since_1970() -> u64 {
    nanoseconds(rustix::time::ClockId::Realtime)
}

fn nanoseconds(clock: rustix::time::ClockId) -> u64 {
    let now = rustix::time::clock_gettime(clock);
    (now.tv_sec as u64).wrapping_mul(1_000_000_000) + now.tv_nsec as u64
}
