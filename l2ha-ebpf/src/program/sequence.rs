//! Numbering what is sent and judging the numbers of what is received, in the sessions that want it.

use core::arch::asm;

use aya_ebpf::{macros::map, maps::Array, programs::TcContext};
use l2ha_ebpf::{
    abi::{MAX_SESSIONS, Numbers, Transmit},
    inspect::{Delivery, Refusal, Sequence},
    reason::Reason,
    sequence::{Arrival, Expectation, write},
    wire::SUBLAYER,
};

use super::{maps::count, skb::Skb as _};

/// The numbers of each session, by slot.
#[map]
static NUMBERS: Array<Numbers> = Array::with_max_entries(MAX_SESSIONS, 0);

/// How often a number is judged again because another processor was faster.
const TRIES: usize = 2;

/// Writes the next number into a packet that is certain to be sent: none is left out.
#[inline(always)]
pub(crate) fn number(ctx: &TcContext, session: &Transmit) -> Result<(), ()> {
    let numbers = NUMBERS.get_ptr_mut(session.slot()).ok_or(())?;
    // SAFETY: an aligned word of the map's own, changed only in single steps.
    let number = unsafe { fetch_add(&raw mut (*numbers).next, 1) };
    ctx.write_at(session.outer_length() - SUBLAYER as u32, &write(number))
}

/// Whether a frame's number lets it be delivered.
#[inline(always)]
pub(crate) fn check(delivery: &Delivery) -> Result<(), Refusal> {
    let number = match delivery.sequence {
        Sequence::Unchecked => return Ok(()),
        Sequence::Missing => return Err(Refusal::Drop(Reason::SequenceMissing)),
        Sequence::Number(number) => number,
    };
    let Some(numbers) = NUMBERS.get_ptr_mut(delivery.slot) else {
        return Ok(());
    };
    for _ in 0..TRIES {
        // SAFETY: as in `number`.
        let (arrival, done) = unsafe {
            let expected = &raw mut (*numbers).expected;
            let word = expected.read_volatile();
            let (state, arrival) = Expectation::new(word).judge(number);
            let there = compare_exchange(expected, word, state.word());
            (arrival, there == word)
        };
        if !done {
            continue;
        }
        match arrival {
            Arrival::InOrder => {}
            Arrival::Gap(_) => count(Reason::SequenceGap),
            Arrival::Restarted => count(Reason::SequenceRestarted),
            Arrival::Old => return Err(Refusal::Drop(Reason::SequenceOld)),
        }
        return Ok(());
    }
    // The others were always faster, so this one is late.
    Err(Refusal::Drop(Reason::SequenceOld))
}

/// Adds to a word in one step, and returns what was there.
///
/// The instruction, `BPF_ATOMIC` with `BPF_ADD | BPF_FETCH` (RFC 9669 5.3; since Linux 5.12), is
/// written out, because the compiler has it only together with all else of its newer instruction
/// set, and what it makes then reads registers that were never written.
///
/// # Safety
///
/// `word` is aligned, and may be changed.
#[inline(always)]
unsafe fn fetch_add(word: *mut u64, number: u64) -> u64 {
    let mut value = number;
    // SAFETY: dst r1, src r2, offset 0: r2 becomes what was there; nothing else is changed.
    unsafe {
        asm!(
            ".byte 0xdb, 0x21, 0, 0, 0x01, 0, 0, 0",
            in("r1") word,
            inout("r2") value,
            options(nostack)
        );
    }
    value
}

/// Replaces a word in one step if it is still `old`, and returns what was there. As in [`fetch_add`],
/// `BPF_CMPXCHG | BPF_FETCH`.
///
/// # Safety
///
/// As there.
#[inline(always)]
unsafe fn compare_exchange(word: *mut u64, old: u64, new: u64) -> u64 {
    let mut there = old;
    // SAFETY: dst r1, src r2, offset 0: r0 is compared, and becomes what was there.
    unsafe {
        asm!(
            ".byte 0xdb, 0x21, 0, 0, 0xf1, 0, 0, 0",
            in("r1") word,
            in("r2") new,
            inout("r0") there,
            options(nostack)
        );
    }
    there
}
