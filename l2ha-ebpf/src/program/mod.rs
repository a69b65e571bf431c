//! The programs: one file for each thing that is done to a packet.

mod atomic;
pub(crate) mod checksum;
mod congestion;
pub(crate) mod decap_tc;
pub(crate) mod decap_xdp;
mod detour;
pub(crate) mod encap;
pub(crate) mod hand_on;
pub(crate) mod hidden;
mod maps;
mod sequence;
mod skb;
pub(crate) mod verdict;
mod watch;
