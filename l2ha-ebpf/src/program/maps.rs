//! The maps, and counting in them.

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, BPF_NOEXIST},
    macros::map,
    maps::{Array, HashMap, PerCpuArray},
};
use l2ha_ebpf::{
    abi::{
        EndpointKey, MAX_BY_SESSION, MAX_ENDPOINTS, MAX_INTERFACES, MAX_REASONS, MAX_ROWS,
        MAX_SESSIONS, Receive, SessionId, SessionReason, SessionValue, Traffic, Transmit,
    },
    decap::{PacketRefusal, Tables},
    reason::Reason,
};

use super::atomic::fetch_add;

/// Sessions by the id that the peer writes.
#[map]
static SESSIONS: HashMap<SessionId, SessionValue> = HashMap::with_max_entries(MAX_SESSIONS, 0);

/// Sessions once more, by the last bits of their ids. The daemon writes a row while no id is there, and the id last.
/// Of pages that could be mapped, because then a row begins with a cache line.
#[map]
static ROWS: Array<Receive> = Array::with_max_entries(MAX_ROWS, BPF_F_MMAPABLE);

/// Local addresses and ports that are ours.
#[map]
static ENDPOINTS: HashMap<EndpointKey, u32> = HashMap::with_max_entries(MAX_ENDPOINTS, 0);

/// What is written around frames, by the index of either end of the virtual interface.
#[map]
static INTERFACES: HashMap<u32, Transmit> = HashMap::with_max_entries(MAX_INTERFACES, 0);

/// Packets by [`Reason`].
#[map]
static REASONS: PerCpuArray<u64> = PerCpuArray::with_max_entries(MAX_REASONS, 0);

/// Refused packets by session and [`Reason`]. Made as they are needed: few are.
#[map]
static BY_SESSION: HashMap<SessionReason, u64> =
    HashMap::with_max_entries(MAX_BY_SESSION, BPF_F_NO_PREALLOC);

/// Traffic by the session's slot.
#[map]
static TRAFFIC: PerCpuArray<Traffic> = PerCpuArray::with_max_entries(MAX_SESSIONS, 0);

/// The maps as the shared code wants to see them.
pub(crate) struct Maps;

#[inline(always)]
fn session(id: SessionId) -> Option<&'static SessionValue> {
    // SAFETY: the daemon replaces values as a whole; a program may see an entry that is reused
    // for another session while it runs, and then refuses the packet or delivers it rightly.
    unsafe { SESSIONS.get(id) }
}

impl Tables for Maps {
    #[inline(always)]
    fn session(&self, id: SessionId) -> Option<Receive> {
        if let Some(row) = ROWS.get(id.row()).filter(|row| row.id().is(id)) {
            return Some(*row);
        }
        session(id).map(|session| *session.receive())
    }

    #[inline(always)]
    fn previous_cookie(&self, id: SessionId) -> Option<[u8; 8]> {
        session(id).map(SessionValue::previous_cookie)
    }

    #[inline(always)]
    fn is_endpoint(&self, key: &EndpointKey) -> bool {
        ENDPOINTS.get_ptr(key).is_some()
    }

    #[inline(always)]
    fn blame(&self, slot: u32, reason: Reason) {
        blame(slot, reason);
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

/// Takes note of the session whose packet is refused.
#[inline(never)]
pub(crate) fn blame(slot: u32, reason: Reason) {
    let key = SessionReason::new(slot, reason);
    if let Some(counter) = BY_SESSION.get_ptr_mut(key) {
        // SAFETY: an aligned word of the map's own, changed only in single steps.
        unsafe { fetch_add(counter, 1) };
        return;
    }
    if BY_SESSION.insert(key, 1, u64::from(BPF_NOEXIST)).is_err()
        && let Some(counter) = BY_SESSION.get_ptr_mut(key)
    {
        // Another processor was faster.
        // SAFETY: as above.
        unsafe { fetch_add(counter, 1) };
    }
}

/// The refusal of a session's packet.
#[inline(always)]
pub(crate) fn refused(slot: u32, reason: Reason) -> PacketRefusal {
    blame(slot, reason);
    PacketRefusal::Drop(reason)
}

/// Counts a packet of a session that is delivered, or sent, all the same.
#[inline(always)]
pub(crate) fn count_of(slot: u32, reason: Reason) {
    count(reason);
    blame(slot, reason);
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
