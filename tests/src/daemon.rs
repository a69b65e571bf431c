//! The daemon under test, driven as a user would: the built binary, its command line, its signals.

use std::{
    ffi::OsStr,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    capture::Capture,
    config::{BFD_KEY, NodeConfig, secret_file},
    lab::{Lab, PATIENCE, Resident, wait_for},
    process::Process,
    routing::LsaKey,
    views,
};

/// A node's daemon: running, or stopped for a while.
#[derive(Debug)]
pub struct Daemon {
    config: Mutex<NodeConfig>,
    binary: PathBuf,
    file: PathBuf,
    log: PathBuf,
    process: Mutex<Option<Process>>,
}

impl Daemon {
    /// Writes the configuration and starts the daemon in its host's namespace; returns when its
    /// control socket answers.
    ///
    /// # Errors
    ///
    /// When the binary is not built, or the daemon ends or does not answer in time; the text has
    /// the end of its log.
    #[track_caller]
    pub fn start(lab: &Lab, config: NodeConfig) -> Result<Arc<Self>> {
        let daemon = Self::prepare(lab, config)?;
        daemon.run()?;
        Ok(daemon)
    }

    /// As [`Daemon::start`], without starting it yet.
    ///
    /// # Errors
    ///
    /// When the configuration cannot be written.
    pub fn prepare(lab: &Lab, config: NodeConfig) -> Result<Arc<Self>> {
        let host = &config.host.name;
        let daemon = Self {
            binary: lab.binary()?,
            file: lab.dir().join(format!("{host}.toml")),
            log: lab.dir().join(format!("{host}.log")),
            process: Mutex::new(None),
            config: Mutex::new(config),
        };
        write(&daemon.file, &daemon.config())?;
        if daemon.config().ospf.is_some() {
            Capture::of_heard(lab, &daemon.config().host)?;
        }
        Ok(lab.adopt(daemon))
    }

    /// Starts the daemon, also again after [`Daemon::stop`] or [`Daemon::kill`], and waits until it
    /// answers.
    ///
    /// # Errors
    ///
    /// As [`Daemon::start`].
    #[track_caller]
    pub fn run(&self) -> Result<()> {
        let mark = self.log_mark();
        let process = self.spawn()?;
        *self.process() = Some(process.clone());
        let what = format!("the daemon of {}", self.config().host.name);
        process
            .wait_for(&what, || self.status().map(Some))
            .with_context(|| format!("its log: {}", tail(&self.log_since(mark))))?;
        Ok(())
    }

