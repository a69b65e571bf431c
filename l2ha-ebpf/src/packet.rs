//! The one place where bytes of a packet are read.

use core::marker::PhantomData;

use bytemuck::Pod;

/// The readable start of a frame, and how long the whole frame is.
///
/// A program may be able to read fewer bytes than the frame has (a non-linear skb).
#[derive(Clone, Copy)]
pub struct Packet<'a> {
    start: usize,
    end: usize,
    length: usize,
    bytes: PhantomData<&'a [u8]>,
}

impl<'a> Packet<'a> {
    /// A frame that can be read as a whole.
    #[must_use]
    pub fn of(bytes: &'a [u8]) -> Self {
        let start = bytes.as_ptr().expose_provenance();
        Self {
            start,
            end: start + bytes.len(),
            length: bytes.len(),
            bytes: PhantomData,
        }
    }

    /// A frame of `length` bytes, of which those from address `start` to before `end` can be read.
    ///
    /// # Safety
    ///
    /// Those bytes must be readable for the lifetime of the result; the programs pass the context's
    /// `data` and `data_end`, and the verifier proves every access below.
    #[inline(always)]
    #[must_use]
    pub const unsafe fn new(start: usize, end: usize, length: usize) -> Self {
        Self {
            start,
            end,
            length,
            bytes: PhantomData,
        }
    }

    /// Length of the whole frame in bytes.
    #[inline(always)]
    #[must_use]
    pub const fn length(&self) -> usize {
        self.length
    }

    /// The view `T` laid over the frame at `offset`, or `None` where it ends too early.
    #[inline(always)]
    #[must_use]
    pub fn read<T: Pod>(&self, offset: usize) -> Option<&'a T> {
        const { assert!(align_of::<T>() == 1, "views lie at any address") };
        let start = self.start + offset;
        if start + size_of::<T>() > self.end {
            return None;
        }
        // SAFETY: the bytes from `start` on are readable (checked above, and the contract of
        // `new`), T has alignment 1 and takes any bit pattern.
        Some(unsafe { &*core::ptr::with_exposed_provenance::<T>(start) })
    }
}
