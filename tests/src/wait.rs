//! Waiting for something to be so, and giving up in order.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// Set by a signal: whatever waits gives up, so that labs end in order.
pub(crate) static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Asks `question` every few milliseconds until it has an answer.
///
/// # Errors
///
/// After `timeout`, naming `what`, with the last error of the question if it had one.
pub fn wait_for<T>(
    what: &str,
    timeout: Duration,
    mut question: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        if INTERRUPTED.load(Ordering::Relaxed) {
            bail!("interrupted while waiting for: {what}");
        }
        let answer = question();
        match answer {
            Ok(Some(answer)) => return Ok(answer),
            _ if start.elapsed() < timeout => std::thread::sleep(Duration::from_millis(20)),
            Ok(None) => bail!("{what}: not within {:.1} s", timeout.as_secs_f32()),
            Err(error) => {
                return Err(
                    error.context(format!("{what}: not within {:.1} s", timeout.as_secs_f32()))
                );
            }
        }
    }
}
