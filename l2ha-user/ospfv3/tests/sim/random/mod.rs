//! Networks of real speakers in virtual time, each drawn and ill-treated from a seed.
//!
//! A seed gives the topology (point-to-point links and Ethernets), and twice in a row a time of
//! loss, reordering, duplication, cut links and partitions, crashes, restarts and clock jumps,
//! followed by quiet. After each quiet the whole network is checked (see `check`). The same seed and
//! number of routers always play the same. Every fourth seed routes IPv4.

mod check;
pub(crate) mod cluster;
mod play;

use std::panic;

/// Seeds of 20 routers that have failed once.
pub(crate) const FOUND: [u64; 52] = [
    426, 1892, 1954, 2289, 2759, 3578, 3961, 4860, 5277, 7476, 8280, 8542, 9303, 9563, 9782, 9792,
    9830, 9857, 10_380, 10_493, 11_377, 11_393, 11_407, 11_408, 11_802, 12_092, 12_220, 13_115,
    13_119, 14_731, 16_511, 16_814, 17_452, 18_835, 19_582, 19_684, 22_245, 38_840, 42_033, 42_777,
    43_491, 49_312, 50_149, 50_292, 50_420, 50_842, 53_371, 1_005_420, 1_008_792, 1_010_858,
    1_065_487, 1_094_581,
];

/// Plays a seed. A digest of all that was sent and of the end, or what is wrong there and the
/// command that plays it once more and prints what happens.
pub(crate) fn play(seed: u64, routers: usize, verbose: bool) -> Result<u64, String> {
    panic::catch_unwind(|| play::play(seed, routers, verbose))
        .unwrap_or_else(|_| Err("the speaker panicked".to_owned()))
        .map_err(|why| {
            format!(
                "seed {seed}: {why}\n  again: cargo run --release -p ospfv3 --example simulate -- \
                 --seed {seed} --routers {routers}"
            )
        })
}
