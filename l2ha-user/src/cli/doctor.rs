//! `l2ha doctor`.

use std::path::PathBuf;

use anyhow::Result;
use config::{self, Config};
use doctor::{Facts, Finding, Severity, Subject};
use serde_json::json;

use super::{FAILED, FINE, USAGE, output};

/// Look for what keeps l2ha from running, or from running well, on this host
///
/// Each finding comes with the command that mends it. Nothing is changed. The daemon looks for the
/// same at its start and writes it to its log.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  l2ha doctor
  l2ha doctor --config /etc/l2ha/l2ha.toml
  l2ha doctor --interface eth0
  l2ha doctor --interface eth0 --try
  l2ha doctor --json | jq -r '.findings[].command // empty'

Exit status: 0 nothing found, or notes only; 1 warnings; 2 something that prevents running, or a
configuration with mistakes.")]
pub(super) struct Doctor {
    /// Configuration file
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_FILE)]
    config: PathBuf,
    /// Look at this interface as an underlay, without a configuration
    #[arg(long, value_name = "INTERFACE", conflicts_with = "config")]
    interface: Option<String>,
    /// Also offer the driver an empty XDP program for a moment, to hear what it says: some drivers
    /// lose packets meanwhile
    #[arg(long = "try")]
    try_driver: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(super) fn main(self) -> Result<u8> {
        let mut subject = match &self.interface {
            Some(name) => Subject::interface(name),
            None => match Config::load(&self.config, &node::who(None)?) {
                Ok(config) => Subject::of(&config),
                Err(errors) => {
                    output::error(&format!(
                        "{errors}\nl2ha doctor --interface INTERFACE needs no configuration"
                    ));
                    return Ok(USAGE);
                }
            },
        };
        subject.try_kernel = true;
        subject.try_driver = self.try_driver;
        let (facts, unknown) = Facts::collect(&subject);
        let findings = doctor::examine(&facts);
        if self.json {
            output::json(&json!({
                "version": 1,
                "interface": subject.interface,
                "findings": findings,
                "unknown": unknown,
            }))?;
        } else {
            output::line(&text(&subject.interface, &findings, &unknown))?;
        }
        Ok(match findings.first().map(|finding| finding.severity) {
            Some(Severity::Error) => USAGE,
            Some(Severity::Warning) => FAILED,
            Some(Severity::Note) | None => FINE,
        })
    }
}

/// The findings for people: each in a line, with what mends it below.
fn text(interface: &str, findings: &[Finding], unknown: &[String]) -> String {
    let mut lines = Vec::new();
    for finding in findings {
        let word = finding.severity.name();
        lines.push(format!("{word}: {} [{}]", finding.text, finding.id));
        if let Some(command) = &finding.command {
            lines.push(format!("    {command}"));
        }
        if let Some(remedy) = &finding.remedy {
            lines.push(format!("    ({remedy})"));
        }
    }
    for sentence in unknown {
        lines.push(format!("unknown: {sentence}"));
    }
    if findings.is_empty() {
        lines.push(format!("{interface}: nothing found"));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_stands_above_what_mends_it() {
        let finding = Finding {
            severity: Severity::Warning,
            id: "lro",
            text: "LRO is on".to_owned(),
            command: Some("ethtool -K eth0 lro off".to_owned()),
            remedy: None,
        };
        assert_eq!(
            text("eth0", &[finding], &["x: no".to_owned()]),
            "warning: LRO is on [lro]\n    ethtool -K eth0 lro off\nunknown: x: no"
        );
        assert_eq!(text("eth0", &[], &[]), "eth0: nothing found");
    }
}
