//! Showing packets to those who watch. While nobody does, this costs a load from an array.

use core::arch::asm;

use aya_ebpf::{
    EbpfContext as _,
    helpers::{bpf_ktime_get_ns, bpf_skb_load_bytes, bpf_xdp_load_bytes},
    macros::map,
    maps::{Array, PerCpuArray, RingBuf},
    programs::{TcContext, XdpContext},
};
use l2ha_ebpf::{
    abi::{
        CAPTURE_RX, CAPTURE_TX, FRAMES_BYTES, MAX_SESSIONS, MAX_SNAPLEN, Missing, REFUSED_BYTES,
        REFUSED_SNAPLEN, Record, Watch,
    },
    decap::Delivery,
    reason::Reason,
    wire::ETHERNET,
};

use super::skb::Skb as _;

/// What is watched.
#[map]
static WATCH: Array<Watch> = Array::with_max_entries(1, 0);

/// Which sessions' packets are captured, by slot.
#[map]
static CHOSEN: Array<u32> = Array::with_max_entries(MAX_SESSIONS, 0);

/// Samples of refused packets.
#[map]
static REFUSED: RingBuf = RingBuf::with_byte_size(REFUSED_BYTES, 0);

/// Captured packets.
#[map]
static FRAMES: RingBuf = RingBuf::with_byte_size(FRAMES_BYTES, 0);

/// Records that could not be written, by [`Missing`].
#[map]
static MISSING: PerCpuArray<u64> = PerCpuArray::with_max_entries(Missing::COUNT, 0);

/// Where a record is put together.
#[map]
static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// What is left of a second's samples.
#[map]
static BUDGET: PerCpuArray<Budget> = PerCpuArray::with_max_entries(1, 0);

#[repr(C)]
struct Scratch {
    record: Record,
    bytes: [u8; ROOM as usize],
}

/// A power of two, so that the verifier sees by a mask that a length fits.
const ROOM: u32 = 16384;
const _: () = assert!(MAX_SNAPLEN <= ROOM && ROOM - 1 == 0x3fff);

#[repr(C)]
struct Budget {
    /// When the second began, in nanoseconds.
    since: u64,
    spent: u64,
}

const SECOND: u64 = 1_000_000_000;

/// A packet in either kind of program.
pub(crate) trait Seen {
    /// Length in bytes.
    fn bytes(&self) -> u32;
    /// Index of the interface.
    fn interface(&self) -> u32;
    /// Copies the first bytes.
    ///
    /// # Safety
    ///
    /// `to` must have room for `length` bytes.
    unsafe fn copy(&self, to: *mut u8, length: u32) -> bool;
}

impl Seen for XdpContext {
    #[inline(always)]
    fn bytes(&self) -> u32 {
        (self.data_end() - self.data()) as u32
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        self.ingress_ifindex() as u32
    }

    #[inline(always)]
    unsafe fn copy(&self, to: *mut u8, length: u32) -> bool {
        // SAFETY: the contract.
        unsafe { bpf_xdp_load_bytes(self.as_ptr().cast(), 0, to.cast(), length) == 0 }
    }
}

impl Seen for TcContext {
    #[inline(always)]
    fn bytes(&self) -> u32 {
        self.len()
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        self.ifindex()
    }

    #[inline(always)]
    unsafe fn copy(&self, to: *mut u8, length: u32) -> bool {
        // SAFETY: the contract.
        unsafe { bpf_skb_load_bytes(self.as_ptr(), 0, to.cast(), length) == 0 }
    }
}

/// Shows a packet that is refused, or passed on although it is ours.
#[inline(always)]
pub(crate) fn refused(seen: &impl Seen, reason: Reason) {
    let Some(watch) = WATCH.get(0) else { return };
    if !watch.wants(reason) {
        return;
    }
    if !is_in_budget(watch.rate) {
        missing(Missing::Limited);
        return;
    }
    let record = Record {
        length: seen.bytes(),
        ifindex: seen.interface(),
        reason: reason.number(),
        ..EMPTY
    };
    show(seen, &REFUSED, record, REFUSED_SNAPLEN, Missing::Refused);
}

