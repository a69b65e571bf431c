//! The maps, and counting in them.

use aya_ebpf::{
    macros::map,
    maps::{HashMap, PerCpuArray},
};
use l2ha_ebpf::{
    abi::{
        EndpointKey, MAX_ENDPOINTS, MAX_INTERFACES, MAX_REASONS, MAX_SESSIONS, Receive, SessionId,
        Traffic, Transmit,
    },
    inspect::Tables,
    reason::Reason,
};

/// Sessions by the id that the peer writes.
#[map]
static SESSIONS: HashMap<SessionId, Receive> = HashMap::with_max_entries(MAX_SESSIONS, 0);

/// Local addresses and ports that are ours.
#[map]
static ENDPOINTS: HashMap<EndpointKey, u32> = HashMap::with_max_entries(MAX_ENDPOINTS, 0);

/// What is written around frames, by the index of either end of the virtual interface.
#[map]
static INTERFACES: HashMap<u32, Transmit> = HashMap::with_max_entries(MAX_INTERFACES, 0);

/// Packets by [`Reason`].
#[map]
static REASONS: PerCpuArray<u64> = PerCpuArray::with_max_entries(MAX_REASONS, 0);

/// Traffic by the session's slot.
#[map]
static TRAFFIC: PerCpuArray<Traffic> = PerCpuArray::with_max_entries(MAX_SESSIONS, 0);

/// The maps as the shared code wants to see them.
pub(crate) struct Maps;

impl Tables for Maps {
    #[inline(always)]
    fn session(&self, id: SessionId) -> Option<&Receive> {
        // SAFETY: the daemon replaces values as a whole; a program may see an entry that is reused
        // for another session while it runs, and then refuses the packet or delivers it rightly.
        unsafe { SESSIONS.get(id) }
    }

    #[inline(always)]
    fn is_endpoint(&self, key: &EndpointKey) -> bool {
        ENDPOINTS.get_ptr(key).is_some()
    }
}

/// The session of a virtual interface, by the index of one of its ends.
#[inline(always)]
pub(crate) fn transmit(ifindex: u32) -> Option<&'static Transmit> {
    // SAFETY: as in `session`.
    unsafe { INTERFACES.get(ifindex) }
}

/// Counts a packet under a reason.
#[inline(always)]
pub(crate) fn count(reason: Reason) {
    if let Some(counter) = REASONS.get_ptr_mut(reason.number()) {
        // SAFETY: the slot is this CPU's own, and programs of this kind do not interrupt each
        // other on a CPU while it is written.
        unsafe { *counter += 1 };
    }
}

/// Counts a frame that is delivered.
#[inline(always)]
pub(crate) fn count_received(slot: u32, packets: u64, bytes: u64) {
    if let Some(traffic) = TRAFFIC.get_ptr_mut(slot) {
        // SAFETY: as in `count`.
        unsafe {
            (*traffic).rx_packets += packets;
            (*traffic).rx_bytes += bytes;
        }
    }
}

/// Counts frames that are sent.
#[inline(always)]
pub(crate) fn count_sent(slot: u32, packets: u64, bytes: u64) {
    if let Some(traffic) = TRAFFIC.get_ptr_mut(slot) {
        // SAFETY: as in `count`.
        unsafe {
            (*traffic).tx_packets += packets;
            (*traffic).tx_bytes += bytes;
        }
    }
}
