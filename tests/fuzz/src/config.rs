//! The configuration file: any text is read or refused with the line of each mistake.
#![no_main]

use std::{fs, path::PathBuf, sync::LazyLock};

use config::Config;
use libfuzzer_sys::fuzz_target;

static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = tempfile::Builder::new()
        .prefix("l2ha-fuzz-")
        .tempdir_in("/dev/shm")
        .expect("a folder in memory");
    folder.keep().join("l2ha.toml")
});

fuzz_target!(|text: &[u8]| {
    fs::write(&*FILE, text).expect("a file in memory");
    if let Err(errors) = Config::load(&FILE) {
        assert!(!errors.to_string().is_empty());
    }
});
