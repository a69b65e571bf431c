//! What is not as l2ha wants it on this host, each with the command that mends it: `l2ha doctor`,
//! and the daemon at its start.
//!
//! [`Facts`] are collected once, by [`Facts::collect`]; every check is a function of them alone.

mod collect;
mod facts;
mod interface;
mod ipv4;
mod kernel;
mod offloads;
mod programs;
#[cfg(test)]
mod tests;
mod tunnels;
mod xdp;

use serde::Serialize;

pub use self::{
    collect::Subject,
    facts::{Facts, Interface, Ipv4, Mode, Peer, System, Tunnel},
};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know; nothing has to be done.
    Note,
    /// l2ha works, but not as well as it could, or not for long.
    Warning,
    /// l2ha cannot run like this.
    Error,
}

impl Severity {
    /// The word for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// A short name that does not change between versions.
    pub id: &'static str,
    /// What is so, and why it matters.
    pub text: String,
    /// The command that mends it, ready for a shell.
    pub command: Option<String>,
    /// What to do where no command is enough.
    pub remedy: Option<String>,
}

impl Finding {
    fn new(severity: Severity, id: &'static str, text: impl Into<String>) -> Self {
        Self {
            severity,
            id,
            text: text.into(),
            command: None,
            remedy: None,
        }
    }

    fn command(mut self, command: impl Into<String>) -> Self {
        self.command = Some(command.into());
        self
    }

    fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

/// All checks, the worst findings first.
pub fn examine(facts: &Facts) -> Vec<Finding> {
    let groups = [
        kernel::check,
        interface::check,
        xdp::check,
        offloads::check,
        programs::check,
        tunnels::check,
        ipv4::check,
    ];
    let mut findings: Vec<Finding> = groups.iter().flat_map(|check| check(facts)).collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

/// Says the findings in the log.
pub fn log(findings: &[Finding]) {
    for finding in findings {
        let Finding {
            id,
            text,
            command,
            remedy,
            ..
        } = finding;
        let mend = command.as_deref().or(remedy.as_deref()).unwrap_or_default();
        match finding.severity {
            Severity::Note => tracing::info!(id, mend, "doctor: {text}"),
            Severity::Warning => tracing::warn!(id, mend, "doctor: {text}"),
            Severity::Error => tracing::error!(id, mend, "doctor: {text}"),
        }
    }
}
