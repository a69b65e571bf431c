//! A program the lab started: watched, signalled by its pid, and ended with the lab.

use std::{
    panic::Location,
    process::{Child, ExitStatus},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::wait::{PATIENCE, wait_for};

/// A started program. Clones stand for the same one.
#[derive(Debug, Clone)]
pub struct Process {
    command: String,
    child: Arc<Mutex<Child>>,
}

impl Process {
    /// Takes a started child in charge.
    pub(crate) fn new(command: String, child: Child) -> Self {
        Self {
            command,
            child: Arc::new(Mutex::new(child)),
        }
    }

    /// The command that was run.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child().id()
    }

    /// The child itself, for its pipes.
    pub fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it has not ended yet.
    pub fn is_running(&self) -> bool {
        matches!(self.child().try_wait(), Ok(None))
    }

    /// Waits until `question` has an answer, and gives up at once when the program has ended.
    ///
    /// # Errors
    ///
    /// As [`wait_for`], and when it has ended.
    #[track_caller]
    pub fn wait_for<T>(
        &self,
        what: &str,
        mut question: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let place = Location::caller();
        let ended = || format!("{what}: {} has ended, at {place}", self.command);
        wait_for(what, PATIENCE, || {
            // Before the question: an answer may be the last thing that it did.
            let running = self.is_running();
            match question() {
                Ok(Some(answer)) => Ok(Some(Ok(answer))),
                Err(error) if !running => Ok(Some(Err(error.context(ended())))),
                Ok(None) if !running => Ok(Some(Err(anyhow!(ended())))),
                Err(error) => Err(error),
                Ok(None) => Ok(None),
            }
        })?
    }

    /// Sends a signal.
    ///
    /// # Errors
    ///
    /// When the program has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let mut child = self.child();
        // While the child is not waited for, its pid cannot be another's.
        if let Some(status) = child.try_wait()? {
            bail!("{} has ended already ({status})", self.command);
        }
        let pid = Pid::from_raw(i32::try_from(child.id())?);
        kill(pid, signal).with_context(|| format!("cannot send {signal} to {}", self.command))
    }

    /// Waits for the end.
    ///
    /// # Errors
    ///
    /// When it does not come in time.
    #[track_caller]
    pub fn wait(&self, timeout: Duration) -> Result<ExitStatus> {
        let place = Location::caller();
        let until = Instant::now() + timeout;
        loop {
            if let Some(status) = self.child().try_wait()? {
                return Ok(status);
            }
            if Instant::now() > until {
                bail!(
                    "{} still runs after {} ms, at {place}",
                    self.command,
                    timeout.as_millis()
                );
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Asks it to end with SIGTERM and waits.
    ///
    /// # Errors
    ///
    /// When it does not end in time; it is then killed.
    #[track_caller]
    pub fn terminate(&self, timeout: Duration) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.wait(timeout).inspect_err(|_| self.kill())
    }

    /// Ends it with SIGKILL and waits. Nothing happens when it has ended already.
    pub fn kill(&self) {
        let mut child = self.child();
        if matches!(child.try_wait(), Ok(None)) {
            // It may end by itself in between, which is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
