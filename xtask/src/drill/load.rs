//! Processes that keep every core busy.

use std::{
    process::{Child, Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result};

/// Never ends.
const BUSY: &str = "while :; do :; done";

/// What keeps the cores busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kind {
    /// Ordinary processes
    Ordinary,
    /// Processes of the real-time class SCHED_FIFO, priority 1
    RealTime,
}

/// The processes; dropping it ends them.
pub(super) struct Load(Vec<Child>);

impl Load {
    /// Starts one for each core.
    pub(super) fn start(kind: Kind) -> Result<Self> {
        let command = match kind {
            Kind::Ordinary => &["sh", "-c", BUSY][..],
            Kind::RealTime => &["chrt", "--fifo", "1", "sh", "-c", BUSY],
        };
        let [program, arguments @ ..] = command else {
            unreachable!("both begin with a program");
        };
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let mut load = Self(Vec::new());
        for _ in 0..cores {
            let child = Command::new(program)
                .args(arguments)
                .stdin(Stdio::null())
                .spawn()
                .context("cannot start a busy process")?;
            load.0.push(child);
        }
        Ok(load)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // It may have been killed by somebody else.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
