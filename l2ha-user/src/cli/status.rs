//! `l2ha status`.

mod show;

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use control::{Health, Reply};

use super::{FINE, output, socket::Show};

/// How often a node that is waited for is asked.
const AGAIN: Duration = Duration::from_millis(200);
/// The node is degraded.
const DEGRADED: u8 = 1;
/// The node has failed, or no daemon answers.
const FAILED: u8 = 2;

/// Show whether something is wrong, and what the daemon does
///
/// The first line says whether the node is healthy, degraded or failed; then comes what is wrong, the worst
/// first, each with its cause and the line to change. The exit status is 0 when it is healthy, 1 when it
/// is degraded, 2 when it has failed or does not answer.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  l2ha status
  l2ha status --counters
  l2ha status --wait 30 && echo healthy
  l2ha status --json | jq '.problems[] | {id, subject, remedy}'
  l2ha status --socket /run/l2ha/server-1.sock")]
pub(super) struct Status {
    #[command(flatten)]
    show: Show,
    /// Show all counters, too
    #[arg(long)]
    counters: bool,
    /// Wait until the node is healthy, at most for so long
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u32>,
}

impl Status {
    pub(super) fn main(self) -> Result<u8> {
        let (reply, status) = match self.ask() {
            Ok(answer) => answer,
            Err(error) => {
                output::error(&format!("l2ha: {error:#}"));
                return Ok(FAILED);
            }
        };
        if self.show.json {
            output::json(&reply.json)?;
        } else {
            output::line(&show::text(&status, self.counters))?;
        }
        Ok(match status.health {
            Health::Healthy => FINE,
            Health::Degraded => DEGRADED,
            Health::Failed => FAILED,
        })
    }

    /// Asks, again and again if the node is waited for.
    fn ask(&self) -> Result<(Reply<control::Status>, control::Status)> {
        let patience = Duration::from_secs(self.wait.unwrap_or_default().into());
        let until = Instant::now() + patience;
        loop {
            let reply = self.show.daemon.ask(control::Command::Status);
            let answer = reply.and_then(|reply| {
                let status = reply.data()?;
                Ok((reply, status))
            });
            let is_healthy = answer
                .as_ref()
                .is_ok_and(|(_, status)| status.health == Health::Healthy);
            if is_healthy || Instant::now() >= until {
                return answer;
            }
            thread::sleep(AGAIN);
        }
    }
}
