//! What inputs that nobody thought of are played to: each module is a target.
//!
//! libFuzzer plays them in programs of their own (`cargo xtask fuzz`); those that it kept are played again by the
//! test `replay`, in the ordinary build.

pub mod bfd_auth;
pub mod bfd_session;
#[cfg(feature = "daemon")]
pub mod config;
#[cfg(feature = "daemon")]
pub mod dataplane;
pub mod l2tp_header;
mod ospf_checksum;
pub mod ospfv3_packet;
pub mod ospfv3_speaker;
mod session;

use arbitrary::{Arbitrary, Unstructured};

/// Reads an input as libFuzzer's macro does and plays it; tells whether the bytes are one.
fn play<'a, T: Arbitrary<'a>>(bytes: &'a [u8], play: impl FnOnce(T)) -> bool {
    if bytes.len() < T::size_hint(0).0 {
        return false;
    }
    let input = T::arbitrary_take_rest(Unstructured::new(bytes));
    input.map(play).is_ok()
}
