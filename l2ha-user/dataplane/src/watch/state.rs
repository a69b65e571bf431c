//! Who watches what: told to the programs, and each record handed to those who want it.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::{Context as _, Result};
use aya::maps::{Array, MapData, PerCpuArray, RingBuf};
use l2ha_ebpf::{
    abi::{self, CAPTURE_RX, CAPTURE_TX, MAX_SNAPLEN, Missing, Record},
    outer::OUTER_MAX,
    reason::Reason,
};
use tokio::sync::mpsc;

use super::{
    outer,
    types::{Frame, Refused, Seen, Wanted},
};
use crate::object::Shared;

/// How many refused packets a second each CPU shows.
pub const RATE: u32 = 100;
/// What outer headers with IP options are longer than those without, in bytes.
const OPTIONS: u32 = 40;

pub(super) struct State {
    pub(super) watch: Array<MapData, Shared<abi::Watch>>,
    pub(super) chosen: Array<MapData, u32>,
    pub(super) missing: PerCpuArray<MapData, u64>,
    /// Until there is a client and the reading begins.
    pub(super) refused: Option<RingBuf<MapData>>,
    pub(super) frames: Option<RingBuf<MapData>>,
    /// What is in `chosen`; unknown at first.
    pub(super) written: Option<HashMap<u32, u32>>,
    /// By slot.
    pub(super) sessions: HashMap<u32, Session>,
    pub(super) clients: BTreeMap<u64, Client>,
    pub(super) next: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Session {
    pub(super) id: u32,
    /// Length of the sublayer in bytes.
    pub(super) sublayer: usize,
    /// In nanoseconds of `CLOCK_MONOTONIC`: what came earlier may have another form.
    pub(super) settled: u64,
}

pub(super) struct Client {
    pub(super) wanted: Wanted,
    pub(super) sender: mpsc::Sender<Seen>,
    pub(super) queue_full: u64,
    /// Counts of missing records when it began.
    pub(super) before: [u64; Missing::COUNT as usize],
}

impl State {
    /// Tells the programs what is wanted.
    pub(super) fn apply(&mut self) -> Result<()> {
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

    pub(super) fn missing(&self) -> Result<[u64; Missing::COUNT as usize]> {
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

    pub(super) fn refused(&mut self, record: &Record, bytes: &[u8], offset: u64) {
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

    pub(super) fn frame(&mut self, record: &Record, bytes: &[u8], offset: u64) {
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
