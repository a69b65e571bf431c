//! `l2ha check`.

use anyhow::Result;
use config::Config;
use serde_json::json;

use super::{ConfigFile, FINE, USAGE, output};

/// Check a configuration file, and the cookie files it names
///
/// Every mistake is shown, each with its line and what to write instead. Nothing is changed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  l2ha check
  l2ha check --config new.toml && systemctl reload l2ha
  l2ha check --json | jq .errors")]
pub(super) struct Check {
    #[command(flatten)]
    config: ConfigFile,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn main(self) -> Result<u8> {
        let path = self.config.path;
        let result = Config::load(&path);
        let notes = result.as_ref().map(notes).unwrap_or_default();
        let code = if result.is_ok() { FINE } else { USAGE };
        match result {
            _ if self.json => {
                let errors = result
                    .as_ref()
                    .err()
                    .map_or(&[][..], |errors| errors.errors());
                output::json(&json!({
                    "version": 1,
                    "file": path,
                    "ok": result.is_ok(),
                    "errors": errors,
                    "notes": notes,
                }))?;
            }
            Ok(config) => {
                let ospf = match &config.ospf {
                    Some(ospf) => format!("OSPF router {}", ospf.router_id),
                    None => "no OSPF".to_owned(),
                };
                output::line(&format!(
                    "{}: fine: node {}, {}, {ospf}, {}",
                    path.display(),
                    config.node.name,
                    count(config.tunnels.len(), "tunnel"),
                    count(config.services.len(), "service"),
                ))?;
                for note in notes {
                    output::line(&format!("note: {note}"))?;
                }
            }
            Err(errors) => {
                let mistakes = count(errors.errors().len(), "mistake");
                output::error(&format!("{errors}\n{}: {mistakes}", path.display()));
            }
        }
        Ok(code)
    }
}

/// What is worth knowing of a configuration without mistakes; of this host only what it shares with other
/// routing daemons, and how many files may be open.
fn notes(config: &Config) -> Vec<String> {
    let mut notes = config.notes();
    for finding in doctor::briefly(config) {
        let remedy = finding.remedy.map(|remedy| format!(": {remedy}"));
        notes.push(format!(
            "this host: {}{}",
            finding.text,
            remedy.unwrap_or_default()
        ));
    }
    notes
}

fn count(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}
