//! Where frames go while their session is silent, until the daemon has computed new routes.

use core::net::IpAddr;

use bytemuck::{Pod, Zeroable};

use super::{Address, NextHop, layout::layout};

/// How many destinations can have a detour, over all sessions.
pub const MAX_DETOURS: u32 = 65536;
/// Bits of a [`DetourKey`] before the destination's.
const FIXED_BITS: u32 = 64;

/// Key of the detours: the session that is silent, and the longest match for the destination. The family is
/// part of what must match: `::/0` covers the addresses that stand for IPv4's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Pod, Zeroable)]
#[repr(C)]
pub struct DetourKey {
    slot: [u8; 4],
    is_v6: u32,
    destination: Address,
}

layout!(DetourKey {
    slot,
    is_v6,
    destination,
});

impl DetourKey {
    /// The key for a session's slot and a destination of this family.
    #[inline(always)]
    #[must_use]
    pub const fn new(slot: u32, v6: bool, destination: Address) -> Self {
        Self {
            slot: slot.to_be_bytes(),
            is_v6: v6 as u32,
            destination,
        }
    }

    /// How many bits of the key count for a prefix of this length.
    #[inline(always)]
    #[must_use]
    pub const fn bits(v6: bool, prefix_length: u8) -> u32 {
        FIXED_BITS + Address::bits(v6, prefix_length)
    }
}

/// Value of the detours: the next hop to take instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Detour {
    gateway: NextHop,
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

    /// The neighbour.
    #[inline(always)]
    #[must_use]
    pub const fn gateway(&self) -> &NextHop {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_prefix_of_one_family_covers_an_address_of_the_other() {
        let fixed = |v6: bool, address: &str| {
            let address: IpAddr = address.parse().unwrap();
            let key = DetourKey::new(7, v6, address.into());
            bytemuck::bytes_of(&key)[..FIXED_BITS as usize / 8].to_vec()
        };
        assert_eq!(DetourKey::bits(true, 0), FIXED_BITS);
        assert_ne!(fixed(true, "::"), fixed(false, "192.0.2.80"));
        assert_ne!(fixed(true, "::ffff:192.0.2.80"), fixed(false, "192.0.2.80"));
        assert_eq!(fixed(false, "0.0.0.0"), fixed(false, "192.0.2.80"));
    }
}
