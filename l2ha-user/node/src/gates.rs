//! How each service is to be advertised, as its checks and `l2ha drain --service` say: what is told of a change,
//! and what the next start goes on with.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use config::{Config, Service, WhenFailed};
use control::{HealthState, ServiceHealth};
use health::{Health, States, Told, Verdict, Watched};
use linux::state;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// The metric of what is used only where nobody else has it (RFC 6987 2).
const LAST_RESORT: u16 = u16::MAX;
/// Differs after each boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// How a service is to be advertised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// With its metric.
    Open,
    /// With the highest metric.
    LastResort,
    /// Not at all.
    Closed,
}

/// What the next start goes on with, unless this one ends with a clean stop or the machine boots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Memory {
    boot: String,
    /// Names of the services whose checks pass: the address of a healthy one stays through a restart.
    passing: BTreeSet<String>,
    /// Names of the services that are drained.
    drained: BTreeSet<String>,
}

/// The gates of the services.
pub(crate) struct Gates {
    health: Health,
    news: watch::Receiver<States>,
    states: States,
    memory: Memory,
    path: PathBuf,
    /// Why the next start will not know of it.
    unwritten: Option<String>,
    /// What was told last of each service.
    told: BTreeMap<String, Gate>,
}

impl Gates {
    /// Starts the checks of a configuration.
    pub(crate) fn start(config: &Config) -> Result<Self> {
        let node = &config.node;
        let path = node.run_dir.join(format!("{}.health.json", node.name));
        let health =
            Health::start(linux::drop_all_capabilities).context("cannot start the checks")?;
        let mut gates = Self {
            news: health.states(),
            health,
            states: States::new(),
            memory: Memory::load(&path),
            path,
            unwritten: None,
            told: BTreeMap::new(),
        };
        gates.configure(None, config);
        for name in &gates.memory.drained {
            tracing::warn!("{name}: drained, until `l2ha drain --service {name} --off`");
        }
        Ok(gates)
    }

    /// Takes a configuration in place of the one before.
    pub(crate) fn configure(&mut self, before: Option<&Config>, config: &Config) {
        let unchecked = |name: &str| {
            let mut services = before.iter().flat_map(|config| &config.services);
            services.any(|it| it.name == name && it.checks.is_empty())
        };
        let checked = config.services.iter().filter(|it| !it.checks.is_empty());
        let watched = checked.map(|service| Watched {
            name: service.name.clone(),
            checks: service.checks.clone(),
            // A first check of what is advertised withdraws nothing before it has failed.
            passing: self.memory.passing.contains(&service.name) || unchecked(&service.name),
        });
        let watched: Vec<Watched> = watched.collect();
        // Until the checks' thread has heard of them.
        let taken: Vec<String> = watched
            .iter()
            .filter(|it| it.passing && !self.states.contains_key(&it.name))
            .map(|it| it.name.clone())
            .collect();
        self.memory.passing.extend(taken);
        self.health.watch(watched);
        let there = |name: &String| config.services.iter().any(|it| it.name == *name);
        self.memory.drained.retain(there);
        self.memory.passing.retain(there);
        self.told.retain(|name, _| there(name));
        self.announce(config);
    }

    /// The states, as they come.
    pub(crate) fn news(&self) -> watch::Receiver<States> {
        self.news.clone()
    }

    /// Takes the states that there are now, and tells what has changed.
    pub(crate) fn update(&mut self, config: &Config) {
        self.states = self.news.borrow_and_update().clone();
        for (name, state) in &self.states {
            match state.verdict {
                Verdict::Passing => self.memory.passing.insert(name.clone()),
                Verdict::Waiting | Verdict::Failed => self.memory.passing.remove(name),
            };
        }
        self.announce(config);
    }

    /// Makes a service the last resort, or ends that. Whether that is a change.
    pub(crate) fn drain(&mut self, config: &Config, name: &str, on: bool) -> Result<bool> {
        let there = config.services.iter().any(|service| service.name == name);
        ensure!(there, "there is no service `{name}`; see `l2ha status`");
        let changed = match on {
            true => self.memory.drained.insert(name.to_owned()),
            false => self.memory.drained.remove(name),
        };
        self.announce(config);
        Ok(changed)
    }

    /// Forgets what the next start would go on with: a clean stop.
    pub(crate) fn remove_file(self) {
        if let Err(error) = state::remove(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the services' states");
        }
    }

    /// How a service is to be advertised.
    pub(crate) fn gate(&self, service: &Service) -> Gate {
        let drained = self.memory.drained.contains(&service.name);
        let verdict = match self.states.get(&service.name) {
            _ if service.checks.is_empty() => Verdict::Passing,
            Some(state) => state.verdict,
            None if self.memory.passing.contains(&service.name) => Verdict::Passing,
            None => Verdict::Waiting,
        };
        match (verdict, service.when_failed, drained) {
            (Verdict::Waiting, ..) | (Verdict::Failed, WhenFailed::Withdraw, _) => Gate::Closed,
            (Verdict::Failed, WhenFailed::LastResort, _) | (Verdict::Passing, _, true) => {
                Gate::LastResort
            }
            (Verdict::Passing, _, false) => Gate::Open,
        }
    }

