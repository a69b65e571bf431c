//! Decapsulation before the kernel has made an skb.

use aya_ebpf::{
    EbpfContext as _,
    helpers::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail},
    programs::XdpContext,
};
use l2ha_ebpf::{
    decap::{PacketRefusal, decide},
    packet::Packet,
    reason::Reason,
};

use super::{
    congestion, detour, hand_on,
    maps::{Maps, count_of, count_received, refused},
    sequence, watch,
};

/// Strips the outer headers and hands the frame on to the virtual interface.
#[inline(always)]
pub(crate) fn decap(ctx: &XdpContext) -> Result<u32, PacketRefusal> {
    let (start, end) = (ctx.data(), ctx.data_end());
    let length = end - start;
    // SAFETY: the context's own bounds.
    let packet = unsafe { Packet::new(start, end, length) };
    let delivery = decide(packet, &Maps)?;
    sequence::check(&delivery)?;
    congestion::bring_in(ctx, &delivery)?;
    watch::received(ctx, &delivery);
    if delivery.previous_cookie {
        count_of(delivery.slot, Reason::PreviousCookieUsed);
    }

    let failed = || refused(delivery.slot, Reason::DecapFailed);
    let padding = length - delivery.end;
    if padding > 0 {
        // A frame shorter than Ethernet's minimum was padded behind the outer packet.
        // SAFETY: the context is the program's; no pointer into the packet is used afterwards.
        if unsafe { bpf_xdp_adjust_tail(ctx.as_ptr().cast(), -(padding as i32)) } != 0 {
            return Err(failed());
        }
    }
    // SAFETY: as above.
    if unsafe { bpf_xdp_adjust_head(ctx.as_ptr().cast(), delivery.start as i32) } != 0 {
        return Err(failed());
    }
    count_received(delivery.slot, 1, (delivery.end - delivery.start) as u64);
    detour::heard(delivery.slot);
    Ok(hand_on::from_xdp(ctx, delivery.hidden_ifindex))
}
