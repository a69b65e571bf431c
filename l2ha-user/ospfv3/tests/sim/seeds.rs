//! Random networks in every run of the tests; `examples/simulate.rs` plays more of them.

use crate::random::{FOUND, cluster, play};

fn play_all(seeds: impl IntoIterator<Item = u64>) {
    let failed: Vec<String> = seeds
        .into_iter()
        .filter_map(|seed| play(seed, 20, false).err())
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn seeds_that_failed_once() {
    play_all(FOUND.into_iter().step_by(2));
}

#[test]
fn more_seeds_that_failed_once() {
    play_all(FOUND.into_iter().skip(1).step_by(2));
}

#[test]
fn other_seeds() {
    play_all(1..=20);
}

fn clusters(seeds: impl IntoIterator<Item = u64>) {
    let failed: Vec<String> = seeds
        .into_iter()
        .filter_map(|seed| cluster::play(seed).err())
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn clusters_of_forty() {
    clusters(1..=2);
}

#[test]
fn deep_clusters_of_forty() {
    clusters(3..=40);
}
