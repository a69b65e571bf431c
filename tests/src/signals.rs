//! Ctrl-C and SIGTERM end a show in order: the lab has to take its namespaces along.

use std::sync::atomic::Ordering;

use anyhow::{Context as _, Result};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use crate::wait::INTERRUPTED;

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

/// Whether one of them has come.
pub fn came() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}
