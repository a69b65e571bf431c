//! `l2ha ospf`.

mod views;

use anyhow::Result;
use control::Command;

use super::socket::Show;

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

impl Ospf {
    pub(super) fn main(self) -> Result<u8> {
        match self.view {
            View::Interfaces(it) => it.print(Command::OspfInterfaces, |it| views::interfaces(it)),
            View::Neighbors(it) => it.print(Command::OspfNeighbors, |it| views::neighbors(it)),
            View::Database(it) => it.print(Command::OspfDatabase, |it| views::database(it)),
            View::Routes(it) => it.print(Command::OspfRoutes, |it| views::routes(it)),
        }
    }
}
