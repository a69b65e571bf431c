//! The machine that measures: what it is, how busy it was.

use std::{fmt, fs, io::IsTerminal as _};

use anyhow::{Context as _, Result};

use super::Effort;
use crate::host;

/// Says on standard error what is being measured: one line that changes on a terminal.
pub(super) fn progress(text: fmt::Arguments<'_>) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{text}");
    } else {
        eprintln!("{text}");
    }
}

/// The time all cores together have been busy, from /proc/stat.
pub(super) struct BusyTime(u64);

impl BusyTime {
    /// From now on.
    pub(super) fn now() -> Result<Self> {
        Ok(Self(busy(&fs::read_to_string("/proc/stat")?)?))
    }

    /// Seconds since then; exact to a hundredth for each core.
    pub(super) fn seconds(&self) -> Result<f64> {
        let now = Self::now()?.0;
        // USER_HZ is 100 on every architecture that Linux has BPF on.
        Ok(now.saturating_sub(self.0) as f64 / 100.0)
    }
}

/// user, nice, system, irq and softirq: neither idle, waiting, nor stolen.
fn busy(stat: &str) -> Result<u64> {
    let line = stat.lines().next().context("/proc/stat is empty")?;
    let numbers: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    Ok([0, 1, 2, 5, 6]
        .iter()
        .filter_map(|at| numbers.get(*at))
        .sum())
}

/// The machine, the kernel, the commit and the settings, in a line.
pub(super) fn describe(effort: Effort) -> Result<String> {
    Ok(format!(
        "{}: {}, commit {}; {} runs, TCP {} s, UDP {} ms each",
        host::date()?,
        host::machine()?,
        host::commit(),
        effort.runs,
        effort.tcp.as_secs(),
        effort.udp.as_millis(),
    ))
}

#[cfg(test)]
mod tests {
    use super::busy;

    #[test]
    fn idle_time_is_not_busy() {
        let stat = "cpu  1 2 4 1000 2000 8 16 3000 0 0\ncpu0 1\n";
        assert_eq!(busy(stat).ok(), Some(31));
        assert!(busy("cpu x").is_err());
    }
}
