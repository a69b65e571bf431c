//! What the kernel programs and the daemon share: map types, header views, drop reasons, and the
//! decisions about a packet, which are tested on the host.
#![no_std]

pub mod abi;
pub mod congestion;
pub mod inner;
pub mod inspect;
pub mod outer;
pub mod packet;
#[cfg(not(target_arch = "bpf"))]
pub mod plan;
pub mod reason;
pub mod sequence;
pub mod wire;
