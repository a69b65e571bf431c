//! Standard output, whose reader may go away at any time (`l2ha status | head -1`).

use std::io::{self, Write as _};

use anyhow::Result;
use serde::Serialize;

/// Prints text and a line end.
///
/// # Errors
///
/// When the output cannot be written; a reader that went away is such an error, and
/// [`is_closed_pipe`] tells it.
pub(super) fn line(text: &str) -> Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes())?;
    output.write_all(b"\n")?;
    Ok(output.flush()?)
}

/// Prints a value as JSON, on several lines for people.
///
/// # Errors
///
/// As [`line()`].
pub(super) fn json(value: &impl Serialize) -> Result<()> {
    line(&serde_json::to_string_pretty(value)?)
}

/// Prints text and a line end to standard error, for people only: when nobody reads it any more,
/// that is no reason to stop (`eprintln!` would panic).
pub(super) fn error(text: &str) {
    let _ = io::stderr()
        .lock()
        .write_all(format!("{text}\n").as_bytes());
}

/// Whether the reader went away, which is no failure: it has seen what it wanted.
pub(super) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
