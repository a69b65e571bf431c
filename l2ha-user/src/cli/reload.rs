//! `l2ha reload`.

use std::fmt::Write as _;

use anyhow::Result;
use control::{Command, Reloaded};

use super::socket::{Daemon, Show};

/// Have the daemon read its configuration again, and say what that changes
///
/// Only what has changed is touched, and each change is named with what it interrupts, if it does. A file
/// with mistakes changes nothing: each of them is printed, the exit status is 1, and the refused file is a
/// problem in `l2ha status`. With `--dry-run` nothing is done either: what would be is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  l2ha reload --dry-run
  l2ha reload
  l2ha reload --dry-run --json | jq '.changes[] | select(.interrupts)'")]
pub(super) struct Reload {
    #[command(flatten)]
    daemon: Daemon,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Print the daemon's JSON
    #[arg(long)]
    json: bool,
}

impl Reload {
    pub(super) fn main(self) -> Result<u8> {
        let Self {
            daemon,
            dry_run,
            json,
        } = self;
        let command = |returns| Command::Reload { dry_run, returns };
        Show { daemon, json }.print(command, text)
    }
}

fn text(answer: &Reloaded) -> String {
    let Reloaded {
        node,
        config_file,
        dry_run,
        changes,
        ..
    } = answer;
    let count = match changes.len() {
        0 => "nothing in".to_owned(),
        1 => "1 change from".to_owned(),
        several => format!("{several} changes from"),
    };
    let mut text = match (dry_run, changes.is_empty()) {
        (true, false) => format!("{node}: a reload would take {count} {config_file}"),
        (false, false) => format!("{node}: took {count} {config_file}"),
        (_, true) => format!("{node}: {count} {config_file} has changed"),
    };
    for change in changes {
        // Writing to a String does not fail.
        let _ = write!(text, "\n  {}", change.what);
        if let Some(interrupts) = &change.interrupts {
            let _ = write!(text, "\n    interrupts: {interrupts}");
        }
    }
    if !changes.is_empty() && changes.iter().all(|change| change.interrupts.is_none()) {
        text.push_str(if *dry_run {
            "\nnothing would be interrupted"
        } else {
            "\nnothing was interrupted"
        });
    }
    if !answer.settled {
        text.push_str("\nroutes are still moving to their new place; see `l2ha status`");
    }
    text
}

#[cfg(test)]
mod tests {
    use control::ReloadChange;

    use super::*;

    fn answer(dry_run: bool, changes: &[(&str, Option<&str>)]) -> Reloaded {
        let changes = changes.iter().map(|(what, interrupts)| ReloadChange {
            what: (*what).to_owned(),
            interrupts: interrupts.map(str::to_owned),
        });
        Reloaded {
            node: "server-1".to_owned(),
            config_file: "/etc/l2ha/l2ha.toml".to_owned(),
            dry_run,
            changes: changes.collect(),
            pause_us: 900,
            settled: true,
        }
    }

    #[test]
    fn each_change_has_a_line_and_what_it_interrupts_another() {
        let cost = ("tunnel client: cost 10 -> 20", None);
        let area = (
            "tunnel client: area 0.0.0.0 -> 0.0.0.1",
            Some("its adjacency"),
        );
        assert_eq!(
            text(&answer(false, &[cost])),
            "server-1: took 1 change from /etc/l2ha/l2ha.toml
  tunnel client: cost 10 -> 20
nothing was interrupted"
        );
        assert_eq!(
            text(&answer(true, &[cost, area])),
            "server-1: a reload would take 2 changes from /etc/l2ha/l2ha.toml
  tunnel client: cost 10 -> 20
  tunnel client: area 0.0.0.0 -> 0.0.0.1
    interrupts: its adjacency"
        );
        assert_eq!(
            text(&answer(false, &[])),
            "server-1: nothing in /etc/l2ha/l2ha.toml has changed"
        );
        let busy = Reloaded {
            settled: false,
            ..answer(false, &[cost])
        };
        assert!(text(&busy).ends_with("see `l2ha status`"));
    }
}
