//! The log: lines on standard error, for a terminal or a journal.

mod queue;

use std::io::{self, IsTerminal as _};

use anyhow::{Context as _, Result, anyhow};
use tracing_subscriber::EnvFilter;

use self::queue::Queue;

/// The crates whose words `l2ha=LEVEL` is about.
const PARTS: [&str; 9] = [
    "l2ha",
    "config",
    "control",
    "dataplane",
    "doctor",
    "health",
    "linux",
    "node",
    "routing",
];

/// The running log; what waits is written when it is dropped.
pub(super) struct Log(Queue);

impl Log {
    /// How to learn how many lines were lost.
    pub(super) fn lost(&self) -> node::LostLines {
        let queue = self.0.clone();
        Box::new(move || queue.lost())
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.0.finish();
    }
}

/// Starts the log. `level` is one of error, warn, info, debug and trace, or a filter such as
/// `info,l2ha::routing=debug`.
///
/// # Errors
///
/// When `level` is neither.
pub(super) fn start(level: &str) -> Result<Log> {
    let filter = EnvFilter::try_new(targets(level))
        .map_err(|error| anyhow!("--log {level}: {error}; write, as an example, --log debug"))?;
    let terminal = io::stderr().is_terminal();
    let queue = Queue::start(io::stderr()).context("cannot start the log")?;
    let log = Log(queue.clone());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || queue.clone())
        .with_ansi(terminal)
        // A log that nobody reads any more, as after a restart of the journal, is no reason to
        // stop: the subscriber would report it with `eprintln!`, which panics then.
        .log_internal_errors(false)
        .try_init()
        .map_err(|error| anyhow!("cannot start the log: {error}"))?;
    Ok(log)
}

/// Whether `level` can be understood, for the command line's parser.
pub(super) fn parse(level: &str) -> Result<String, String> {
    // A lone word that is no level would be taken for a module's name, and nothing be logged.
    let words = level.split(',').filter(|word| !word.contains('='));
    for word in words {
        if !["error", "warn", "info", "debug", "trace", "off"].contains(&word) {
            return Err(
                "write error, warn, info, debug or trace, or module=level, with commas".to_owned(),
            );
        }
    }
    EnvFilter::try_new(targets(level))
        .map(|_| level.to_owned())
        .map_err(|error| error.to_string())
}

/// The filter in terms of the crates that the parts of the daemon are: `l2ha::routing` is the crate
/// `routing`, and `l2ha` all of them.
fn targets(level: &str) -> String {
    let words = level
        .split(',')
        .map(|word| match word.strip_prefix("l2ha") {
            Some(part) if part.starts_with("::") => {
                let part = &part[2..];
                let end = part.find([':', '=', '[']).unwrap_or(part.len());
                let (name, rest) = part.split_at(end);
                // Parts that were named otherwise before they were crates.
                let name = match name {
                    "bfd" => "routing::bfd",
                    "cli" => "l2ha::cli",
                    "daemon" => "node",
                    "netlink" => "linux",
                    same => same,
                };
                format!("{name}{rest}")
            }
            Some(rest) if rest.starts_with(['=', '[']) => {
                let parts = PARTS.map(|part| format!("{part}{rest}"));
                parts.join(",")
            }
            _ => word.to_owned(),
        });
    words.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_filters_are_understood() {
        for good in ["info", "debug", "info,l2ha::routing=debug", "l2ha=trace"] {
            assert_eq!(parse(good).as_deref(), Ok(good));
        }
        assert_eq!(targets("info,l2ha::routing=debug"), "info,routing=debug");
        assert_eq!(targets("l2ha::routing::bfd=debug"), "routing::bfd=debug");
        assert_eq!(targets("l2ha::cli=debug"), "l2ha::cli=debug");
        assert_eq!(targets("debug,node=trace"), "debug,node=trace");
        assert!(targets("l2ha=trace").contains(",node=trace,"));
        for bad in ["verbose", "", "l2ha=loud", "info,netlink"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
