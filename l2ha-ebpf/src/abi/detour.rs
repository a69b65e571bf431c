//! Where frames go while their session is silent, until the daemon has computed new routes.

use core::net::IpAddr;

use bytemuck::{Pod, Zeroable};

use super::{Address, layout::layout};

/// How many destinations can have a detour, over all sessions.
pub const MAX_DETOURS: u32 = 65536;
/// Bits of a [`DetourKey`] before the destination's.
const SLOT_BITS: u32 = 32;

/// Key of the detours: the session that is silent, and the longest match for the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Pod, Zeroable)]
#[repr(C)]
pub struct DetourKey {
    slot: [u8; 4],
    destination: Address,
}

layout!(DetourKey { slot, destination });

impl DetourKey {
    /// The key for a session's slot and a destination.
    #[inline(always)]
    #[must_use]
    pub const fn new(slot: u32, destination: Address) -> Self {
        Self {
            slot: slot.to_be_bytes(),
            destination,
        }
    }

    /// How many bits of the key count for a prefix of this length.
    #[inline(always)]
    #[must_use]
    pub const fn bits(v6: bool, prefix_length: u8) -> u32 {
        SLOT_BITS + Address::bits(v6, prefix_length)
    }
}

/// Value of the detours: the next hop to take instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Detour {
    gateway: Address,
    visible_ifindex: u32,
    slot: u32,
}

layout!(Detour {
    gateway,
    visible_ifindex,
    slot,
});

impl Detour {
    /// Through a neighbour's address on the visible end of a virtual interface, whose session has this
    /// slot. IPv4 can have a neighbour of IPv6.
    #[must_use]
    pub fn new(gateway: IpAddr, visible_ifindex: u32, slot: u32) -> Self {
        Self {
            gateway: gateway.into(),
            visible_ifindex,
            slot,
        }
    }

    /// The neighbour's address.
    #[inline(always)]
    #[must_use]
    pub const fn gateway(&self) -> &Address {
        &self.gateway
    }

    /// Index of the visible end.
    #[inline(always)]
    #[must_use]
    pub const fn visible_ifindex(&self) -> u32 {
        self.visible_ifindex
    }

    /// Its session's slot.
    #[inline(always)]
    #[must_use]
    pub const fn slot(&self) -> u32 {
        self.slot
    }
}
