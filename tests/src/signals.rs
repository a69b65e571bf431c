//! Ctrl-C and SIGTERM end a lab in order: it has to take its namespaces along.

use std::{
    io::{IsTerminal as _, stdin},
    os::fd::AsFd as _,
    process::exit,
    sync::{Once, atomic::Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
};

use crate::{sweep, wait::INTERRUPTED};

/// How long a test may take to end in order after a signal: less than nextest waits until it kills.
const IN_ORDER: Duration = Duration::from_secs(8);
/// How often it is looked whether a signal has come.
const LOOK: Duration = Duration::from_millis(100);

extern "C" fn interrupted(_signal: nix::libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// From now on SIGINT and SIGTERM are noted instead of ending the process. Programs started later
/// have their own handling: exec(2) resets it.
///
/// # Errors
///
/// When the kernel refuses, which it does not for these signals.
pub fn catch() -> Result<()> {
    let action = SigAction::new(
        SigHandler::Handler(interrupted),
        SaFlags::empty(),
        SigSet::empty(),
    );
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        // SAFETY: the handler only stores to an atomic, which is async-signal-safe.
        unsafe { sigaction(signal, &action) }.with_context(|| format!("cannot catch {signal}"))?;
    }
    Ok(())
}

/// As [`catch`], once in this process; and a test that has not ended some seconds after the signal is ended, with all
/// that it has made.
pub(crate) fn end_in_time() {
    static CAUGHT: Once = Once::new();
    CAUGHT.call_once(|| {
        if let Err(error) = catch() {
            eprintln!("lab: {error:#}");
            return;
        }
        thread::spawn(|| {
            while !came() {
                thread::sleep(LOOK);
            }
            thread::sleep(IN_ORDER);
            eprintln!("lab: not ended {IN_ORDER:?} after a signal: removing what there is");
            sweep::own();
            exit(1);
        });
    });
}

/// Whether one of them has come.
pub fn came() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Waits for one of them, or for Enter where there is a terminal.
pub(crate) fn wait() {
    let stdin = stdin();
    while !came() {
        if stdin.is_terminal() {
            let mut wait = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
            let timeout = PollTimeout::try_from(LOOK).unwrap_or(PollTimeout::ZERO);
            if poll(&mut wait, timeout).is_ok_and(|ready| ready > 0) {
                // Enter, or the end of the input.
                let _ = stdin.read_line(&mut String::new());
                return;
            }
        } else {
            thread::sleep(LOOK);
        }
    }
}
