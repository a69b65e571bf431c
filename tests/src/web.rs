//! A web server in a process of its own, which can be killed, hang, and come back: busybox's.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;

use crate::{cloud::Host, http::PORT, lab::Lab, process::Process};

/// The web server of a host: answers every request for `/` with the host's name.
#[derive(Debug)]
pub struct WebServer {
    host: Arc<Host>,
    folder: PathBuf,
    process: Mutex<Option<Process>>,
}

impl WebServer {
    /// Prepares one, which does not run yet.
    ///
    /// # Errors
    ///
    /// When its page cannot be written.
    pub fn new(lab: &Lab, host: &Arc<Host>) -> Result<Self> {
        let folder = lab.dir().join(format!("{}.web", host.name));
        fs::create_dir_all(&folder)?;
        let page = folder.join("index.html");
        fs::write(&page, format!("{}\n", host.name))
            .with_context(|| format!("cannot write {}", page.display()))?;
        Ok(Self {
            host: Arc::clone(host),
            folder,
            process: Mutex::new(None),
        })
    }

    /// Starts it, in place of one that may run.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn run(&self) -> Result<()> {
        self.kill();
        let mut command = Command::new("busybox");
        command
            .args(["httpd", "-f", "-p", &PORT.to_string(), "-h"])
            .arg(&self.folder)
            .stdin(Stdio::null());
        let process = self.host.ns.spawn(command)?;
        *self.process() = Some(process);
        Ok(())
    }

    /// Kills it (SIGKILL), if it runs.
    pub fn kill(&self) {
        if let Some(process) = self.process().take() {
            process.kill();
        }
    }

    /// It hangs (SIGSTOP): its kernel goes on taking connections, as many as fit.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn hang(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// It goes on after it hung.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn go_on(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let process = self.process();
        let process = process.as_ref().context("the web server does not run")?;
        process.signal(signal)
    }

    fn process(&self) -> std::sync::MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
