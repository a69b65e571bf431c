//! The inputs that the fuzzer kept, once more: of a large corpus every n-th, and all of them where `L2HA_DEEP=1`.

use std::{fs, panic};

use l2ha_lab::{corpus, is_deep};

/// Inputs that are played in a second or two, of most targets.
const QUICK: usize = 500;
/// Each is a network of two for minutes or hours of its time.
const SLOW: usize = 125;

/// Plays a target's inputs, so many of them at most where not all are; one that fails is written where `cargo xtask fuzz --replay` finds it.
fn replay(target: &str, run: fn(&[u8]) -> bool, most: usize) {
    let inputs = corpus::inputs(target).expect("an archive");
    assert!(!inputs.is_empty(), "no inputs");
    let step = match is_deep() {
        true => 1,
        false => inputs.len().div_ceil(most),
    };
    let mut played = 0;
    let mut failed = Vec::new();
    for (name, bytes) in inputs.iter().step_by(step) {
        played += 1;
        if panic::catch_unwind(|| run(bytes)).is_err() {
            let folder = l2ha_lab::target_dir().join("fuzz-failures");
            fs::create_dir_all(&folder).expect("a folder");
            let file = folder.join(format!("{target}-{name}"));
            fs::write(&file, bytes).expect("a file");
            failed.push(file);
        }
    }
    println!("{target}: played {played} of {} inputs", inputs.len());
    assert!(
        failed.is_empty(),
        "failed, and fail again by `cargo xtask fuzz --replay FILE {target}`: {failed:?}"
    );
}

#[test]
fn bfd_auth() {
    replay("bfd_auth", l2ha_fuzz::bfd_auth::run, QUICK);
}

#[test]
fn bfd_session() {
    replay("bfd_session", l2ha_fuzz::bfd_session::run, QUICK);
}

#[test]
fn l2tp_header() {
    replay("l2tp_header", l2ha_fuzz::l2tp_header::run, QUICK);
}

#[test]
fn ospfv3_packet() {
    replay("ospfv3_packet", l2ha_fuzz::ospfv3_packet::run, QUICK);
}

#[test]
fn ospfv3_speaker() {
    replay("ospfv3_speaker", l2ha_fuzz::ospfv3_speaker::run, SLOW);
}

#[cfg(feature = "daemon")]
#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn dataplane() {
    replay("dataplane", l2ha_fuzz::dataplane::run, QUICK);
}
