//! What the daemon knows of its own start, for `l2ha status`.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use config::Config;
use doctor::{Facts, Finding, Severity, Subject};

/// Where the configuration was read, when, and what was wrong with the host then.
pub(crate) struct Startup {
    config_path: PathBuf,
    started: Instant,
    findings: Vec<Finding>,
}

impl Startup {
    /// Makes the checks of `l2ha doctor` and logs what they find.
    pub(crate) fn examine(config_path: PathBuf, config: &Config) -> Self {
        if let Err(error) = linux::raise_open_files() {
            tracing::warn!(%error, "cannot raise the limit of open files (RLIMIT_NOFILE)");
        }
        let (facts, unknown) = Facts::collect(&Subject::of(config));
        for sentence in unknown {
            tracing::debug!("doctor: cannot learn {sentence}");
        }
        let findings = doctor::examine(&facts);
        doctor::log(&findings);
        Self {
            config_path,
            started: Instant::now(),
            findings,
        }
    }

    /// The configuration file.
    pub(crate) fn config_path(&self) -> &Path {
        &self.config_path
    }

    /// The configuration file, as text.
    pub(crate) fn config_file(&self) -> String {
        self.config_path.display().to_string()
    }

    /// Time since the start.
    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Ids of the warnings and errors.
    pub(crate) fn findings(&self) -> Vec<String> {
        self.findings
            .iter()
            .filter(|finding| finding.severity > Severity::Note)
            .map(|finding| finding.id.to_owned())
            .collect()
    }
}
