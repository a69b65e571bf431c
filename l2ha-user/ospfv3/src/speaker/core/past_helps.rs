//! Helps with graceful restarts that are over.

use std::collections::BTreeMap;

use crate::config::Time;
use crate::graceful::HelpEnd;
use crate::peer::Peer;

/// Most that are remembered.
const MAX_PAST: usize = 64;

/// A help that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastHelp {
    /// When.
    pub at: Time,
    /// Why.
    pub why: HelpEnd,
}

/// The last of each neighbour.
#[derive(Clone, Debug, Default)]
pub(crate) struct PastHelps(BTreeMap<Peer, PastHelp>);

impl PastHelps {
    pub(crate) fn add(&mut self, peer: Peer, past: PastHelp) {
        if self.0.len() >= MAX_PAST {
            let oldest = self.0.iter().min_by_key(|(_, past)| past.at);
            if let Some(peer) = oldest.map(|(peer, _)| *peer) {
                self.0.remove(&peer);
            }
        }
        self.0.insert(peer, past);
    }

    pub(crate) fn get(&self, peer: Peer) -> Option<PastHelp> {
        self.0.get(&peer).copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Peer, PastHelp)> {
        self.0.iter().map(|(peer, past)| (*peer, *past))
    }
}
