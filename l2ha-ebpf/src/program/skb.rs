//! What aya does not wrap of the kernel's view of an skb.

use aya_ebpf::{
    bindings::{__sk_buff, bpf_redir_neigh},
    helpers::{
        bpf_check_mtu, bpf_get_hash_recalc, bpf_redirect_neigh, bpf_skb_change_head,
        bpf_skb_change_tail, bpf_skb_load_bytes, bpf_skb_store_bytes, bpf_skb_vlan_pop,
    },
    programs::TcContext,
};
use l2ha_ebpf::{abi::NextHop, outer::Outer};

/// Fields and helpers of an skb, with the length of what is read or written checked by type.
pub(crate) trait Skb {
    fn raw(&self) -> *mut __sk_buff;

    /// Index of the interface the program is attached to.
    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: the context is valid while the program runs; so below.
        unsafe { (*self.raw()).ifindex }
    }

    /// Ethertype of what follows the Ethernet header and an accelerated VLAN tag.
    #[inline(always)]
    fn ethertype(&self) -> u16 {
        // SAFETY: as above.
        u16::from_be(unsafe { (*self.raw()).protocol } as u16)
    }

    /// Size of a segment's payload if this is a super-packet, else 0.
    #[inline(always)]
    fn gso_size(&self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.raw()).gso_size }
    }

    /// How many packets this is on the wire.
    #[inline(always)]
    fn wire_packets(&self) -> u64 {
        // SAFETY: as above.
        let segments = unsafe { (*self.raw()).gso_segs };
        if segments == 0 {
            1
        } else {
            u64::from(segments)
        }
    }

    /// The accelerated VLAN tag, as it would be on the wire: ethertype and TCI.
    #[inline(always)]
    fn vlan_tag(&self) -> Option<[u8; 4]> {
        // SAFETY: as above.
        let (present, protocol, tci) = unsafe {
            let skb = self.raw();
            ((*skb).vlan_present, (*skb).vlan_proto, (*skb).vlan_tci)
        };
        if present == 0 {
            return None;
        }
        // The kernel keeps the protocol big-endian and the tag in the machine's order.
        let [a, b] = (protocol as u16).to_ne_bytes();
        let [c, d] = (tci as u16).to_be_bytes();
        Some([a, b, c, d])
    }

    /// Removes the VLAN tag.
    #[inline(always)]
    fn vlan_pop(&self) -> Result<(), ()> {
        // SAFETY: as above.
        done(unsafe { bpf_skb_vlan_pop(self.raw()) })
    }

    /// Reads bytes at an offset.
    #[inline(always)]
    fn read_at<const N: usize>(&self, offset: u32) -> Result<[u8; N], ()> {
        let mut bytes = [0; N];
        // SAFETY: the buffer has N bytes.
        done(unsafe {
            bpf_skb_load_bytes(
                self.raw().cast(),
                offset,
                bytes.as_mut_ptr().cast(),
                N as u32,
            )
        })?;
        Ok(bytes)
    }

    /// Writes bytes at an offset.
    #[inline(always)]
    fn write_at<const N: usize>(&self, offset: u32, bytes: &[u8; N]) -> Result<(), ()> {
        // SAFETY: the buffer has N bytes.
        done(unsafe {
            bpf_skb_store_bytes(
                self.raw().cast(),
                offset,
                bytes.as_ptr().cast(),
                N as u32,
                0,
            )
        })
    }

    /// Writes outer headers at the start of the packet.
    #[inline(always)]
    fn write_outer(&self, outer: &Outer, length: u32) -> Result<(), ()> {
        let bytes = outer.bytes();
        if length > bytes.len() as u32 {
            return Err(());
        }
        // SAFETY: the buffer has at least `length` bytes (checked above).
        done(unsafe { bpf_skb_store_bytes(self.raw().cast(), 0, bytes.as_ptr().cast(), length, 0) })
    }

    /// Adds zeroed bytes in front of the Ethernet header.
    #[inline(always)]
    fn grow_head(&self, length: u32) -> Result<(), ()> {
        // SAFETY: as above; no pointer into the packet is kept.
        done(unsafe { bpf_skb_change_head(self.raw(), length, 0) })
    }

    /// The kernel's hash of the flow, computed if it is not known yet.
    #[inline(always)]
    fn flow_hash(&self) -> u32 {
        // SAFETY: as above.
        unsafe { bpf_get_hash_recalc(self.raw()) as u32 }
    }

    /// Forgets on which of the NIC's queues the packet was received: another interface may have fewer.
    #[inline(always)]
    fn forget_receive_queue(&self) {
        // SAFETY: as above; 0 is for none.
        unsafe { (*self.raw()).queue_mapping = 0 };
    }

    /// Cuts or pads the frame to this length.
    #[inline(always)]
    fn set_length(&self, length: u32) -> Result<(), ()> {
        // SAFETY: as above.
        done(unsafe { bpf_skb_change_tail(self.raw(), length, 0) })
    }

    /// Whether the frame, or each segment of a super-packet, fits an interface's MTU.
    #[inline(always)]
    fn fits(&self, ifindex: u32) -> bool {
        const EACH_SEGMENT: u64 = 1;
        let mut mtu = 0;
        let flags = if self.gso_size() == 0 {
            0
        } else {
            EACH_SEGMENT
        };
        // SAFETY: `mtu` is 4 bytes that the helper reads and writes.
        let answer = unsafe { bpf_check_mtu(self.raw().cast(), ifindex, &raw mut mtu, 0, flags) };
        // Below 0: no such interface, which the redirect finds out as well.
        answer <= 0
    }
}

impl Skb for TcContext {
    #[inline(always)]
    fn raw(&self) -> *mut __sk_buff {
        self.skb.skb
    }
}

#[inline(always)]
fn done(answer: impl Into<i64>) -> Result<(), ()> {
    if answer.into() == 0 { Ok(()) } else { Err(()) }
}

/// Sends the packet to a neighbour on an interface, with the Ethernet addresses from the kernel's neighbour table and
/// without a route look-up. `next_hop` lies in a map. Says what the helper said.
#[inline(always)]
pub(crate) fn redirect_to_neighbor(ifindex: u32, next_hop: &NextHop) -> i32 {
    const { assert!(size_of::<NextHop>() == size_of::<bpf_redir_neigh>()) };
    // SAFETY: the parameters have the kernel's form and are as long as is said; the helper reads them during the
    // call.
    let action = unsafe {
        bpf_redirect_neigh(
            ifindex,
            core::ptr::from_ref(next_hop).cast_mut().cast(),
            size_of::<bpf_redir_neigh>() as i32,
            0,
        )
    };
    action as i32
}
