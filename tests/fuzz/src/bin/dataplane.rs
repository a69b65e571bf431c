//! The target `dataplane` for libFuzzer.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    match l2ha_fuzz::dataplane::run(bytes) {
        true => Corpus::Keep,
        false => Corpus::Reject,
    }
});