    fn spawn(&self) -> Result<Process> {
        let output = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)?;
        let mut command = Command::new(&self.binary);
        command
            .arg("run")
            .arg("--config")
            .arg(&self.file)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        self.config().host.ns.spawn(command)
    }

    /// What it is configured as.
    pub fn config(&self) -> MutexGuard<'_, NodeConfig> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The `l2ha` that is run.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// The configuration file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The process id of the running daemon.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn pid(&self) -> Result<u32> {
        let process = self.process();
        let process = process.as_ref().context("the daemon does not run")?;
        ensure!(process.is_running(), "the daemon has ended");
        Ok(process.pid())
    }

    /// Runs a subcommand of `l2ha` against this daemon and returns its standard output.
    ///
    /// # Errors
    ///
    /// When it does not exit with 0; the text has what it said.
    pub fn l2ha<S: AsRef<OsStr>>(&self, words: &[S]) -> Result<String> {
        crate::command::output(&mut self.command(words)?)
    }

    /// A subcommand of `l2ha` that asks this daemon, to be run in its host's namespace.
    ///
    /// # Errors
    ///
    /// When the namespace is gone.
    pub fn command<S: AsRef<OsStr>>(&self, words: &[S]) -> Result<Command> {
        let config = self.config();
        let mut command = Command::new(&self.binary);
        command
            .args(words)
            .arg("--socket")
            .arg(config.socket())
            .stdin(Stdio::null());
        config.host.ns.place(&mut command)?;
        Ok(command)
    }

    /// `l2ha status --json`.
    ///
    /// # Errors
    ///
    /// When the daemon does not answer.
    pub fn status(&self) -> Result<Value> {
        self.json(&["status", "--json"])
    }

    /// Its Router ID.
    ///
    /// # Errors
    ///
    /// When it does not answer, or speaks no OSPF.
    pub fn router_id(&self) -> Result<Ipv4Addr> {
        let status = self.status()?;
        let id = status["ospf"]["router_id"].as_str();
        Ok(id.context("this daemon has no Router ID")?.parse()?)
    }

    /// `l2ha ospf <view> --json`.
    ///
    /// # Errors
    ///
    /// When the daemon does not answer.
    pub fn ospf(&self, view: &str) -> Result<Value> {
        self.json(&["ospf", view, "--json"])
    }

    /// The sessions of `l2ha bfd`.
    ///
    /// # Errors
    ///
    /// When the daemon does not answer.
    pub fn bfd_sessions(&self) -> Result<Vec<Value>> {
        let answer: Value = serde_json::from_str(&self.l2ha(&["bfd", "--json"])?)?;
        Ok(answer["sessions"].as_array().cloned().unwrap_or_default())
    }

    /// The router ids of the neighbours in state Full.
    ///
    /// # Errors
    ///
    /// When the daemon does not answer.
    pub fn full_neighbours(&self) -> Result<Vec<Ipv4Addr>> {
        views::full_neighbours(&self.ospf("neighbors")?)
    }

    /// Those of the instance that routes IPv4.
    ///
    /// # Errors
    ///
    /// When the daemon does not answer.
    pub fn full_neighbours_ipv4(&self) -> Result<Vec<Ipv4Addr>> {
        views::full_neighbours_of(&self.ospf("neighbors")?, "ipv4")
    }

    /// That of the instance that routes IPv4.
    ///
    /// # Errors
    ///
    /// When the daemon does not answer.
    pub fn database_ipv4(&self) -> Result<Vec<LsaKey>> {
        views::database_of(&self.ospf("database")?, "ipv4")
    }

    /// The link state database.
    ///
    /// # Errors
    ///
    /// When the daemon does not answer.
    pub fn database(&self) -> Result<Vec<LsaKey>> {
        views::database(&self.ospf("database")?)
    }

    /// What a subcommand prints as JSON; `status` does so also when it exits with 1 because
    /// something is wrong.
    fn json(&self, words: &[&str]) -> Result<Value> {
        let output = self.command(words)?.output()?;
        serde_json::from_slice(&output.stdout).with_context(|| {
            format!(
                "l2ha {} says {}{}",
                words.join(" "),
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            )
        })
    }

    /// Sends a signal to the daemon.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let process = self.process();
        process
            .as_ref()
            .context("the daemon does not run")?
            .signal(signal)
    }

    /// Ends the daemon with SIGTERM, as a service manager would.
    ///
    /// # Errors
    ///
    /// When it does not end in time or not with 0.
    pub fn stop(&self) -> Result<()> {
        let process = self.process().take().context("the daemon does not run")?;
        let status = process.terminate(PATIENCE)?;
        if !status.success() {
            bail!(
                "the daemon ended with {status}: {}",
                tail(&self.log_since(0))
            );
        }
        Ok(())
    }

    /// Ends the daemon with SIGUSR1: for a restart, with everything left in its place.
    ///
    /// # Errors
    ///
    /// When it does not end in time or not with 0.
    pub fn leave(&self) -> Result<()> {
        let process = self.process().take().context("the daemon does not run")?;
        process.signal(Signal::SIGUSR1)?;
        let status = process.wait(PATIENCE).inspect_err(|_| process.kill())?;
        ensure!(
            status.success(),
            "the daemon ended with {status}: {}",
            tail(&self.log_since(0))
        );
        Ok(())
    }

    /// Ends the daemon with SIGKILL: it cannot clean up.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn kill(&self) -> Result<()> {
        let process = self.process().take().context("the daemon does not run")?;
        process.kill();
        Ok(())
    }

    /// Changes the configuration and writes the file; the daemon reads it when it is started, or
    /// on SIGHUP.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn reconfigure(&self, change: impl FnOnce(&mut NodeConfig)) -> Result<()> {
        let mut config = self.config();
        change(&mut config);
        write(&self.file, &config)
    }

    /// Changes the configuration and has the daemon read it; returns when the daemon says that it has.
    ///
    /// # Errors
    ///
    /// When it does not say so; the text has what it says instead.
    #[track_caller]
    pub fn reload(&self, change: impl FnOnce(&mut NodeConfig)) -> Result<()> {
        let mark = self.log_mark();
        self.reconfigure(change)?;
        self.signal(Signal::SIGHUP)?;
        let what = format!("a reload of {}", self.config().host.name);
        wait_for(&what, PATIENCE, || {
            let said = self.log_since(mark);
            ensure!(
                said.contains("configuration reloaded"),
                "its log says {}",
                tail(&said)
            );
            Ok(Some(()))
        })
    }

    /// Where the log ends now, for [`Daemon::log_since`].
    pub fn log_mark(&self) -> usize {
        fs::metadata(&self.log).map_or(0, |file| usize::try_from(file.len()).unwrap_or(0))
    }

    /// What was logged after a mark.
    pub fn log_since(&self, mark: usize) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(log.get(mark..).unwrap_or_default()).into_owned()
    }
}

