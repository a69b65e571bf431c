//! What the programs show of packets to those who watch: refused ones, and captured ones.

use bytemuck::{Pod, Zeroable};

use super::layout::layout;
use crate::reason::Reason;

/// Room for samples of refused packets, in bytes.
pub const REFUSED_BYTES: u32 = 256 << 10;
/// Room for captured packets, in bytes.
pub const FRAMES_BYTES: u32 = 2 << 20;
/// How much of a refused packet is shown, in bytes.
pub const REFUSED_SNAPLEN: u32 = 128;
/// How much of a packet can be captured at most, in bytes.
pub const MAX_SNAPLEN: u32 = 9216;

/// Value of a session's choice: what it receives is captured.
pub const CAPTURE_RX: u32 = 1;
/// Value of a session's choice: what it sends is captured.
pub const CAPTURE_TX: u32 = 2;

/// What is watched; all zero while nobody does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Watch {
    /// A bit for each number of a reason.
    pub reasons: [u64; 2],
    /// How many refused packets a second each CPU may show.
    pub rate: u32,
    /// How much of a packet is captured, in bytes; 0 for no capture.
    pub snaplen: u32,
}

layout!(Watch {
    reasons,
    rate,
    snaplen,
});

impl Watch {
    /// Whether packets refused for this reason are wanted.
    #[inline(always)]
    #[must_use]
    pub const fn wants(&self, reason: Reason) -> bool {
        let number = reason.number();
        let word = if number < u64::BITS {
            self.reasons[0]
        } else {
            self.reasons[1]
        };
        word >> (number % u64::BITS) & 1 != 0
    }

    /// Asks for a reason.
    pub const fn want(&mut self, reason: Reason) {
        let number = reason.number();
        self.reasons[(number / u64::BITS) as usize] |= 1 << (number % u64::BITS);
    }
}

/// What stands in front of a packet's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Record {
    /// When it was seen, in nanoseconds of `CLOCK_MONOTONIC`.
    pub time: u64,
    /// Length of the whole packet in bytes, from its outer Ethernet header on.
    pub length: u32,
    /// How many of its bytes follow.
    pub captured: u32,
    /// Index of the interface it was seen at.
    pub ifindex: u32,
    /// Of a refused packet: number of the reason.
    pub reason: u32,
    /// Of a captured packet: slot of its session.
    pub slot: u32,
    /// Of a captured packet: where the inner frame starts.
    pub start: u32,
    /// Of a captured packet: [`CAPTURE_RX`] or [`CAPTURE_TX`].
    pub direction: u32,
    /// 0.
    pub reserved: u32,
}

layout!(Record {
    time,
    length,
    captured,
    ifindex,
    reason,
    slot,
    start,
    direction,
    reserved,
});

/// Why a record is missing: position in the map that counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Missing {
    /// A refused packet: the reader was too slow.
    Refused = 0,
    /// A refused packet: there were more than the rate.
    Limited = 1,
    /// A captured packet: the reader was too slow.
    Frame = 2,
}

impl Missing {
    /// How many there are.
    pub const COUNT: u32 = 3;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_wanted_reasons_are_wanted() {
        let mut watch = Watch::default();
        assert!(Reason::ALL.iter().all(|reason| !watch.wants(*reason)));
        for reason in Reason::ALL {
            watch.want(reason);
            assert!(watch.wants(reason));
        }
        let set = watch.reasons.iter().map(|word| word.count_ones()).sum();
        assert_eq!(Reason::COUNT, set);
        const { assert!(crate::abi::MAX_REASONS <= 2 * u64::BITS) };
    }
}
