//! Changing a word of a map in one step.
//!
//! The instructions (`BPF_ATOMIC`, RFC 9669 5.3; since Linux 5.12) are written out, because the
//! compiler has them only together with all else of its newer instruction set, and what it makes then
//! reads registers that were never written.

use core::arch::asm;

/// Adds to a word in one step, and returns what was there: `BPF_ADD | BPF_FETCH`.
///
/// # Safety
///
/// `word` is aligned, and may be changed.
#[inline(always)]
pub(crate) unsafe fn fetch_add(word: *mut u64, number: u64) -> u64 {
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

/// Replaces a word in one step if it is still `old`, and returns what was there: `BPF_CMPXCHG |
/// BPF_FETCH`.
///
/// # Safety
///
/// As of [`fetch_add`].
#[inline(always)]
pub(crate) unsafe fn compare_exchange(word: *mut u64, old: u64, new: u64) -> u64 {
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