impl Resident for Daemon {
    fn places(&self) -> Vec<String> {
        let config = self.config();
        let place = |what: &str, path: &Path| {
            format!("{:<12} {what:<8} {}", config.host.name, path.display())
        };
        vec![
            place("config", &self.file),
            place("log", &self.log),
            place("socket", &config.socket()),
            place("pins", &config.pins()),
            place("binary", &self.binary),
        ]
    }

    fn evidence(&self, into: &Path) -> Result<()> {
        let mut text = String::new();
        for words in [
            &["status", "--json"][..],
            &["ospf", "neighbors"],
            &["ospf", "database"],
            &["ospf", "routes"],
        ] {
            let answer = self.l2ha(words);
            let answer = answer.unwrap_or_else(|error| format!("{error:#}\n"));
            text.push_str(&format!("# l2ha {}\n{answer}\n", words.join(" ")));
        }
        let file = into.join(format!("{}.l2ha", self.config().host.name));
        fs::write(file, text)?;
        Ok(())
    }

    fn end(&self) {
        // In order it would take its leave of neighbours that have ended as well, for more than a second. What it
        // leaves behind is removed here or goes with its namespace; whether it cleans up by itself is for the
        // scenarios to find out.
        if let Some(process) = self.process().take() {
            process.kill();
        }
        let pins = self.config().pins();
        if pins.exists()
            && let Err(error) = fs::remove_dir_all(&pins)
        {
            eprintln!("lab: cannot remove {}: {error}", pins.display());
        }
    }
}

/// The built `l2ha`: named by `L2HA_BIN`, or where cargo puts it next to the running test or xtask.
///
/// # Errors
///
/// When it is not there.
pub fn binary() -> Result<PathBuf> {
    if let Some(binary) = std::env::var_os("L2HA_BIN") {
        let binary = PathBuf::from(binary);
        ensure!(
            binary.exists(),
            "L2HA_BIN names {}, which is not there",
            binary.display()
        );
        return Ok(binary);
    }
    let exe = std::env::current_exe()?;
    let binary = exe
        .ancestors()
        .skip(1)
        .take(2)
        .map(|dir| dir.join("l2ha"))
        .find(|binary| binary.is_file());
    binary.context("l2ha is not built: run `cargo build -p l2ha-user`, or name it in L2HA_BIN")
}

/// The last lines of a log, for an error's text.
fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

/// Writes a configuration and the secret it names.
fn write(file: &Path, config: &NodeConfig) -> Result<()> {
    fs::write(file, config.toml())?;
    if let Some((_, secret)) = &config.key {
        secret_file(&config.key_file(), secret)?;
    }
    if config.bfd_algorithm.is_some() {
        secret_file(&config.bfd_key_file(), BFD_KEY.1)?;
    }
    Ok(())
}
