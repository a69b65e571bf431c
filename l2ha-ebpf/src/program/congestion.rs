//! Bringing the outer header's congestion mark into the inner one, in the sessions that want it.

use aya_ebpf::{
    EbpfContext as _,
    bindings::BPF_F_RECOMPUTE_CSUM,
    helpers::{bpf_skb_load_bytes, bpf_skb_store_bytes, bpf_xdp_load_bytes, bpf_xdp_store_bytes},
    programs::{TcContext, XdpContext},
};
use l2ha_ebpf::{
    congestion::{Link, Network, network_offset, remark},
    decap::{Delivery, PacketRefusal},
};

use super::maps::refused;

/// A packet, whatever the kernel keeps it in.
pub(crate) trait Bytes {
    /// Reads bytes at an offset.
    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]>;
    /// Replaces bytes at an offset.
    fn store<const N: usize>(&self, offset: u32, bytes: &[u8; N]);
}

impl Bytes for XdpContext {
    #[inline(always)]
    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        let to = bytes.as_mut_ptr().cast();
        // SAFETY: the context is the program's; the buffer has N bytes.
        let failed = unsafe { bpf_xdp_load_bytes(self.as_ptr().cast(), offset, to, N as u32) };
        (failed == 0).then_some(bytes)
    }

    #[inline(always)]
    fn store<const N: usize>(&self, offset: u32, bytes: &[u8; N]) {
        let from = bytes.as_ptr().cast_mut().cast();
        // SAFETY: as above; the helper only reads the buffer.
        unsafe { bpf_xdp_store_bytes(self.as_ptr().cast(), offset, from, N as u32) };
    }
}

impl Bytes for TcContext {
    #[inline(always)]
    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        let to = bytes.as_mut_ptr().cast();
        // SAFETY: as above.
        let failed = unsafe { bpf_skb_load_bytes(self.as_ptr().cast(), offset, to, N as u32) };
        (failed == 0).then_some(bytes)
    }

    #[inline(always)]
    fn store<const N: usize>(&self, offset: u32, bytes: &[u8; N]) {
        let from = bytes.as_ptr().cast();
        let flags = u64::from(BPF_F_RECOMPUTE_CSUM);
        // SAFETY: as above.
        unsafe { bpf_skb_store_bytes(self.as_ptr().cast(), offset, from, N as u32, flags) };
    }
}

/// Changes the inner header as the outer one's mark demands. A frame without an IP header has
/// nowhere to keep a mark and stays as it is.
///
/// # Errors
///
/// When the frame must be dropped.
#[inline(always)]
pub(crate) fn bring_in(ctx: &impl Bytes, delivery: &Delivery) -> Result<(), PacketRefusal> {
    if delivery.ecn == 0 {
        return Ok(());
    }
    let start = delivery.start as u32;
    let link: Option<Link> = ctx.load(start);
    let Some(offset) = link.and_then(|link| network_offset(&link)) else {
        return Ok(());
    };
    let at = start + offset as u32;
    let Some(mut network): Option<Network> = ctx.load(at) else {
        return Ok(());
    };
    if remark(&mut network, delivery.ecn).map_err(|reason| refused(delivery.slot, reason))? {
        ctx.store(at, &network);
    }
    Ok(())
}
