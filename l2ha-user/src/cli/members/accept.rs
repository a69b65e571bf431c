//! `l2ha accept`.

use anyhow::Result;

use super::{Etcd, FINE, output};

/// Let nodes go although they are more than a third of all
///
/// What would take so many away at once can be a mistake: such nodes wait, and their tunnels stay. `l2ha members` shows
/// them as leaving. One node's word is enough for all.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  l2ha accept
  l2ha accept web-4 web-5")]
pub(in super::super) struct Accept {
    #[command(flatten)]
    etcd: Etcd,
    /// Names of nodes [default: all that wait]
    #[arg(value_name = "NODE")]
    nodes: Vec<String>,
}

impl Accept {
    pub(in super::super) fn main(self) -> Result<u8> {
        let membership = self.etcd.membership()?;
        let names = membership::accept(&membership, &self.nodes, self.etcd.patience())?;
        output::line(&match names.is_empty() {
            true => "nobody waits".to_owned(),
            false => format!("may go: {}", names.join(", ")),
        })?;
        Ok(FINE)
    }
}