    /// The metric of a service, if it is to be advertised.
    pub(crate) fn metric(&self, service: &Service) -> Option<u16> {
        match self.gate(service) {
            Gate::Open => Some(service.metric),
            Gate::LastResort => Some(LAST_RESORT),
            Gate::Closed => None,
        }
    }

    /// Whether a service is drained.
    pub(crate) fn is_drained(&self, service: &Service) -> bool {
        self.memory.drained.contains(&service.name)
    }

    /// What the checks of a service say, for `l2ha status`.
    pub(crate) fn health(&self, service: &Service) -> Option<ServiceHealth> {
        let state = self.states.get(&service.name)?;
        let since = state.since.elapsed().as_millis();
        Some(ServiceHealth {
            state: match state.verdict {
                Verdict::Waiting => HealthState::Waiting,
                Verdict::Passing => HealthState::Passing,
                Verdict::Failed => HealthState::Failed,
            },
            since_ms: u64::try_from(since).unwrap_or(u64::MAX),
            reason: state.failure.as_ref().map(|it| it.reason.clone()),
            check: state.failure.as_ref().map(|it| it.check),
            checks: service.checks.len(),
        })
    }

    /// Tells what has changed since the last time, and writes it down.
    fn announce(&mut self, config: &Config) {
        for service in &config.services {
            let gate = self.gate(service);
            let before = self.told.insert(service.name.clone(), gate);
            if before.is_some_and(|before| before != gate) {
                self.log(service, gate);
                self.tell(config, service, gate);
            } else if before.is_none() && gate == Gate::Closed {
                tracing::info!("{}: withdrawn until its check has passed", service.name);
            }
        }
        self.keep();
    }

    /// Writes down what the next start goes on with, unless the file has it. Returns why that cannot be done, if it
    /// cannot.
    pub(crate) fn keep(&mut self) -> Option<&str> {
        let written = self.memory.write(&self.path);
        self.unwritten = written.err().map(|error| format!("{error:#}"));
        self.unwritten.as_deref()
    }

    /// Why a service is not advertised with its metric.
    fn reason(&self, service: &Service) -> String {
        let state = self.states.get(&service.name);
        match state.and_then(|state| state.failure.as_ref()) {
            Some(failure) => format!(
                "{}, by check {} of {}",
                failure.reason, failure.check, failure.checks
            ),
            None if self.is_drained(service) => "drained".to_owned(),
            None => "its check has not passed yet".to_owned(),
        }
    }

    fn log(&self, service: &Service, gate: Gate) {
        let name = &service.name;
        match gate {
            Gate::Open => tracing::info!("{name}: advertised"),
            Gate::LastResort => tracing::warn!("{name}: last resort, {}", self.reason(service)),
            Gate::Closed => tracing::warn!("{name}: withdrawn, {}", self.reason(service)),
        }
    }

    /// Runs the service's `on_change`, if it has one.
    fn tell(&self, config: &Config, service: &Service, gate: Gate) {
        if service.on_change.is_empty() {
            return;
        }
        let (state, reason) = match gate {
            Gate::Open => ("advertised", String::new()),
            Gate::LastResort => ("last-resort", self.reason(service)),
            Gate::Closed => ("withdrawn", self.reason(service)),
        };
        let environment = [
            ("L2HA_NODE", config.node.name.clone()),
            ("L2HA_SERVICE", service.name.clone()),
            ("L2HA_ADDRESS", service.address.to_string()),
            ("L2HA_STATE", state.to_owned()),
            ("L2HA_REASON", reason),
        ];
        let told = self.health.tell(Told {
            service: service.name.clone(),
            command: service.on_change.clone(),
            environment: environment
                .map(|(name, value)| (name.to_owned(), value))
                .to_vec(),
        });
        if !told {
            tracing::warn!(
                "{}: on_change is not run, too many wait to be told already",
                service.name
            );
        }
    }
}

impl Memory {
    /// What an earlier start since the boot has left; a damaged file, or one that others can have written, is none.
    fn load(path: &Path) -> Self {
        let boot = fs::read_to_string(BOOT_ID).unwrap_or_default();
        let bytes = state::read(path).unwrap_or_else(|error| {
            tracing::warn!("{} is not believed: {error}", path.display());
            None
        });
        let memory = bytes.and_then(|bytes| serde_json::from_slice::<Self>(&bytes).ok());
        match memory {
            Some(memory) if memory.boot == boot => memory,
            _ => Self {
                boot,
                ..Self::default()
            },
        }
    }

    /// Writes it where it differs from what is there.
    fn write(&self, path: &Path) -> Result<()> {
        let bytes = serde_json::to_vec(self)?;
        if state::read(path).is_ok_and(|there| there.as_ref() == Some(&bytes)) {
            return Ok(());
        }
        state::write(path, &bytes).with_context(|| format!("cannot write {}", path.display()))
    }
}
