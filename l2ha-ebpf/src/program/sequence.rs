//! Numbering what is sent and judging the numbers of what is received, in the sessions that want it.

use aya_ebpf::{macros::map, maps::Array, programs::TcContext};
use l2ha_ebpf::{
    abi::{MAX_SESSIONS, Numbers, Transmit},
    decap::{Delivery, PacketRefusal, Sequence},
    reason::Reason,
    sequence::{Arrival, Expectation, write},
    wire::SUBLAYER,
};

use super::{
    atomic::{compare_exchange, fetch_add},
    maps::{count_of, refused},
    skb::Skb as _,
};

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
pub(crate) fn check(delivery: &Delivery) -> Result<(), PacketRefusal> {
    let wrong = |reason| refused(delivery.slot, reason);
    let number = match delivery.sequence {
        Sequence::Unchecked => return Ok(()),
        Sequence::Missing => return Err(wrong(Reason::SequenceMissing)),
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
            Arrival::Gap(_) => count_of(delivery.slot, Reason::SequenceGap),
            Arrival::Restarted => count_of(delivery.slot, Reason::SequenceRestarted),
            Arrival::Old => return Err(wrong(Reason::SequenceOld)),
        }
        return Ok(());
    }
    // The others were always faster, so this one is late.
    Err(wrong(Reason::SequenceOld))
}
