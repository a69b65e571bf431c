//! BFD for OSPF (RFC 5882): a session for each neighbour, and a neighbour lost when its
//! session fails.

use control::BfdStatus;
use ospfv3::{NeighborState, NeighborView};
use tokio::sync::{mpsc, oneshot};

use crate::bfd::{Notice, Peer, Sessions, ThreadSessions};
use crate::types::Interface;

/// BFD, and which neighbours it watches.
pub(crate) struct Detection {
    sessions: Option<Box<dyn Sessions>>,
    watched: Vec<Peer>,
    notices: mpsc::UnboundedReceiver<Notice>,
}

impl Detection {
    /// With the sessions of BFD's thread, if there is one.
    pub(crate) fn of(thread: Option<(ThreadSessions, mpsc::UnboundedReceiver<Notice>)>) -> Self {
        match thread {
            Some((sessions, notices)) => Self::new(Some(Box::new(sessions)), notices),
            None => Self::new(None, mpsc::unbounded_channel().1),
        }
    }

    /// With sessions that report to `notices`.
    pub(crate) fn new(
        sessions: Option<Box<dyn Sessions>>,
        notices: mpsc::UnboundedReceiver<Notice>,
    ) -> Self {
        Self {
            sessions,
            watched: Vec::new(),
            notices,
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
                    keys: interface.bfd_keys_for(neighbor.rotation),
                })
            })
            .collect();
        if peers == self.watched {
            return;
        }
        if let Some(sessions) = &self.sessions {
            sessions.watch(peers.clone());
            self.watched = peers;
        }
    }

    /// Waits for what BFD reports.
    pub(crate) async fn next(&mut self) -> Notice {
        let notice = match &self.sessions {
            Some(_) => self.notices.recv().await,
            None => None,
        };
        match notice {
            Some(notice) => notice,
            None => std::future::pending().await,
        }
    }

    /// Ends all sessions (AdminDown).
    pub(crate) fn stop(&mut self) {
        self.sessions = None;
        self.watched.clear();
    }

    /// Leaves all sessions as they are, for the next start to take them up.
    pub(crate) fn abandon(&mut self) {
        if let Some(sessions) = self.sessions.take() {
            sessions.abandon();
        }
        self.watched.clear();
    }

    /// What there is to show; none without BFD.
    pub(crate) fn show(&self) -> Option<oneshot::Receiver<BfdStatus>> {
        self.sessions.as_ref().map(|sessions| sessions.show())
    }
}
