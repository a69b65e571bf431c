//! Encapsulation: outer headers around a frame.

use aya_ebpf::{
    bindings::{
        BPF_F_ADJ_ROOM_ENCAP_L2_ETH, BPF_F_ADJ_ROOM_ENCAP_L3_IPV4, BPF_F_ADJ_ROOM_ENCAP_L3_IPV6,
        BPF_F_ADJ_ROOM_ENCAP_L4_UDP, BPF_F_ADJ_ROOM_FIXED_GSO, bpf_adj_room_mode::BPF_ADJ_ROOM_MAC,
    },
    programs::TcContext,
};
use l2ha_ebpf::{
    abi::Transmit,
    congestion,
    reason::Reason,
    wire::{ETHERNET, ETHERTYPE_IPV4, ETHERTYPE_IPV6},
};

use super::{
    checksum, detour,
    maps::{count_sent, transmit},
    sequence,
    skb::{Skb as _, redirect_to_neighbor},
    verdict::Sent,
    watch,
};

/// Where the length of the inner Ethernet header lies in the flags (`BPF_F_ADJ_ROOM_ENCAP_L2`).
const ENCAP_L2_SHIFT: u32 = 56;
/// Length of a VLAN tag in bytes.
const VLAN_TAG: u32 = 4;

/// The program at the visible end's egress.
#[inline(always)]
pub(crate) fn visible(ctx: &TcContext) -> Result<Sent, Reason> {
    let session = transmit(ctx.ifindex()).ok_or(Reason::UnknownInterface)?;
    if !is_ip(ctx) {
        return through_hidden(ctx, session);
    }
    if let Some(action) = detour::around(ctx, session) {
        return Ok(Sent::Redirected(action));
    }
    if session.wants_cut_packets() {
        // The veth cuts large packets on the way to the hidden end, which encapsulates the pieces.
        return Ok(Sent::Onward);
    }
    let packets = ctx.wire_packets();
    match around_ip(ctx, session) {
        Ok(()) => send(ctx, session, packets),
        // The kernel makes no room in what is a tunnel's packet already.
        Err(NoRoom::Untouched) => through_hidden(ctx, session),
        Err(NoRoom::Broken) => Err(Reason::EncapFailed),
    }
}

/// Whether the kernel knows what follows the Ethernet header (and an accelerated tag) as IP.
#[inline(always)]
pub(crate) fn is_ip(ctx: &TcContext) -> bool {
    matches!(ctx.ethertype(), ETHERTYPE_IPV4 | ETHERTYPE_IPV6)
}

/// Why no headers could be put around a frame.
pub(crate) enum NoRoom {
    /// The frame is as it was.
    Untouched,
    /// The frame is spoilt.
    Broken,
}

/// Puts the outer headers around an IP frame; a super-packet stays one.
#[inline(always)]
pub(crate) fn around_ip(ctx: &TcContext, session: &Transmit) -> Result<(), NoRoom> {
    let addresses: [u8; ETHERNET] = ctx.read_at(0).map_err(|()| NoRoom::Untouched)?;
    let carrier = session.carrier();
    let inner = Inner::of(ctx, session);
    let tag = ctx.vlan_tag();
    let inner_header = match tag {
        Some(_) => ETHERNET as u32 + VLAN_TAG,
        None => ETHERNET as u32,
    };
    if tag.is_some() {
        ctx.vlan_pop().map_err(|()| NoRoom::Untouched)?;
    }
    let mut flags = BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L2_ETH;
    flags |= if carrier.is_v6() {
        BPF_F_ADJ_ROOM_ENCAP_L3_IPV6
    } else {
        BPF_F_ADJ_ROOM_ENCAP_L3_IPV4
    };
    if carrier.is_udp() {
        flags |= BPF_F_ADJ_ROOM_ENCAP_L4_UDP;
    }
    // Segmentation takes everything between the outer IP header and the inner Ethernet header for
    // one header to repeat, if the length given here is that of the inner Ethernet header alone.
    let flags = u64::from(flags) | u64::from(inner_header) << ENCAP_L2_SHIFT;
    let outer_length = session.outer_length();
    let room = outer_length - ETHERNET as u32 + inner_header;
    if ctx
        .adjust_room(room as i32, BPF_ADJ_ROOM_MAC, flags)
        .is_err()
    {
        return Err(match tag {
            Some(_) => NoRoom::Broken,
            None => NoRoom::Untouched,
        });
    }
    write_outer(ctx, session, inner).map_err(|()| NoRoom::Broken)?;
    let written = match tag {
        None => ctx.write_at(outer_length, &addresses),
        Some(tag) => {
            let mut tagged = [0; ETHERNET + VLAN_TAG as usize];
            tagged[..12].copy_from_slice(&addresses[..12]);
            tagged[12..16].copy_from_slice(&tag);
            tagged[16..].copy_from_slice(&addresses[12..]);
            ctx.write_at(outer_length, &tagged)
        }
    };
    written.map_err(|()| NoRoom::Broken)
}

