//! The moments in which fragments begin to be put together here: what the kernel had begun with before is whole only
//! there, what comes later is whole here and there.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::{Duration, Instant},
};

/// How long what came before may still be on its way through the kernel's sockets: a socket's queue, and a daemon that
/// has been paused.
const LASTS: Duration = Duration::from_secs(2);
/// Frames that are remembered; more than the limit of their rate lets through meanwhile.
const MOST: usize = 4096;

/// Who has put a frame together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Kernel,
    Us,
}

/// Frames that were put together since it began, by both.
#[derive(Debug)]
pub(super) struct Handover {
    since: Instant,
    /// By a hash of the interface and the frame: how often by the kernel, and by us.
    frames: HashMap<u64, [u32; 2]>,
}

impl Handover {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            frames: HashMap::new(),
        }
    }

    /// Whether it is over: from then on what the kernel puts together is the same once more.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        now >= self.since + LASTS
    }

    /// Whether this frame, into the interface of this index, is the first of the two.
    pub(super) fn is_first(&mut self, by: By, ifindex: u32, frame: &[u8]) -> bool {
        let mut hasher = DefaultHasher::new();
        (ifindex, frame).hash(&mut hasher);
        let key = hasher.finish();
        if self.frames.len() >= MOST && !self.frames.contains_key(&key) {
            return by == By::Us;
        }
        // The same frame may come several times; then each of them is whole twice.
        let [kernel, us] = self.frames.entry(key).or_default();
        let (own, other) = match by {
            By::Kernel => (kernel, us),
            By::Us => (us, kernel),
        };
        *own += 1;
        *own > *other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_frame_is_delivered_once_whoever_is_first() {
        let now = Instant::now();
        let mut handover = Handover::new(now);
        // Begun before: whole at the kernel alone.
        assert!(handover.is_first(By::Kernel, 3, b"before"));
        // Later ones, in either order.
        assert!(handover.is_first(By::Us, 3, b"one"));
        assert!(handover.is_first(By::Kernel, 3, b"two"));
        assert!(!handover.is_first(By::Kernel, 3, b"one"));
        assert!(!handover.is_first(By::Us, 3, b"two"));
        // The same frame again, and into another interface.
        assert!(handover.is_first(By::Us, 3, b"one"));
        assert!(handover.is_first(By::Us, 3, b"one"));
        assert!(!handover.is_first(By::Kernel, 3, b"one"));
        assert!(!handover.is_first(By::Kernel, 3, b"one"));
        assert!(handover.is_first(By::Kernel, 4, b"one"));
        assert!(!handover.is_over(now + LASTS / 2));
        assert!(handover.is_over(now + LASTS));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut handover = Handover::new(Instant::now());
        for number in 0..2 * MOST {
            handover.is_first(By::Us, 3, &number.to_be_bytes());
        }
        assert_eq!(handover.frames.len(), MOST);
        // Beyond that it is as if it were over.
        assert!(handover.is_first(By::Us, 3, b"more"));
        assert!(!handover.is_first(By::Kernel, 3, b"more"));
    }
}
