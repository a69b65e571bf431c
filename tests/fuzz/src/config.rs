//! The configuration file: any text is read or refused with the line of each mistake.

use std::{fs, path::PathBuf, sync::LazyLock};

use config::{Config, Who};

static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = tempfile::Builder::new()
        .prefix("l2ha-fuzz-")
        .tempdir_in("/dev/shm")
        .expect("a folder in memory");
    folder.keep().join("l2ha.toml")
});

/// Plays bytes as an input; tells whether they are one.
pub fn run(text: &[u8]) -> bool {
    fs::write(&*FILE, text).expect("a file in memory");
    if let Err(errors) = Config::load(&FILE, &Who::default()) {
        assert!(!errors.to_string().is_empty());
    }
    true
}
