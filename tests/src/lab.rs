//! One scenario's world: a scratch folder, clouds, and whatever was started in them; kept as
//! evidence when the scenario fails, removed without a trace when it holds.

use std::{
    fmt::Debug,
    fs,
    io::{IsTerminal as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

pub use crate::wait::{PATIENCE, wait_for};
use crate::{
    cloud::{Cloud, CloudOptions, Host},
    evidence::{copy_tree, state},
    ns::Namespace,
    signals, sweep,
};

/// Where the daemon pins its programs, each node in a folder of its own.
pub(crate) const PINS: &str = "/sys/fs/bpf/l2ha";

/// The environment variable that holds a failed lab open, if it is set to 1.
const KEEP: &str = "L2HA_LAB_KEEP";

/// Something a lab must end, and may be asked about first.
pub trait Resident: Debug + Send + Sync {
    /// Where its sockets, configuration and log are, as lines for a person who looks into the lab.
    fn places(&self) -> Vec<String> {
        Vec::new()
    }

    /// Writes what helps to understand a failure into a folder.
    ///
    /// # Errors
    ///
    /// When that cannot be written or asked; the rest of the evidence is taken all the same.
    fn evidence(&self, into: &Path) -> Result<()>;

    /// Ends it and removes what it left.
    fn end(&self);
}

/// One scenario's world.
#[derive(Debug)]
pub struct Lab {
    name: String,
    prefix: String,
    dir: PathBuf,
    binary: Option<PathBuf>,
    born: Instant,
    clouds: Mutex<Vec<Arc<Cloud>>>,
    hosts: Mutex<Vec<Arc<Host>>>,
    residents: Mutex<Vec<Arc<dyn Resident>>>,
}

impl Lab {
    /// Makes an empty lab.
    ///
    /// # Errors
    ///
    /// When its scratch folder cannot be made.
    pub fn new(name: &str) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        sweep::once();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("lab{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(format!("l2ha-{prefix}"));
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        // FRR gives its privileges up and still has to get to its files in there.
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755))?;
        Ok(Self {
            name: name.to_owned(),
            prefix,
            dir,
            binary: None,
            born: Instant::now(),
            clouds: Mutex::default(),
            hosts: Mutex::default(),
            residents: Mutex::default(),
        })
    }

    /// Runs a scenario in a lab of its own. When it fails, captures, logs and the state of every
    /// host are kept in `target/lab-failures/<name>`, and the folder is named. With `L2HA_LAB_KEEP=1` a failed lab
    /// is then held open, and how to enter it is printed.
    ///
    /// # Errors
    ///
    /// Those of the scenario.
    ///
    /// # Panics
    ///
    /// When the scenario does.
    pub fn run(name: &str, scenario: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        signals::end_in_time();
        let lab = Self::new(name)?;
        let evidence = target_dir().join("lab-failures").join(name);
        // Of an earlier run; usually there is none.
        let _ = fs::remove_dir_all(&evidence);
        let result = catch_unwind(AssertUnwindSafe(|| scenario(&lab)));
        let kept = if matches!(result, Ok(Ok(()))) {
            String::new()
        } else {
            match lab.keep_evidence(&evidence) {
                Ok(()) => format!("the evidence is in {}", evidence.display()),
                Err(error) => format!("the evidence could not be kept: {error:#}"),
            }
        };
        if !kept.is_empty() && std::env::var_os(KEEP).is_some_and(|value| value == "1") {
            let why = match &result {
                Ok(Err(error)) => format!("{error:#}"),
                _ => "a panic".to_owned(),
            };
            lab.hold_open(&format!("{why}\n{kept}"));
        }
        drop(lab);
        match result {
            Ok(result) => result.context(kept),
            Err(panic) => {
                eprintln!("lab: {kept}");
                resume_unwind(panic)
            }
        }
    }

    /// Prints why it has failed and how to enter it, and waits for Enter, Ctrl-C or SIGTERM.
    fn hold_open(&self, why: &str) {
        let mut text = format!("\n{} has failed: {why}\n\n", self.name);
        let mut enter = |label: &str, ns: &Namespace| {
            text.push_str(&format!("  {label:<12} ip netns exec {} bash\n", ns.name()));
        };
        for cloud in lock(&self.clouds).iter() {
            enter("the cloud", cloud.router());
        }
        for host in lock(&self.hosts).iter() {
            enter(&host.name, &host.ns);
        }
        text.push('\n');
        for place in lock(&self.residents).iter().flat_map(|it| it.places()) {
            text.push_str(&format!("  {place}\n"));
        }
        text.push_str("\nThe lab is held open until Enter, Ctrl-C or SIGTERM.\n");
        eprintln!("{text}");
        // Test runners keep what a test prints to themselves until it has ended.
        if !std::io::stderr().is_terminal()
            && let Ok(mut terminal) = fs::OpenOptions::new().write(true).open("/dev/tty")
        {
            let _ = terminal.write_all(text.as_bytes());
        }
        signals::wait();
    }

    /// Uses this `l2ha` instead of looking for the built one.
    #[must_use]
    pub fn with_binary(mut self, binary: &Path) -> Self {
        self.binary = Some(binary.to_owned());
        self
    }

    /// The `l2ha` under test: the one given, the one `L2HA_BIN` names, or the one cargo built next
    /// to the running test or xtask.
    ///
    /// # Errors
    ///
    /// When it is not there.
    pub fn binary(&self) -> Result<PathBuf> {
        match &self.binary {
            Some(binary) => Ok(binary.clone()),
            None => crate::daemon::binary(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The scratch folder; it goes with the lab.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What names in places shared by the whole machine start with, so that labs do not meet.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Time since the lab was made.
    pub fn age(&self) -> Duration {
        self.born.elapsed()
    }

    /// Prints a line of the scenario's story with the time since its start.
    pub fn say(&self, text: impl std::fmt::Display) {
        println!(
            "{:>8.3} s  {}: {text}",
            self.born.elapsed().as_secs_f64(),
            self.name
        );
    }

    /// Makes a cloud with one host for each name. They live as long as the lab.
    ///
    /// # Errors
    ///
    /// When one of them cannot be made.
    pub fn cloud(
        &self,
        options: CloudOptions,
        names: &[&str],
    ) -> Result<(Arc<Cloud>, Vec<Arc<Host>>)> {
        let cloud = Arc::new(Cloud::new(options)?);
        lock(&self.clouds).push(Arc::clone(&cloud));
        let hosts = names
            .iter()
            .map(|name| self.host(&cloud, name))
            .collect::<Result<Vec<_>>>()?;
        Ok((cloud, hosts))
    }

    /// Adds a host to a cloud, which may be another lab's. It lives as long as this lab.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn host(&self, cloud: &Cloud, name: &str) -> Result<Arc<Host>> {
        let host = cloud.host(name)?;
        lock(&self.hosts).push(Arc::clone(&host));
        Ok(host)
    }

    /// Takes something in charge: it is ended with the lab, last come first.
    pub fn adopt<T: Resident + 'static>(&self, resident: T) -> Arc<T> {
        let resident = Arc::new(resident);
        lock(&self.residents).push(resident.clone());
        resident
    }

    /// Copies the scratch folder and writes the state of every host into `into`.
    ///
    /// # Errors
    ///
    /// When nothing can be written there.
    pub fn keep_evidence(&self, into: &Path) -> Result<()> {
        fs::create_dir_all(into).with_context(|| format!("cannot create {}", into.display()))?;
        let residents = lock(&self.residents);
        for resident in residents.iter() {
            if let Err(error) = resident.evidence(into) {
                eprintln!("lab: {resident:?}: {error:#}");
            }
        }
        for host in lock(&self.hosts).iter() {
            fs::write(into.join(format!("{}.state", host.name)), state(&host.ns))?;
        }
        copy_tree(&self.dir, into)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let residents = self
            .residents
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        while let Some(resident) = residents.pop() {
            resident.end();
        }
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            eprintln!("lab: cannot remove {}: {error}", self.dir.display());
        }
    }
}

fn lock<T>(list: &Mutex<Vec<T>>) -> MutexGuard<'_, Vec<T>> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Cargo's target folder, found from where the running test or xtask lies.
pub fn target_dir() -> PathBuf {
    std::env::current_exe()
        .ok()
        .and_then(|exe| {
            let profile = exe.parent()?;
            let profile = if profile.ends_with("deps") {
                profile.parent()?
            } else {
                profile
            };
            Some(profile.parent()?.to_owned())
        })
        .unwrap_or_else(|| PathBuf::from("target"))
}
