//! Waiting for something to be so, and giving up in order.

use std::{
    panic::Location,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};

/// Set by a signal: every wait gives up, so that labs end in order.
pub(crate) static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// How long something may take to come about that has no time of its own: however busy the machine is, it is there
/// by then, or never.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The least time between two questions.
const PAUSE: Duration = Duration::from_millis(20);
/// Rest after a question, in times of what it took: a question is a process or more, and labs share the processors.
const REST: u32 = 3;

/// Asks `question` every few milliseconds until it has an answer. A question that has none yet says by an error what
/// it has seen.
///
/// # Errors
///
/// After `timeout`, naming `what`, the file and the line of the caller, and what was seen last.
#[track_caller]
pub fn wait_for<T>(
    what: &str,
    timeout: Duration,
    mut question: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let place = Location::caller();
    let start = Instant::now();
    let mut seen = None;
    loop {
        let asked = Instant::now();
        match question() {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => {}
            Err(error) => seen = Some((error, asked)),
        }
        let interrupted = INTERRUPTED.load(Ordering::Relaxed);
        if interrupted || start.elapsed() >= timeout {
            let text = match interrupted {
                true => format!("{what}: interrupted, at {place}"),
                false => format!(
                    "{what}: not within {:.1} s, at {place}",
                    timeout.as_secs_f32()
                ),
            };
            return Err(match seen {
                Some((error, at)) if at == asked => error.context(text),
                Some((error, at)) => error.context(format!(
                    "{text}; seen last, {:.1} s before the end",
                    at.elapsed().as_secs_f32()
                )),
                None => anyhow!("{text}; nothing was seen"),
            });
        }
        thread::sleep((asked.elapsed() * REST).max(PAUSE));
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn a_wait_that_fails_names_its_caller_and_what_was_seen() {
        let short = Duration::from_millis(50);
        let line = line!() + 1;
        let error = wait_for::<()>("the door", short, || bail!("it is shut")).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains(&format!("wait.rs:{line}:")), "{text}");
        assert!(text.starts_with("the door: not within 0.1 s"), "{text}");
        assert!(text.ends_with(": it is shut"), "{text}");

        // What an earlier question has seen is said, too.
        let mut asked = 0;
        let error = wait_for::<()>("the door", short, || {
            asked += 1;
            if asked == 1 {
                bail!("it is shut")
            } else {
                Ok(None)
            }
        });
        let text = format!("{:#}", error.unwrap_err());
        assert!(
            text.contains("seen last") && text.ends_with(": it is shut"),
            "{text}"
        );
    }
}
