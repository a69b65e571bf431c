//! Network namespaces: made under a name of their own, entered by thread or by process, and
//! removed with everything that runs in them.
//!
//! A namespace is entered with `setns(CLONE_NEWNET)` and never with `ip netns exec`: that mounts a
//! new `/sys`, behind which the machine's bpffs disappears.

use std::{
    ffi::OsStr,
    fs::{self, File},
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::sched::{CloneFlags, setns};

pub(crate) use crate::command::output;
use crate::{
    command::{command, show},
    process::Process,
    sweep,
};

/// What every name of a namespace of the lab starts with, followed by the pid of its maker.
pub(crate) const PREFIX: &str = "l2ha-";
/// Where iproute2 keeps the namespaces that have a name.
pub(crate) const NETNS: &str = "/run/netns";

/// A network namespace; dropping it ends what runs in it and removes it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    file: File,
    inode: u64,
    processes: Mutex<Vec<Process>>,
}

impl Namespace {
    /// Makes a namespace `l2ha-<pid>-<n>-<label>` with the loopback up and IPv6 duplicate address
    /// detection off (so that an address can be used at once).
    ///
    /// # Errors
    ///
    /// When not root, or when the kernel has no network namespaces.
    pub fn new(label: &str) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        sweep::once();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}-{label}", std::process::id());
        output(Command::new("ip").args(["netns", "add", &name]))
            .context("cannot make a network namespace; the lab needs root and iproute2")?;
        let path = Path::new(NETNS).join(&name);
        let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        let namespace = Self {
            inode: file.metadata()?.ino(),
            name,
            file,
            processes: Mutex::default(),
        };
        for scope in ["default", "all"] {
            namespace.sysctl(&format!("net/ipv6/conf/{scope}/accept_dad"), "0")?;
        }
        namespace.run(["ip", "link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// The name that `ip netns` shows.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for the namespace: `nsenter --net=<path>` enters it.
    pub fn path(&self) -> PathBuf {
        Path::new(NETNS).join(&self.name)
    }

    /// Makes a command run in this namespace. Nothing else of the command's world changes.
    ///
    /// # Errors
    ///
    /// When the namespace's file descriptor cannot be duplicated.
    pub fn place(&self, command: &mut Command) -> Result<()> {
        let file = self.file.try_clone()?;
        // SAFETY: between fork and exec only setns(2) is called, which is async-signal-safe; the
        // descriptor lives in the closure.
        unsafe {
            command.pre_exec(move || setns(&file, CloneFlags::CLONE_NEWNET).map_err(Into::into));
        }
        Ok(())
    }

    /// Runs a program to its end and returns its standard output.
    ///
    /// # Errors
    ///
    /// Names the command, the namespace and what it said when it does not exit with 0.
    pub fn run<I, S>(&self, words: I) -> Result<String>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut command = command(words)?;
        self.place(&mut command)?;
        output(&mut command).with_context(|| format!("in namespace {}", self.name))
    }

    /// Runs a program to its end and returns its status and both outputs together, failed or not.
    ///
    /// # Errors
    ///
    /// Only when it cannot be started.
    pub fn try_run<I, S>(&self, words: I) -> Result<(ExitStatus, String)>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut command = command(words)?;
        self.place(&mut command)?;
        let output = command
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot start {}", show(&command)))?;
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        Ok((output.status, text))
    }

    /// Several `ip` commands in one go, each a line without the leading `ip`. They follow each
    /// other within a millisecond, which separate processes would not.
    ///
    /// # Errors
    ///
    /// When one of them fails; the rest is then not done.
    pub fn ip_batch(&self, lines: &str) -> Result<()> {
        self.batch(&["ip", "-batch", "-"], lines)
    }

    /// As [`Namespace::ip_batch`], with the family said first (`-4` or `-6`): an `ip rule` that
    /// names no address needs it.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn ip_batch_for(&self, family: &str, lines: &str) -> Result<()> {
        self.batch(&["ip", family, "-batch", "-"], lines)
    }

    /// Runs a program with `input` on its standard input.
    fn batch(&self, words: &[&str], input: &str) -> Result<()> {
        use std::io::Write as _;
        let mut command = command(words)?;
        self.place(&mut command)?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", show(&command)))?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!(
                "in namespace {}: {} failed: {}\n{input}",
                self.name,
                show(&command),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(())
    }

    /// Runs an `ip -j` query and returns what it printed.
    ///
    /// # Errors
    ///
    /// When it fails or does not print JSON.
    pub fn ip_json(&self, words: &[&str]) -> Result<serde_json::Value> {
        let text = self.run(["ip", "-j"].iter().chain(words))?;
        if text.trim().is_empty() {
            return Ok(serde_json::Value::Array(Vec::new()));
        }
        serde_json::from_str(&text).with_context(|| format!("ip -j {}: {text}", words.join(" ")))
    }

    /// Starts a program in this namespace, in a process group of its own so that a Ctrl-C in the
    /// terminal reaches only the lab, which then ends it in order.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn spawn(&self, mut command: Command) -> Result<Process> {
        self.place(&mut command)?;
        command.process_group(0);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", show(&command)))?;
        let process = Process::new(show(&command), child);
        let mut processes = self
            .processes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        processes.retain(Process::is_running);
        processes.push(process.clone());
        Ok(process)
    }

    /// Runs a closure in a thread inside this namespace: sockets made there belong to it for ever.
    ///
    /// # Errors
    ///
    /// When the thread cannot enter the namespace.
    ///
    /// # Panics
    ///
    /// When the closure does.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    setns(&self.file, CloneFlags::CLONE_NEWNET)
                        .map_err(|error| anyhow!("cannot enter {}: {error}", self.name))?;
                    Ok(work())
                })
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Starts a thread that lives in this namespace and whose sockets are made there.
    ///
    /// # Errors
    ///
    /// When the namespace's file descriptor cannot be duplicated.
    pub fn thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<thread::JoinHandle<Result<T>>> {
        let file = self.file.try_clone()?;
        let name = self.name.clone();
        Ok(thread::spawn(move || {
            setns(&file, CloneFlags::CLONE_NEWNET)
                .map_err(|error| anyhow!("cannot enter {name}: {error}"))?;
            Ok(work())
        }))
    }

    /// Sets a value below `/proc/sys` of this namespace, named with slashes: `net/ipv4/ip_forward`.
    ///
    /// # Errors
    ///
    /// When there is no such value or it does not take it.
    pub fn sysctl(&self, name: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys").join(name);
        // /proc/sys/net shows the namespace of the thread that looks.
        self.enter(|| fs::write(&path, value))?
            .with_context(|| format!("cannot set {name} to {value} in {}", self.name))
    }

    /// Reads a value below `/proc/sys` of this namespace.
    ///
    /// # Errors
    ///
    /// When there is no such value.
    pub fn read_sysctl(&self, name: &str) -> Result<String> {
        let path = Path::new("/proc/sys").join(name);
        let text = self
            .enter(|| fs::read_to_string(&path))?
            .with_context(|| format!("cannot read {name} in {}", self.name))?;
        Ok(text.trim().to_owned())
    }

    /// The MAC address of an interface.
    ///
    /// # Errors
    ///
    /// When there is no such interface, or it has none.
    pub fn mac(&self, interface: &str) -> Result<[u8; 6]> {
        let links = self.ip_json(&["link", "show", "dev", interface])?;
        let text = links[0]["address"].as_str().context("no MAC address")?;
        let bytes: Vec<u8> = text
            .split(':')
            .map(|byte| u8::from_str_radix(byte, 16))
            .collect::<Result<_, _>>()?;
        bytes.try_into().ok().context("not a MAC address")
    }

    /// The index of an interface, if there is one of that name.
    ///
    /// # Errors
    ///
    /// When the interfaces cannot be listed.
    pub fn ifindex(&self, interface: &str) -> Result<Option<u32>> {
        let links = self.ip_json(&["link"])?;
        Ok(links.as_array().and_then(|links| {
            links
                .iter()
                .find(|link| link["ifname"] == interface)
                .and_then(|link| link["ifindex"].as_u64())
                .and_then(|index| u32::try_from(index).ok())
        }))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let processes = self
            .processes
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        for process in processes.drain(..) {
            process.kill();
        }
        // What those started in turn; a namespace lives on for as long as anything is in it.
        sweep::end_strays(self.inode);
        sweep::remove(&self.name);
    }
}
