//! The hidden end's ingress: what left the visible end through the veth pair.

use aya_ebpf::programs::TcContext;
use l2ha_ebpf::{outer::INTERNAL_DESTINATION, reason::Reason};

use super::{
    encap::{NoRoom, around_ip, is_ip, send},
    maps::transmit,
    skb::Skb as _,
    verdict::Sent,
};

/// Sends on what the visible end has encapsulated, and encapsulates what it could not.
#[inline(always)]
pub(crate) fn hidden(ctx: &TcContext) -> Result<Sent, Reason> {
    let session = transmit(ctx.ifindex()).ok_or(Reason::UnknownInterface)?;
    let destination: [u8; 6] = ctx.read_at(0).map_err(|()| Reason::StrayFrame)?;
    if destination == INTERNAL_DESTINATION {
        return send(ctx, session, 1);
    }
    if !session.wants_cut_packets() || !is_ip(ctx) {
        return Err(Reason::StrayFrame);
    }
    if ctx.gso_size() != 0 {
        return Err(Reason::GsoUnsupported);
    }
    match around_ip(ctx, session) {
        Ok(()) => send(ctx, session, 1),
        Err(NoRoom::Untouched | NoRoom::Broken) => Err(Reason::EncapFailed),
    }
}
