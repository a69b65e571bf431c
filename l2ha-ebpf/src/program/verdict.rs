//! From what was decided about a packet to what the kernel is told, counted.

use aya_ebpf::{
    Global,
    bindings::{TC_ACT_OK, TC_ACT_SHOT, TC_ACT_UNSPEC, xdp_action},
    programs::{TcContext, XdpContext},
};
use l2ha_ebpf::{decap::PacketRefusal, reason::Reason};

use super::{
    maps::{blame, count, transmit},
    skb::Skb as _,
    watch,
};

/// Set by the daemon when it loads the programs: each refused packet is to be logged. While it is
/// 0 the verifier removes the code. The daemon reads the records: `refused`, the reason's number, the
/// packet's length.
#[unsafe(no_mangle)]
static LOG_REFUSED: Global<u8> = Global::new(0);

#[inline(always)]
fn is_logging() -> bool {
    LOG_REFUSED.load() != 0
}

/// The end of an XDP program.
#[inline(always)]
pub(crate) fn xdp(ctx: &XdpContext, outcome: Result<u32, PacketRefusal>) -> u32 {
    match outcome {
        Ok(action) => action,
        Err(PacketRefusal::Foreign) => xdp_action::XDP_PASS,
        Err(PacketRefusal::Pass(reason)) => {
            count(reason);
            watch::refused(ctx, reason);
            xdp_action::XDP_PASS
        }
        Err(PacketRefusal::Drop(reason)) => {
            count(reason);
            watch::refused(ctx, reason);
            if is_logging() {
                let length = ctx.data_end() - ctx.data();
                aya_log_ebpf::debug!(ctx, "refused {} {}", reason.number(), length);
            }
            xdp_action::XDP_DROP
        }
    }
}

/// The end of a tc program on the underlay: what is not ours goes on to the next filter.
#[inline(always)]
pub(crate) fn tc_underlay(ctx: &TcContext, outcome: Result<i32, PacketRefusal>) -> i32 {
    match outcome {
        Ok(action) => action,
        Err(PacketRefusal::Foreign) => TC_ACT_UNSPEC,
        Err(PacketRefusal::Pass(reason)) => {
            count(reason);
            watch::refused(ctx, reason);
            TC_ACT_UNSPEC
        }
        Err(PacketRefusal::Drop(reason)) => dropped(ctx, reason),
    }
}

/// What a tc program on a virtual interface does with a frame.
pub(crate) enum Sent {
    /// Redirected: what the helper said.
    Redirected(i32),
    /// On through the veth pair to the hidden end.
    Onward,
}

/// The end of a tc program on either end of a virtual interface.
#[inline(always)]
pub(crate) fn tc_interface(ctx: &TcContext, outcome: Result<Sent, Reason>) -> i32 {
    match outcome {
        Ok(Sent::Redirected(action)) => action,
        Ok(Sent::Onward) => TC_ACT_OK,
        Err(reason) => {
            if let Some(session) = transmit(ctx.ifindex()) {
                blame(session.slot(), reason);
            }
            dropped(ctx, reason)
        }
    }
}

#[inline(always)]
fn dropped(ctx: &TcContext, reason: Reason) -> i32 {
    count(reason);
    watch::refused(ctx, reason);
    if is_logging() {
        aya_log_ebpf::debug!(ctx, "refused {} {}", reason.number(), ctx.len());
    }
    TC_ACT_SHOT
}
