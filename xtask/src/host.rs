//! What a figure is worth depends on: the machine, the commit, the day.

use std::{fs, process::Command};

use anyhow::Result;

use crate::cmd::{output, root};

/// Cores, processor and kernel.
pub(crate) fn machine() -> Result<String> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .and_then(|rest| rest.split_once(':'))
        .map_or("unknown processor", |(_, name)| name.trim());
    let cores = std::thread::available_parallelism()?;
    Ok(format!("{cores} cores of {model}, Linux {}", kernel.trim()))
}

/// The commit that is checked out; `-dirty` if it was changed since.
pub(crate) fn commit() -> String {
    output(Command::new("git").current_dir(root()).args([
        "describe",
        "--always",
        "--dirty",
        "--exclude=*",
    ]))
    .map_or_else(|_| "unknown".to_owned(), |said| said.trim().to_owned())
}

/// The day, by UTC.
pub(crate) fn date() -> Result<String> {
    let said = output(Command::new("date").args(["--utc", "+%Y-%m-%d"]))?;
    Ok(said.trim().to_owned())
}
