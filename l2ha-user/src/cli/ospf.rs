//! `l2ha ospf`.

mod views;

use anyhow::Result;

use super::{FINE, output, socket::Daemon};

/// Show OSPF's interfaces, neighbours, database or routes
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  l2ha ospf neighbors
  l2ha ospf database --json | jq '.[] | select(.own) | .type'
  l2ha ospf routes --config /etc/l2ha/l2ha.toml")]
pub(super) struct Ospf {
    #[command(subcommand)]
    view: View,
}

#[derive(Debug, clap::Subcommand)]
enum View {
    /// Show the interfaces, their areas, and who is Designated Router there
    #[command(after_help = "Examples:
  l2ha ospf interfaces
  l2ha ospf interfaces --json | jq '.[] | {name, area, state}'")]
    Interfaces(Show),
    /// Show the neighbours and how far the adjacency with each is
    #[command(after_help = "Examples:
  l2ha ospf neighbors
  l2ha ospf neighbors --json | jq '.[].state'")]
    Neighbors(Show),
    /// Show the link-state database
    #[command(after_help = "Examples:
  l2ha ospf database
  l2ha ospf database --json | jq '.[] | select(.own) | .body'")]
    Database(Show),
    /// Show the routes that OSPF has computed
    #[command(after_help = "Examples:
  l2ha ospf routes
  l2ha ospf routes --json | jq '.[].nexthops'")]
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
        let (show, command, view) = match self.view {
            View::Interfaces(show) => (show, control::Command::OspfInterfaces, &views::INTERFACES),
            View::Neighbors(show) => (show, control::Command::OspfNeighbors, &views::NEIGHBORS),
            View::Database(show) => (show, control::Command::OspfDatabase, &views::DATABASE),
            View::Routes(show) => (show, control::Command::OspfRoutes, &views::ROUTES),
        };
        let answer = show.daemon.ask(command)?;
        if show.json {
            output::json(&answer)?;
        } else {
            output::line(&view.text(&answer)?)?;
        }
        Ok(FINE)
    }
}
