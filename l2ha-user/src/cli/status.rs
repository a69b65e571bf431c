//! `l2ha status`.

mod health;
mod show;

use anyhow::{Context as _, Result};

use super::{FAILED, FINE, output, socket::Daemon};

/// Show what the daemon does and whether something is wrong
///
/// The first line says whether the node is healthy, or what is wrong. The exit status is 1 when
/// something is.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  l2ha status
  l2ha status --json | jq '.tunnels[] | {name, up}'
  l2ha status --socket /run/l2ha/server-1.sock")]
pub(super) struct Status {
    #[command(flatten)]
    daemon: Daemon,
    /// Print the daemon's JSON
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) fn main(self) -> Result<u8> {
        let answer = self.daemon.ask(control::Command::Status)?;
        let status: control::Status = serde_json::from_value(answer.clone())
            .context("the daemon's answer is of another version than this command")?;
        let problems = health::problems(&status);
        if self.json {
            output::json(&answer)?;
        } else {
            output::line(&show::text(&status, &problems))?;
        }
        Ok(if problems.is_empty() { FINE } else { FAILED })
    }
}
