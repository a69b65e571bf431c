//! Sequence numbers of data packets (RFC 3931 4.6), and what is accepted of them.
//!
//! The peer's numbers are 24 bits long and begin with 0. Whatever is ahead of what is expected is
//! accepted, and the gap counted as lost; whatever is behind is dropped, because order is what the
//! numbers are for. Nothing is held back to wait for what is missing, as in Linux without
//! `reorder_timeout`; but Linux drops what follows a gap as well, until six packets have come in a
//! row.

use bytemuck::{Pod, Zeroable};

/// The bits of a number.
const MASK: u32 = 0x00ff_ffff;
/// Numbers less than this ahead are new, all others old: half of all, as in RFC 1982.
const WINDOW: u32 = 1 << 23;
/// The S bit: there is a number (RFC 3931 4.6).
const PRESENT: u32 = 0x4000_0000;
/// So many old packets in a row, each the successor of the one before, are a peer that has started
/// anew (`nr_oos_count_max` of Linux, net/l2tp/l2tp_core.c).
const RESTART_AFTER: u64 = 5;

/// The number in an L2-specific sublayer, if it has one.
#[inline(always)]
#[must_use]
pub const fn read(sublayer: [u8; 4]) -> Option<u32> {
    let word = u32::from_be_bytes(sublayer);
    if word & PRESENT == 0 {
        return None;
    }
    Some(word & MASK)
}

/// The L2-specific sublayer with the lowest 24 bits of a number.
#[inline(always)]
#[must_use]
pub const fn write(number: u64) -> [u8; 4] {
    (PRESENT | number as u32 & MASK).to_be_bytes()
}

/// What of the peer's numbers is known, in one word, so that it changes in one step: bit 63 that
/// anything is; bits 0 to 23 the number expected next; bits 24 to 47 the last old number, and bits
/// 48 to 55 how many of its kind came in a row before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct Expectation(u64);

const KNOWN: u64 = 1 << 63;
const STRAY_SHIFT: u32 = 24;
const RUN_SHIFT: u32 = 48;

/// What a packet's number says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The one expected, or the first of all.
    InOrder,
    /// So many are missing before it.
    Gap(u32),
    /// The peer has started anew.
    Restarted,
    /// Late, or there already: to be dropped.
    Old,
}

impl Expectation {
    /// From the word.
    #[inline(always)]
    #[must_use]
    pub const fn new(word: u64) -> Self {
        Self(word)
    }

    /// The word.
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u64 {
        self.0
    }

    #[inline(always)]
    const fn after(number: u32) -> Self {
        Self(KNOWN | (number.wrapping_add(1) & MASK) as u64)
    }

    /// Takes a packet's number into account.
    #[inline(always)]
    #[must_use]
    pub const fn judge(self, number: u32) -> (Self, Arrival) {
        if self.0 & KNOWN == 0 {
            return (Self::after(number), Arrival::InOrder);
        }
        let expected = self.0 as u32 & MASK;
        let ahead = number.wrapping_sub(expected) & MASK;
        if ahead == 0 {
            return (Self::after(number), Arrival::InOrder);
        }
        if ahead < WINDOW {
            return (Self::after(number), Arrival::Gap(ahead));
        }
        let stray = (self.0 >> STRAY_SHIFT) as u32 & MASK;
        let run = self.0 >> RUN_SHIFT & 0xff;
        let run = if number == stray.wrapping_add(1) & MASK {
            run + 1
        } else {
            0
        };
        if run >= RESTART_AFTER {
            return (Self::after(number), Arrival::Restarted);
        }
        let state = KNOWN | expected as u64 | (number as u64) << STRAY_SHIFT | run << RUN_SHIFT;
        (Self(state), Arrival::Old)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of these numbers, one after the other.
    fn arrivals(state: &mut Expectation, numbers: &[u32]) -> [Option<Arrival>; 8] {
        let mut all = [None; 8];
        for (number, arrival) in numbers.iter().zip(&mut all) {
            let (next, what) = state.judge(*number);
            *state = next;
            *arrival = Some(what);
        }
        all
    }

    fn check(state: &mut Expectation, numbers: &[u32], wanted: &[Arrival]) {
        let all = arrivals(state, numbers);
        for (got, wanted) in all.iter().zip(wanted) {
            assert_eq!(*got, Some(*wanted), "{numbers:?}");
        }
        assert_eq!(numbers.len(), wanted.len());
    }

    use Arrival::{Gap, InOrder, Old, Restarted};

    #[test]
    fn the_sublayer_is_as_a_kernel_peer_writes_it() {
        assert_eq!(write(0), [0x40, 0, 0, 0]);
        assert_eq!(write(0x0123_4567), [0x40, 0x23, 0x45, 0x67]);
        assert_eq!(read([0x40, 0, 1, 2]), Some(0x102));
        assert_eq!(read([0xff, 0xff, 0xff, 0xff]), Some(MASK));
        assert_eq!(read([0xbf, 1, 1, 1]), None);
    }

    #[test]
    fn what_is_ahead_is_new_and_what_is_behind_is_old() {
        let mut state = Expectation::default();
        check(
            &mut state,
            &[7, 8, 8, 10, 9, 11],
            &[InOrder, InOrder, Old, Gap(1), Old, InOrder],
        );
        check(&mut state, &[12 + WINDOW], &[Old]);
        check(&mut state, &[11 + WINDOW], &[Gap(WINDOW - 1)]);
    }

    #[test]
    fn numbers_go_round() {
        let mut state = Expectation::default();
        check(
            &mut state,
            &[MASK - 1, MASK, 0, MASK, 2],
            &[InOrder, InOrder, InOrder, Old, Gap(1)],
        );
    }

    #[test]
    fn a_peer_that_starts_anew_is_believed_at_its_sixth_packet() {
        let mut state = Expectation::default();
        check(&mut state, &[1000], &[InOrder]);
        check(
            &mut state,
            &[5, 6, 7, 8, 9, 10, 11],
            &[Old, Old, Old, Old, Old, Restarted, InOrder],
        );
        // Strays that do not follow one another, or that a good packet interrupts, are no start.
        check(&mut state, &[12], &[InOrder]);
        check(&mut state, &[1, 2, 3, 5, 6, 7], &[Old; 6]);
        check(&mut state, &[13], &[InOrder]);
        check(&mut state, &[8, 9, 10, 11], &[Old; 4]);
    }
}
