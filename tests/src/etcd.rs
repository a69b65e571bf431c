//! An etcd in a host's namespace, as Debian has it.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;

use crate::{cloud::Host, lab::Lab, process::Process};

/// The port for its clients.
const PORT: u16 = 2379;

/// One member alone, without TLS.
#[derive(Debug)]
pub struct Etcd {
    host: Arc<Host>,
    data: PathBuf,
    log: PathBuf,
    process: Mutex<Option<Process>>,
}

impl Etcd {
    /// Starts one; returns when it answers.
    ///
    /// # Errors
    ///
    /// When it does not.
    #[track_caller]
    pub fn start(lab: &Lab, host: &Arc<Host>) -> Result<Self> {
        let etcd = Self {
            host: Arc::clone(host),
            data: lab.dir().join(format!("{}.etcd", host.name)),
            log: lab.dir().join(format!("{}.etcd.log", host.name)),
            process: Mutex::new(None),
        };
        etcd.run()?;
        Ok(etcd)
    }

    /// Where its clients find it.
    pub fn url(&self) -> String {
        format!("http://{}:{PORT}", self.host.v4)
    }

    /// Starts it again, with what it had.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    #[track_caller]
    pub fn run(&self) -> Result<()> {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)?;
        let mut command = Command::new("etcd");
        command
            .args([
                "--name",
                &self.host.name,
                "--log-level",
                "warn",
                "--logger",
                "zap",
            ])
            .arg("--data-dir")
            .arg(&self.data)
            .args([
                "--listen-client-urls",
                &self.url(),
                "--advertise-client-urls",
                &self.url(),
            ])
            .args(["--listen-peer-urls", "http://127.0.0.1:2380"])
            // What it holds need not outlive the machine.
            .arg("--unsafe-no-fsync")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let process = self
            .host
            .ns
            .spawn(command)
            .context("etcd cannot be started")?;
        *self.process() = Some(process.clone());
        process.wait_for("etcd", || self.ctl(&["endpoint", "health"]).map(Some))?;
        Ok(())
    }

    /// Asks it by its own command.
    ///
    /// # Errors
    ///
    /// When that fails; the text has what it said.
    pub fn ctl(&self, words: &[&str]) -> Result<String> {
        let url = self.url();
        let mut all = vec!["env", "ETCDCTL_API=3", "etcdctl", "--endpoints", &url];
        all.extend(words);
        self.host.ns.run(all)
    }

    /// Kills it; what it had stays.
    pub fn kill(&self) {
        if let Some(process) = self.process().take() {
            process.kill();
        }
    }

    /// Kills it, and all that it had is gone.
    ///
    /// # Errors
    ///
    /// When its files cannot be removed.
    pub fn wipe(&self) -> Result<()> {
        self.kill();
        fs::remove_dir_all(&self.data).context("etcd's files cannot be removed")
    }

    /// Stops it in its place, or lets it go on.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn freeze(&self, frozen: bool) -> Result<()> {
        let process = self.process();
        let signal = match frozen {
            true => Signal::SIGSTOP,
            false => Signal::SIGCONT,
        };
        process
            .as_ref()
            .context("etcd does not run")?
            .signal(signal)
    }

    fn process(&self) -> std::sync::MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill();
    }
}
