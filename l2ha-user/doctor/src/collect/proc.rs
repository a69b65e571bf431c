//! Files of the kernel.

use std::path::Path;

/// A number in a file, if it can be read.
pub(super) fn number(path: &str) -> Option<u32> {
    read(path)?.parse().ok()
}

/// A file's text without blanks at its ends, if it can be read.
pub(super) fn read(path: impl AsRef<Path>) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned())
}
