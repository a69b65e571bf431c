//! Watching packets: samples of refused ones and captures, from the programs to the clients.
//!
//! One task reads each ring buffer and hands records on to the queues of those who want them. The
//! programs write records only while there is one.

mod outer;
mod state;
mod types;

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use aya::maps::{Array, Map, MapData, PerCpuArray, RingBuf};
use l2ha_ebpf::abi::{self, Missing, Record};
use tokio::{io::unix::AsyncFd, sync::mpsc};

use self::state::{Client, Session, State};
pub use self::{
    outer::Headers,
    state::RATE,
    types::{Frame, Lost, Refused, Seen, Wanted},
};
use crate::{detours::map, object::Shared};

/// How many can watch at once.
const MOST_CLIENTS: usize = 16;
/// How many records wait for a client; it loses what does not fit.
const QUEUE: usize = 4096;
/// How many records are read at a stretch, before other tasks run.
const BATCH: usize = 256;
/// How long packets of a session's former form may still be on their way to the reader.
const SETTLE: Duration = Duration::from_millis(500);

/// The way to watch. Clones share everything.
#[derive(Clone)]
pub struct Watch(Arc<Mutex<State>>);

impl Watch {
    /// Opens the maps of a loaded data plane. Nothing is watched then.
    pub(crate) fn open(pin_dir: &Path) -> Result<Self> {
        let ring = |name| -> Result<RingBuf<MapData>> {
            let mut ring = RingBuf::try_from(Map::RingBuf(map(pin_dir, name)?)).context(name)?;
            // Records that an earlier daemon has not read.
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

/// A client's subscription.
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
                "the programs go on showing packets that are not watched any more"
            );
        }
    }
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
