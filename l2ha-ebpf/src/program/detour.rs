//! What the kernel does by itself when a session falls silent: frames for destinations that have a
//! loop-free alternate go there, before or without the daemon.
//!
//! The daemon says how long each session may be silent, and where its destinations can be reached
//! otherwise. Every frame that is delivered shows that its session is alive.

use aya_ebpf::{
    helpers::bpf_ktime_get_coarse_ns,
    macros::map,
    maps::{Array, LpmTrie, lpm_trie::Key},
    programs::TcContext,
};
use l2ha_ebpf::{
    abi::{Address, Detour, DetourKey, MAX_DETOURS, MAX_SESSIONS, Transmit},
    reason::Reason,
    wire::{ETHERNET, ETHERTYPE_IPV6},
};

use super::{
    maps::count_of,
    skb::{Skb as _, redirect_to_neighbor},
};

/// When each session's peer was last heard, by slot, in nanoseconds of `CLOCK_MONOTONIC_COARSE`.
#[map]
static HEARD: Array<u64> = Array::with_max_entries(MAX_SESSIONS, 0);

/// How many nanoseconds of silence mean that a session is dead, by slot; 0 for never.
#[map]
static PATIENCE: Array<u64> = Array::with_max_entries(MAX_SESSIONS, 0);

/// The ways around a dead session.
#[map]
static DETOURS: LpmTrie<DetourKey, Detour> = LpmTrie::with_max_entries(MAX_DETOURS, 0);

/// Where the destination lies in a frame of IPv4, and in one of IPv6.
const DESTINATION_V4: u32 = ETHERNET as u32 + 16;
const DESTINATION_V6: u32 = ETHERNET as u32 + 24;

/// Writes down that a session's peer was heard now.
#[inline(always)]
pub(crate) fn heard(slot: u32) {
    let now = coarse_now();
    if let Some(at) = HEARD.get_ptr_mut(slot) {
        // SAFETY: an aligned word of the map's own; who writes last at the same moment writes the
        // same. Written once a tick, so that processors do not take it from each other for each
        // frame.
        unsafe {
            if at.read_volatile() != now {
                at.write_volatile(now);
            }
        }
    }
}

/// Sends a frame of IP around its session if that is dead and there is a way around. Says what the helper
/// said then.
#[inline(always)]
pub(crate) fn around(ctx: &TcContext, session: &Transmit) -> Option<i32> {
    if !is_dead(session.slot())? {
        return None;
    }
    let v6 = ctx.ethertype() == ETHERTYPE_IPV6;
    let destination = match v6 {
        true => Address::v6(ctx.read_at(DESTINATION_V6).ok()?),
        false => Address::v4(ctx.read_at(DESTINATION_V4).ok()?),
    };
    let key = Key::new(
        DetourKey::bits(true, 128),
        DetourKey::new(session.slot(), v6, destination),
    );
    let detour = DETOURS.get(&key)?;
    // One that nobody watches, or that is dead too, is no way.
    if is_dead(detour.slot())? {
        return None;
    }
    count_of(session.slot(), Reason::Detoured);
    Some(redirect_to_neighbor(
        detour.visible_ifindex(),
        detour.gateway(),
    ))
}

/// Whether a session has been silent for too long; nothing if nobody watches it.
#[inline(always)]
fn is_dead(slot: u32) -> Option<bool> {
    let patience = *PATIENCE.get(slot)?;
    if patience == 0 {
        return None;
    }
    let heard = *HEARD.get(slot)?;
    Some(coarse_now().saturating_sub(heard) > patience)
}

#[inline(always)]
fn coarse_now() -> u64 {
    // SAFETY: takes nothing.
    unsafe { bpf_ktime_get_coarse_ns() }
}
