//! `l2ha leave`.

use std::{path::PathBuf, thread, time::Duration};

use anyhow::Result;
use control::Command;
use membership::Done;

use super::{Etcd, FINE, output};

/// How long others need to take over.
const DRAIN: Duration = Duration::from_secs(2);

/// Take this node out of the cluster for good: all others remove their tunnels to it
///
/// First the daemon here, if one runs, has others take over what it serves, as `l2ha drain` does. Stop it afterwards. A
/// node that has not joined has nothing to leave.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  l2ha leave && systemctl stop l2ha
  l2ha leave --now")]
pub(in super::super) struct Leave {
    #[command(flatten)]
    etcd: Etcd,
    /// Control socket of the daemon that is drained first [default: that of the file's node]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Do not wait until others have taken over
    #[arg(long)]
    now: bool,
}

impl Leave {
    pub(in super::super) fn main(self) -> Result<u8> {
        let membership = self.etcd.membership()?;
        if !self.now {
            let socket = match self.socket {
                Some(socket) => Some(socket),
                None => node::who(None)
                    .ok()
                    .and_then(|who| config::Node::load(&self.etcd.path, &who).ok())
                    .map(|node| node.socket()),
            };
            let drained = socket.map(|socket| {
                control::ask(&socket, |returns| Command::Drain {
                    on: true,
                    service: None,
                    returns,
                })
            });
            match drained {
                Some(Ok(_)) => thread::sleep(DRAIN),
                Some(Err(error)) => {
                    output::error(&format!("l2ha leave: nothing is drained first: {error:#}"))
                }
                None => {}
            }
        }
        let done = membership::leave(&membership, self.etcd.patience())?;
        output::line(match done {
            Done::Now => "left the cluster; stop l2ha here now",
            Done::Before | Done::FromList(_) => {
                "this host is no node of the cluster that has joined"
            }
        })?;
        Ok(FINE)
    }
}
