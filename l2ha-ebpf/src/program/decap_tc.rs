//! Decapsulation at tc ingress, where native XDP cannot be had.

use aya_ebpf::{
    bindings::{BPF_F_ADJ_ROOM_DECAP_L3_IPV4, BPF_F_INGRESS, bpf_adj_room_mode::BPF_ADJ_ROOM_MAC},
    helpers::bpf_redirect,
    programs::TcContext,
};
use l2ha_ebpf::{
    decap::{Delivery, PacketRefusal, decide},
    packet::Packet,
    reason::Reason,
    wire::{ETHERNET, IPV4, IPV6},
};

use super::{
    congestion, detour,
    maps::{Maps, count_of, count_received, refused},
    sequence,
    skb::Skb as _,
    watch,
};

/// More than all headers that are looked at: Ethernet, IPv4 with options, UDP, L2TPv3, cookie,
/// sublayer, inner Ethernet.
const HEADERS: usize = 128;
/// Shortest Ethernet frame without its FCS.
const ETHERNET_MIN: u32 = 60;

/// Strips the outer headers and hands the frame to the virtual interface.
#[inline(always)]
pub(crate) fn decap(ctx: &TcContext) -> Result<i32, PacketRefusal> {
    if ctx.vlan_tag().is_some() {
        // Belongs to a VLAN interface on top of the underlay.
        return Err(PacketRefusal::Foreign);
    }
    let length = ctx.len() as usize;
    let wanted = if length < HEADERS { length } else { HEADERS };
    if ctx.data_end() - ctx.data() < wanted && ctx.pull_data(wanted as u32).is_err() {
        return Err(PacketRefusal::Foreign);
    }
    // SAFETY: the context's own bounds, read after the last helper that could move them.
    let packet = unsafe { Packet::new(ctx.data(), ctx.data_end(), length) };
    let delivery = decide(packet, &Maps)?;
    sequence::check(&delivery)?;
    congestion::bring_in(ctx, &delivery)?;
    watch::received(ctx, &delivery);
    if delivery.previous_cookie {
        count_of(delivery.slot, Reason::PreviousCookieUsed);
    }
    let packets = ctx.wire_packets();
    strip(ctx, &delivery).map_err(|()| refused(delivery.slot, Reason::DecapFailed))?;

    let inner_length = (delivery.end - delivery.start) as u64;
    count_received(delivery.slot, packets, inner_length);
    detour::heard(delivery.slot);
    let (ifindex, flags) = if ctx.gso_size() == 0 {
        // Out of the hidden end: the visible one receives it with GRO.
        (delivery.hidden_ifindex, 0)
    } else {
        // Already merged; a veth might have to cut it again.
        ctx.forget_receive_queue();
        (delivery.visible_ifindex, BPF_F_INGRESS)
    };
    // SAFETY: takes only numbers.
    Ok(unsafe { bpf_redirect(ifindex, u64::from(flags)) } as i32)
}

/// Leaves only the inner frame.
#[inline(always)]
fn strip(ctx: &TcContext, delivery: &Delivery) -> Result<(), ()> {
    let (start, end) = (delivery.start as u32, delivery.end as u32);
    let ethernet: [u8; ETHERNET] = ctx.read_at(start)?;
    if end < ctx.len() {
        // Ethernet padding behind the outer packet.
        ctx.set_length(end)?;
    }
    // The kernel refuses to leave less than an IP header behind the Ethernet header.
    let payload = end - start - ETHERNET as u32;
    let least = if ctx.ethertype() == l2ha_ebpf::wire::ETHERTYPE_IPV6 {
        IPV6 as u32
    } else {
        IPV4 as u32
    };
    let is_short = payload < least;
    let mut flags = 0;
    if is_short && ctx.set_length(start + ETHERNET_MIN).is_err() {
        // The kernel does not change the length of what it knows as a tunnel's packet, which it
        // does when the sender is on the same machine. It can be told to leave less
        // (Linux 6.3; refused before).
        flags = u64::from(BPF_F_ADJ_ROOM_DECAP_L3_IPV4);
    }
    // The inner Ethernet header goes with the outer IP, UDP and L2TPv3 headers: the outer Ethernet
    // header stays and is overwritten with it.
    ctx.adjust_room(-(start as i32), BPF_ADJ_ROOM_MAC, flags)
        .map_err(drop)?;
    ctx.write_at(0, &ethernet)?;
    if is_short && payload > 0 && flags == 0 {
        // A frame without payload stays padded: the kernel does not redirect one. So does one that
        // the kernel does not want to cut because it knows a transport header behind the end.
        // Padding does no harm.
        let _ = ctx.set_length(ETHERNET as u32 + payload);
    }
    Ok(())
}