/// Puts the outer headers in front of a frame of any kind and lets it go on to the hidden end:
/// there the kernel reads the outer Ethernet header and knows the packet as IP, which it must be
/// to be sent to a neighbour.
#[inline(always)]
fn through_hidden(ctx: &TcContext, session: &Transmit) -> Result<Sent, Reason> {
    if ctx.gso_size() != 0 {
        return Err(Reason::GsoUnsupported);
    }
    in_front(ctx, session).map_err(|()| Reason::EncapFailed)?;
    Ok(Sent::Onward)
}

#[inline(always)]
fn in_front(ctx: &TcContext, session: &Transmit) -> Result<(), ()> {
    let outer_length = session.outer_length();
    let inner = Inner::of(ctx, session);
    match ctx.vlan_tag() {
        None => ctx.grow_head(outer_length)?,
        Some(tag) => {
            let addresses: [u8; 12] = ctx.read_at(0)?;
            ctx.vlan_pop()?;
            ctx.grow_head(outer_length + VLAN_TAG)?;
            ctx.write_at(outer_length, &addresses)?;
            ctx.write_at(outer_length + addresses.len() as u32, &tag)?;
        }
    }
    write_outer(ctx, session, inner)
}

/// What the outer headers take from the inner packet, where it is needed; asked while the kernel
/// still sees that one.
#[derive(Clone, Copy)]
struct Inner {
    flow_hash: u32,
    class: u8,
}

impl Inner {
    #[inline(always)]
    fn of(ctx: &TcContext, session: &Transmit) -> Self {
        let flow_hash = if session.has_flow_ports() {
            ctx.flow_hash()
        } else {
            0
        };
        let copied = session.copied_class();
        let class = if copied != 0 {
            class(ctx).unwrap_or(0) & copied
        } else {
            0
        };
        Self { flow_hash, class }
    }
}

/// The traffic class of the inner IP header, if there is one.
#[inline(always)]
fn class(ctx: &TcContext) -> Option<u8> {
    let at = congestion::network_offset(&ctx.read_at(0).ok()?)?;
    let [first, second] = ctx.read_at(at as u32).ok()?;
    Some(congestion::class(first, second))
}

/// Writes the outer headers at the start of a packet that has its final length.
#[inline(always)]
fn write_outer(ctx: &TcContext, session: &Transmit, inner: Inner) -> Result<(), ()> {
    let mut outer = *session.outer();
    if session.has_flow_ports() {
        outer.set_flow_port(session.carrier(), inner.flow_hash);
    }
    if inner.class != 0 {
        outer.add_class(session.carrier(), inner.class);
    }
    outer.finish(session.carrier(), ctx.len() - ETHERNET as u32);
    ctx.write_outer(&outer, session.outer_length())
}

/// Sends an encapsulated packet to the underlay and counts it. `packets` is how many it is on the
/// wire, asked before it was encapsulated: the kernel forgets it then.
#[inline(always)]
pub(crate) fn send(ctx: &TcContext, session: &Transmit, packets: u64) -> Result<Sent, Reason> {
    let underlay = session.underlay_ifindex();
    let next_hop = session.next_hop();
    if next_hop.is_none() {
        return Err(Reason::NoRoute);
    }
    if !ctx.fits(underlay) {
        return Err(Reason::TooBig);
    }
    if session.has_sequence() {
        sequence::number(ctx, session).map_err(|()| Reason::EncapFailed)?;
    }
    if session.has_checksum() {
        checksum::write(ctx).map_err(|()| Reason::EncapFailed)?;
    }
    watch::sent(ctx, session.slot(), session.outer_length());
    let bytes = ctx.len() - session.outer_length();
    count_sent(session.slot(), packets, u64::from(bytes));
    Ok(Sent::Redirected(redirect_to_neighbor(underlay, next_hop)))
}
