//! BFD in OSPF's service (RFC 5882): a session for each neighbour, and a neighbour lost when its
//! session fails.

use bfd::State;
use ospfv3::{NeighborState, NeighborView};
use tokio::sync::{mpsc, oneshot};

use super::Interface;
use crate::bfd::{Bfd, Change, Peer, View};

/// The BFD thread and whom it watches.
pub(super) struct Detection {
    bfd: Option<Bfd>,
    watched: Vec<Peer>,
    changes: mpsc::UnboundedReceiver<Change>,
}

impl Detection {
    /// Starts the thread: at the daemon's start, while it still may have real-time priority.
    pub(super) fn start() -> Self {
        let (sender, changes) = mpsc::unbounded_channel();
        let bfd = Bfd::start(sender)
            .inspect_err(|error| tracing::error!(error = format!("{error:#}"), "no BFD"));
        Self {
            bfd: bfd.ok(),
            watched: Vec::new(),
            changes,
        }
    }

    /// Watches exactly those neighbours with which an adjacency is there or being made.
    pub(super) fn follow<'a>(
        &mut self,
        neighbors: &[NeighborView],
        interface: impl Fn(u32) -> Option<&'a Interface>,
    ) {
        let peers: Vec<Peer> = neighbors
            .iter()
            .filter(|neighbor| neighbor.state >= NeighborState::ExStart)
            .filter_map(|neighbor| {
                let interface = interface(neighbor.interface)?;
                Some(Peer {
                    interface: interface.index,
                    name: interface.name.clone(),
                    local: interface.link_local,
                    remote: neighbor.address,
                    timers: interface.bfd?,
                })
            })
            .collect();
        if peers == self.watched {
            return;
        }
        if let Some(bfd) = &self.bfd {
            bfd.watch(peers.clone());
            self.watched = peers;
        }
    }

    /// Waits for a session to fail; a session that ends by will has not (RFC 5882 3.2).
    pub(super) async fn failed(&mut self) -> Change {
        loop {
            match self.changes.recv().await {
                Some(change) if change.event.from == State::Up && !change.by_will => return change,
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Ends all sessions by will.
    pub(super) fn stop(&mut self) {
        self.bfd = None;
        self.watched.clear();
    }

    /// What there is to show; none without BFD.
    pub(super) fn show(&self) -> Option<oneshot::Receiver<View>> {
        self.bfd.as_ref().map(Bfd::show)
    }
}
