//! Which processor a thread runs on.

use anyhow::{Context as _, Result};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

/// The processors that this thread may use; the first has most of the machine's other work.
///
/// # Errors
///
/// When the kernel does not say, which it does.
pub fn cores() -> Result<Vec<usize>> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..CpuSet::count())
        .filter(|core| allowed.is_set(*core).unwrap_or(false))
        .collect())
}

/// Keeps the calling thread on one processor from now on.
///
/// # Errors
///
/// When it may not use that.
pub fn stay_on(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &set)
        .with_context(|| format!("cannot stay on processor {core}"))
}

/// The same with the last one that it may use.
///
/// # Errors
///
/// As there.
pub fn stay_on_last_core() -> Result<()> {
    stay_on(*cores()?.last().context("no processor")?)
}
