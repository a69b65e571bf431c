//! `l2ha ospf`.

use anyhow::Result;
use serde_json::Value;

use super::{FINE, output, socket::Daemon, table};
use crate::control;

/// Show OSPF's neighbours, database or routes
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  l2ha ospf neighbors
  l2ha ospf database --json | jq '.[].age'
  l2ha ospf routes --config /etc/l2ha/l2ha.toml")]
pub(super) struct Ospf {
    #[command(subcommand)]
    view: View,
}

#[derive(Debug, clap::Subcommand)]
enum View {
    /// Show the neighbours and how far the adjacency with each is
    Neighbors(Show),
    /// Show the link-state database
    Database(Show),
    /// Show the routes that OSPF has computed
    Routes(Show),
}

#[derive(Debug, clap::Args)]
struct Show {
    #[command(flatten)]
    daemon: Daemon,
    /// Print the daemon's JSON
    #[arg(long)]
    json: bool,
}

impl Ospf {
    pub(super) fn main(self) -> Result<u8> {
        let (show, command, none) = match self.view {
            View::Neighbors(show) => (show, control::Command::OspfNeighbors, "no neighbours"),
            View::Database(show) => (
                show,
                control::Command::OspfDatabase,
                "the database is empty",
            ),
            View::Routes(show) => (show, control::Command::OspfRoutes, "no routes"),
        };
        let answer = show.daemon.ask(command)?;
        if show.json {
            output::json(&answer)?;
        } else {
            output::line(&text(&answer, none)?)?;
        }
        Ok(FINE)
    }
}

fn text(answer: &Value, none: &str) -> Result<String> {
    Ok(match answer {
        Value::Array(rows) if rows.is_empty() => none.to_owned(),
        Value::Array(rows) => table::of_objects(rows),
        other => serde_json::to_string_pretty(other)?,
    })
}
