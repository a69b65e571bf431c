//! The target `l2tp_header` for libFuzzer.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    match l2ha_fuzz::l2tp_header::run(bytes) {
        true => Corpus::Keep,
        false => Corpus::Reject,
    }
});
