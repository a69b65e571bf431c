//! The outer UDP checksum over IPv6, which Linux peers want (RFC 8200 8.1).
//!
//! The kernel can write one per segment only for tunnels of its own, so these packets are cut
//! first, as those of protocol 115, and summed here: the whole of it, because nothing is known of
//! what the frame carries. The inner checksums must be complete by then.

use aya_ebpf::{
    helpers::{bpf_csum_diff, bpf_skb_load_bytes},
    macros::map,
    maps::PerCpuArray,
    programs::TcContext,
};
use l2ha_ebpf::wire::{ETHERNET, IPV6, PROTOCOL_UDP, checksum_finish};

use super::skb::Skb as _;

/// Bytes summed at a time; the kernel takes at most 512.
const CHUNK: usize = 256;
/// Chunks in the longest packet, of a jumbo underlay.
const CHUNKS: u32 = 40;
/// Where the addresses lie, from which the sum goes to the packet's end.
const ADDRESSES: u32 = ETHERNET as u32 + 8;
/// Where the UDP checksum lies.
const CHECKSUM: u32 = (ETHERNET + IPV6) as u32 + 6;

type Chunk = [u64; CHUNK / 8];

/// Where a chunk is held while it is summed.
#[map]
static CHUNK_BUFFER: PerCpuArray<Chunk> = PerCpuArray::with_max_entries(1, 0);

/// Writes the checksum of a packet whose outer headers are IPv6 and UDP with checksum 0.
#[inline(always)]
pub(crate) fn write(ctx: &TcContext) -> Result<(), ()> {
    let length = ctx.len();
    let udp_length = length - (ETHERNET + IPV6) as u32;
    // The pseudo-header (RFC 8200 8.1) but for the addresses, which are summed with the packet.
    let pseudo = (udp_length & 0xffff) + u32::from(PROTOCOL_UDP);
    let swapped = |word: u32| u32::from(u16::from_be(word as u16));
    let sum = swapped(pseudo & 0xffff) + swapped(pseudo >> 16);
    let sum = rest(ctx, sum, length)?;
    let checksum = match checksum_finish(sum) {
        // 0 would mean none.
        0 => 0xffff,
        other => other,
    };
    // The sum is of words in the machine's order, and so is its checksum.
    ctx.write_at(CHECKSUM, &checksum.to_ne_bytes())
}

/// Adds everything from the addresses on.
#[inline(always)]
fn rest(ctx: &TcContext, mut sum: u32, length: u32) -> Result<u32, ()> {
    let buffer = CHUNK_BUFFER.get_ptr_mut(0).ok_or(())?;
    let mut offset = ADDRESSES;
    for _ in 0..CHUNKS {
        if length <= offset + CHUNK as u32 {
            break;
        }
        load(ctx, offset, buffer, CHUNK as u32)?;
        sum = add(buffer, sum)?;
        offset += CHUNK as u32;
    }
    if length > offset + CHUNK as u32 {
        return Err(());
    }
    // 1 to CHUNK bytes are left. Said in this way, because the verifier does not learn that from
    // the loop, and before Linux 6.4 not even from a comparison with 0.
    let left = ((length - offset - 1) & (CHUNK as u32 - 1)) + 1;
    for word in 0..CHUNK / 8 {
        // SAFETY: `word` lies within the buffer, which is this CPU's own while the program runs.
        // Volatile, because the compiler would call a memset of single bytes.
        unsafe { buffer.cast::<u64>().add(word).write_volatile(0) };
    }
    load(ctx, offset, buffer, left)?;
    add(buffer, sum)
}

/// Reads `length` bytes, at least one and at most CHUNK, into the buffer.
#[inline(always)]
fn load(ctx: &TcContext, offset: u32, buffer: *mut Chunk, length: u32) -> Result<(), ()> {
    // SAFETY: the buffer has CHUNK bytes, and every caller's `length` is no more.
    match unsafe { bpf_skb_load_bytes(ctx.raw().cast(), offset, buffer.cast(), length) } {
        0 => Ok(()),
        _ => Err(()),
    }
}

/// Adds the whole buffer.
#[inline(always)]
fn add(buffer: *mut Chunk, sum: u32) -> Result<u32, ()> {
    // SAFETY: the buffer has CHUNK bytes; there is nothing to subtract.
    let sum = unsafe { bpf_csum_diff(core::ptr::null_mut(), 0, buffer.cast(), CHUNK as u32, sum) };
    u32::try_from(sum).map_err(drop)
}
