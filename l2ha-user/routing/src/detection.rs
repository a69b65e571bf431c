//! BFD in OSPF's service (RFC 5882): a session for each neighbour, and a neighbour lost when its
//! session fails.

use std::{collections::BTreeMap, net::Ipv6Addr, time::Duration};

use bfd::State;
use ospfv3::{NeighborState, NeighborView};
use tokio::sync::{mpsc, oneshot};

use crate::bfd::{Bfd, Change, News, Peer, View};
use crate::types::Interface;

/// What was heard of the sessions.
pub(crate) enum Heard {
    /// One has failed.
    Failed(Change),
    /// [`Detection::silences`] is different now.
    Silences,
}

/// The BFD thread and whom it watches.
pub(crate) struct Detection {
    bfd: Option<Bfd>,
    watched: Vec<Peer>,
    changes: mpsc::UnboundedReceiver<News>,
    silences: BTreeMap<(u32, Ipv6Addr), Duration>,
}

impl Detection {
    /// Starts the thread: at the daemon's start, while it still may have real-time priority.
    pub(crate) fn start() -> Self {
        let (sender, changes) = mpsc::unbounded_channel();
        let bfd = Bfd::start(sender)
            .inspect_err(|error| tracing::error!(error = format!("{error:#}"), "no BFD"));
        Self {
            bfd: bfd.ok(),
            watched: Vec::new(),
            changes,
            silences: BTreeMap::new(),
        }
    }

    /// Watches exactly those neighbours with which an adjacency is there or being made.
    pub(crate) fn follow<'a>(
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
                    keys: interface.bfd_keys.clone(),
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

    /// Waits for a session to fail, or to notice failures after another time than before. A session
    /// that ends by will has not failed (RFC 5882 3.2).
    pub(crate) async fn heard(&mut self) -> Heard {
        loop {
            match self.changes.recv().await {
                Some(News::Changed(change))
                    if change.event.from == State::Up && !change.by_will =>
                {
                    return Heard::Failed(change);
                }
                Some(News::Changed(_)) => {}
                Some(News::DetectsIn {
                    interface,
                    remote,
                    silence,
                }) => {
                    let key = (interface, remote);
                    match silence {
                        Some(silence) => self.silences.insert(key, silence),
                        None => self.silences.remove(&key),
                    };
                    return Heard::Silences;
                }
                None => std::future::pending().await,
            }
        }
    }

    /// How long each interface may be silent before the sessions over it have failed.
    pub(crate) fn silences(&self) -> BTreeMap<u32, Duration> {
        let mut longest: BTreeMap<u32, Duration> = BTreeMap::new();
        for ((interface, _), silence) in &self.silences {
            let entry = longest.entry(*interface).or_default();
            *entry = (*silence).max(*entry);
        }
        longest
    }

    /// Ends all sessions by will.
    pub(crate) fn stop(&mut self) {
        self.bfd = None;
        self.watched.clear();
    }

    /// Leaves all sessions without a word, for the next start to take them up.
    pub(crate) fn abandon(&mut self) {
        // Dropping it would end the sessions by will.
        std::mem::forget(self.bfd.take());
        self.watched.clear();
    }

    /// What there is to show; none without BFD.
    pub(crate) fn show(&self) -> Option<oneshot::Receiver<View>> {
        self.bfd.as_ref().map(Bfd::show)
    }
}
