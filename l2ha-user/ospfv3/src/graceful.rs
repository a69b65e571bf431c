//! Graceful restart (RFC 5187, RFC 3623): what is announced, and why one or the help with one ends.

use serde::{Deserialize, Serialize};

use crate::config::Time;
use crate::wire::GraceReason;

/// A graceful restart as it is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct GracefulRestart {
    /// For how many seconds the neighbours shall go on as if nothing happened: 1 to 1800 (RFC 3623
    /// B.1).
    pub period: u16,
    /// Why.
    pub reason: GraceReason,
}

/// Why our restart is over: RFC 3623 2.3.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, thiserror::Error,
)]
#[serde(rename_all = "snake_case")]
pub enum RestartEnd {
    /// Every adjacency of before is Full again.
    #[error("every adjacency of before is there again")]
    Completed,
    /// A neighbour says that we are not adjacent.
    #[error("a neighbour has given up the adjacency")]
    Inconsistent,
    /// A neighbour of before has not been heard for its dead interval.
    #[error("a neighbour of before is silent")]
    NeighborMissing,
    /// The grace period is over.
    #[error("the grace period is over")]
    Expired,
}

/// Why a neighbour is not helped with its restart.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, thiserror::Error,
)]
#[serde(rename_all = "snake_case")]
pub enum HelpRefusal {
    /// The configuration says so.
    #[error("graceful_helper is off")]
    Disabled,
    /// It was not Full.
    #[error("the neighbour was not adjacent any more")]
    NotAdjacent,
    /// Its grace period is over already.
    #[error("its grace period is over")]
    Expired,
    /// It does not know of a change that it should know of.
    #[error("an LSA has changed that it has not acknowledged")]
    Changed,
    /// We are restarting ourselves.
    #[error("this router is restarting itself")]
    Restarting,
}

/// Why a help has ended.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, thiserror::Error,
)]
#[serde(rename_all = "snake_case")]
pub enum HelpEnd {
    /// The neighbour is back.
    #[error("the neighbour is back")]
    Completed,
    /// The neighbour says that it is done, and is not.
    #[error("the neighbour says that it is done, and has not become Full")]
    NotFull,
    /// Its grace period is over.
    #[error("its grace period is over")]
    Expired,
    /// An LSA changed that it would have to know of.
    #[error("the topology has changed")]
    TopologyChanged,
    /// The path to it is gone, whatever it says.
    #[error("the path to the neighbour is gone")]
    PathLost,
    /// It came back under another Interface ID.
    #[error("the neighbour came back under another Interface ID")]
    InterfaceIdChanged,
    /// Our interface is down.
    #[error("our interface is down")]
    InterfaceDown,
}

/// How far a graceful restart of ours is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Before the restart: announced to the neighbours.
    Announcing,
    /// After it: learning our adjacencies and LSAs of before from the neighbours.
    Resuming,
    /// Over; the Grace-LSAs are flushed at this time.
    Finishing(Time),
}
