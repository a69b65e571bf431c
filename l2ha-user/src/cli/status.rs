//! `l2ha status`.

mod health;
mod show;

use anyhow::Result;

use super::{FAILED, FINE, output, socket::Show};

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
    show: Show,
}

impl Status {
    pub(super) fn main(self) -> Result<u8> {
        let reply = self.show.daemon.ask(control::Command::Status)?;
        let status = reply.data()?;
        let problems = health::problems(&status);
        if self.show.json {
            output::json(&reply.json)?;
        } else {
            output::line(&show::text(&status, &problems))?;
        }
        Ok(if problems.is_empty() { FINE } else { FAILED })
    }
}
