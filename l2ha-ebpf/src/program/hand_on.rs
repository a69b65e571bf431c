//! How a stripped frame gets from the XDP program to the virtual interface.
//!
//! TCP goes up on the underlay: GRO merges there, in the driver's poll, and the tc program sends
//! what came of it, one packet for many, to the hidden end, whose index the XDP program has
//! written in front of each frame. Everything else is redirected at once, which is cheaper where
//! nothing can be merged. A driver that has no room in front of a frame, or that would not carry
//! it into the skb, refuses it: there TCP is redirected too, and merged by the virtual interface.

use aya_ebpf::{
    EbpfContext as _,
    bindings::{TC_ACT_UNSPEC, xdp_action},
    helpers::{bpf_redirect, bpf_xdp_adjust_meta},
    programs::{TcContext, XdpContext},
};
use l2ha_ebpf::{inner, packet::Packet};

use super::skb::Skb as _;

/// What lies in front of the frame.
#[repr(C)]
#[derive(Clone, Copy)]
struct Mark {
    magic: u32,
    hidden_ifindex: u32,
}

const MAGIC: u32 = u32::from_be_bytes(*b"l2ha");
const LENGTH: usize = size_of::<Mark>();

/// Hands on the frame that the packet now is.
#[inline(always)]
pub(crate) fn from_xdp(ctx: &XdpContext, hidden_ifindex: u32) -> u32 {
    let (start, end) = (ctx.data(), ctx.data_end());
    // SAFETY: the context's own bounds.
    let frame = unsafe { Packet::new(start, end, end - start) };
    if inner::is_mergeable(frame, 0) && mark(ctx, hidden_ifindex) {
        return xdp_action::XDP_PASS;
    }
    // SAFETY: takes only numbers.
    unsafe { bpf_redirect(hidden_ifindex, 0) as u32 }
}

/// Writes the mark, where the driver has room for it.
#[inline(always)]
fn mark(ctx: &XdpContext, hidden_ifindex: u32) -> bool {
    // SAFETY: the context is the program's; no pointer into the packet is used afterwards.
    if unsafe { bpf_xdp_adjust_meta(ctx.as_ptr().cast(), -(LENGTH as i32)) } != 0 {
        return false;
    }
    let at = ctx.metadata();
    if at + LENGTH > ctx.data() {
        return false;
    }
    let mark = Mark {
        magic: MAGIC,
        hidden_ifindex,
    };
    // SAFETY: the bytes lie before `data` (checked above).
    unsafe { (at as *mut Mark).write_unaligned(mark) };
    true
}

/// Sends a marked frame to the hidden end, so that it arrives at the visible one.
#[inline(always)]
pub(crate) fn merged(ctx: &TcContext) -> i32 {
    match marked(ctx) {
        // SAFETY: takes only numbers.
        Some(hidden_ifindex) => unsafe { bpf_redirect(hidden_ifindex, 0) as i32 },
        None => TC_ACT_UNSPEC,
    }
}

/// The hidden end that the XDP program has marked the frame with.
#[inline(always)]
fn marked(ctx: &TcContext) -> Option<u32> {
    // SAFETY: the context is valid while the program runs.
    let (at, data) = unsafe { ((*ctx.raw()).data_meta as usize, (*ctx.raw()).data as usize) };
    if at + LENGTH > data {
        return None;
    }
    // SAFETY: the bytes lie before `data` (checked above).
    let mark = unsafe { (at as *const Mark).read_unaligned() };
    (mark.magic == MAGIC).then_some(mark.hidden_ifindex)
}