/// Shows a packet whose frame will be delivered, while it is whole.
#[inline(always)]
pub(crate) fn received(seen: &impl Seen, delivery: &Delivery) {
    let Some(snaplen) = wanted(delivery.slot, CAPTURE_RX) else {
        return;
    };
    let record = Record {
        length: delivery.end as u32,
        ifindex: seen.interface(),
        slot: delivery.slot,
        start: delivery.start as u32,
        direction: CAPTURE_RX,
        ..EMPTY
    };
    show(seen, &FRAMES, record, snaplen, Missing::Frame);
}

/// Shows a packet that is sent, with its outer headers; `start` is their length.
#[inline(always)]
pub(crate) fn sent(seen: &impl Seen, slot: u32, start: u32) {
    let Some(snaplen) = wanted(slot, CAPTURE_TX) else {
        return;
    };
    let record = Record {
        length: seen.bytes(),
        ifindex: seen.interface(),
        slot,
        start,
        direction: CAPTURE_TX,
        ..EMPTY
    };
    show(seen, &FRAMES, record, snaplen, Missing::Frame);
}

const EMPTY: Record = Record {
    time: 0,
    length: 0,
    captured: 0,
    ifindex: 0,
    reason: 0,
    slot: 0,
    start: 0,
    direction: 0,
    reserved: 0,
};

/// How much of a session's packets is captured in this direction, if anything.
#[inline(always)]
fn wanted(slot: u32, direction: u32) -> Option<u32> {
    let snaplen = WATCH.get(0)?.snaplen;
    if snaplen == 0 || CHOSEN.get(slot)? & direction == 0 {
        return None;
    }
    Some(snaplen)
}

/// Whether this CPU may show one more refused packet in this second.
#[inline(always)]
fn is_in_budget(rate: u32) -> bool {
    let Some(budget) = BUDGET.get_ptr_mut(0) else {
        return false;
    };
    // SAFETY: takes nothing.
    let now = unsafe { bpf_ktime_get_ns() };
    // SAFETY: the value is this CPU's own, and programs of this kind do not interrupt each other on
    // a CPU while it is written.
    let budget = unsafe { &mut *budget };
    if now.wrapping_sub(budget.since) >= SECOND {
        budget.since = now;
        budget.spent = 0;
    }
    if budget.spent >= u64::from(rate) {
        return false;
    }
    budget.spent += 1;
    true
}

#[inline(always)]
fn show(seen: &impl Seen, ring: &RingBuf, record: Record, snaplen: u32, missed: Missing) {
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else {
        return;
    };
    let mut length = record.length;
    if length > snaplen {
        length = snaplen;
    }
    if length > MAX_SNAPLEN {
        length = MAX_SNAPLEN;
    }
    if length < ETHERNET as u32 {
        missing(missed);
        return;
    }
    let length = bounded(length);
    // SAFETY: the value is this CPU's own, as in `is_in_budget`; `length` is at most the room there
    // is (checked above).
    let written = unsafe {
        (*scratch).record = Record {
            time: bpf_ktime_get_ns(),
            captured: length,
            ..record
        };
        if seen.copy((&raw mut (*scratch).bytes).cast(), length) {
            let all = core::slice::from_raw_parts(
                scratch.cast::<u8>().cast_const(),
                size_of::<Record>() + length as usize,
            );
            ring.output::<[u8]>(all, 0).is_ok()
        } else {
            false
        }
    };
    if !written {
        missing(missed);
    }
}

/// The same length, 1 to ROOM. Before Linux 6.4 the verifier does not learn that from comparisons; and
/// the compiler, which does, would leave a mask out that it could see.
#[inline(always)]
fn bounded(length: u32) -> u32 {
    let mut last = u64::from(length - 1);
    // SAFETY: `r1 &= ROOM - 1` (RFC 9669 4.1), written out in bytes.
    unsafe {
        asm!(".byte 0x57, 0x01, 0, 0, 0xff, 0x3f, 0, 0", inout("r1") last, options(nomem, nostack))
    };
    last as u32 + 1
}

#[inline(always)]
fn missing(which: Missing) {
    if let Some(counter) = MISSING.get_ptr_mut(which as u32) {
        // SAFETY: as in `is_in_budget`.
        unsafe { *counter += 1 };
    }
}
