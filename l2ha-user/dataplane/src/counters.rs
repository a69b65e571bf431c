//! Reading the counters.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context as _, Result};
use l2ha_ebpf::{
    abi::{self, SessionReason},
    reason::Reason,
};
use serde::Serialize;

use crate::{
    object::Object,
    sessions::{BY_SESSION, Sessions, TRAFFIC},
};

/// All counters, since the programs were loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Packets by the name of the reason for which they were refused or passed on; every reason
    /// is there, and [`Reason::text`] explains it.
    pub reasons: BTreeMap<&'static str, u64>,
    /// Traffic by session id.
    pub sessions: BTreeMap<u32, Traffic>,
    /// Those of the reasons that happened to packets whose session is known, by session id.
    pub refused: BTreeMap<u32, BTreeMap<&'static str, u64>>,
}

/// What went through one session. Bytes are those of the inner Ethernet frames without FCS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Frames delivered to the virtual interface.
    pub rx_packets: u64,
    /// Their bytes.
    pub rx_bytes: u64,
    /// Frames sent to the underlay, as they are on the wire.
    pub tx_packets: u64,
    /// Their bytes; headers that segmentation repeats are counted once.
    pub tx_bytes: u64,
}

/// Reads all of them.
pub(crate) fn read(object: &Object, sessions: &Sessions) -> Result<Counters> {
    let map = object.array::<u64>("REASONS")?;
    let mut reasons = BTreeMap::new();
    for reason in Reason::ALL {
        let cpus = map
            .get(&reason.number(), 0)
            .with_context(|| format!("cannot read the counter {}", reason.name()))?;
        reasons.insert(reason.name(), cpus.iter().map(|count| count.0).sum());
    }
    let map = object.array::<abi::Traffic>(TRAFFIC)?;
    let mut traffic = BTreeMap::new();
    for (id, slot) in sessions.slots() {
        let cpus = map
            .get(&slot, 0)
            .with_context(|| format!("cannot read the counters of session {id}"))?;
        let sum = cpus.iter().fold(Traffic::default(), |sum, cpu| Traffic {
            rx_packets: sum.rx_packets + cpu.0.rx_packets,
            rx_bytes: sum.rx_bytes + cpu.0.rx_bytes,
            tx_packets: sum.tx_packets + cpu.0.tx_packets,
            tx_bytes: sum.tx_bytes + cpu.0.tx_bytes,
        });
        traffic.insert(id, sum);
    }
    Ok(Counters {
        reasons,
        sessions: traffic,
        refused: refused(object, sessions)?,
    })
}

fn refused(
    object: &Object,
    sessions: &Sessions,
) -> Result<BTreeMap<u32, BTreeMap<&'static str, u64>>> {
    let ids: HashMap<u32, u32> = sessions.slots().map(|(id, slot)| (slot, id)).collect();
    let map = object.hash::<SessionReason, u64>(BY_SESSION)?;
    let mut refused: BTreeMap<u32, BTreeMap<_, _>> = BTreeMap::new();
    for entry in map.iter() {
        let (key, count) = entry.context("cannot read what sessions have refused")?;
        let (Some(id), Some(reason)) = (ids.get(&key.0.slot()), key.0.reason()) else {
            continue;
        };
        refused
            .entry(*id)
            .or_default()
            .insert(reason.name(), count.0);
    }
    Ok(refused)
}
