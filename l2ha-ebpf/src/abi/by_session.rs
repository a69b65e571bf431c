//! Refused packets by session.

use bytemuck::{Pod, Zeroable};

use super::layout::layout;
use crate::reason::Reason;

/// Most pairs of a session and a reason that are counted; the reasons of the whole node are counted
/// in any case.
pub const MAX_BY_SESSION: u32 = 65536;

/// Key of the counters of refused packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct SessionReason {
    slot: u32,
    reason: u32,
}

layout!(SessionReason { slot, reason });

impl SessionReason {
    /// Of the session in this slot.
    #[inline(always)]
    #[must_use]
    pub const fn new(slot: u32, reason: Reason) -> Self {
        Self {
            slot,
            reason: reason.number(),
        }
    }

    /// The session's slot.
    #[must_use]
    pub const fn slot(&self) -> u32 {
        self.slot
    }

    /// The reason; `None` for one of a later version.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        Reason::ALL.get(self.reason as usize).copied()
    }
}
