//! `l2ha forget`.

use anyhow::Result;
use membership::Done;

use super::{Etcd, FINE, output};

/// Take another node out of the cluster that will not come back: all others remove their tunnels to it
///
/// Its name is free afterwards. A node that is present is refused, unless that is meant. [membership] `forget_after`
/// does the same after a time.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  l2ha forget web-4
  l2ha forget web-4 --present")]
pub(in super::super) struct Forget {
    #[command(flatten)]
    etcd: Etcd,
    /// Name of the node
    #[arg(value_name = "NODE")]
    node: String,
    /// Also if it is present
    #[arg(long)]
    present: bool,
}

impl Forget {
    pub(in super::super) fn main(self) -> Result<u8> {
        let membership = self.etcd.membership()?;
        let name = &self.node;
        if membership.local.contains_key(name) {
            anyhow::bail!("{name} is in the file: remove its line on all nodes, and reload");
        }
        let done = membership::forget(&membership, name, self.present, self.etcd.patience())?;
        output::line(&match done {
            Done::Now => format!("{name} is forgotten"),
            Done::Before | Done::FromList(_) => format!("{name} had left before"),
        })?;
        Ok(FINE)
    }
}
