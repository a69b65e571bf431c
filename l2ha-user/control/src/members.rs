//! Those who joined the cluster, for `l2ha members`.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Those who joined, and etcd, where they are registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// URL of the member of etcd that is watched; none while etcd is away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected: Option<String>,
    /// Why etcd is away, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub away: Option<String>,
    /// For how many milliseconds it has been so.
    pub since_ms: u64,
    /// How often the connection was lost, or could not be made, since the start.
    pub retries: u64,
    /// Revision of etcd up to which everything is known.
    pub revision: i64,
    /// What etcd says of this node itself: `none` (it is one of the file), `fine`, `missing`, `gone` or `held`.
    pub registration: String,
    /// Why its own record or lease could not be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_problem: Option<String>,
    /// Why the list could not be written down, from which the next start begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unwritten: Option<String>,
    /// Those who joined, in the order in which they did.
    pub members: Vec<Member>,
    /// Those who are no part of the cluster.
    pub refused: Vec<RefusedMember>,
    /// Records that were refused, since the start.
    pub records_refused: u64,
    /// Records of a time before what is known, likewise.
    pub records_stale: u64,
    /// Times that etcd came back with less than before, likewise.
    pub restored: u64,
}

/// A node that joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// `server`, `client` or `gateway`.
    pub role: String,
    /// Its addresses on the underlay.
    pub addresses: Vec<IpAddr>,
    /// The services that it has.
    pub services: Vec<String>,
    /// How it is.
    pub state: MemberState,
    /// Since when it is absent; seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent_since: Option<u64>,
}

/// How a node that joined is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemberState {
    /// Its lease runs.
    Present,
    /// It does not; its tunnels stay.
    Absent,
    /// It is gone, and its tunnels stay until `l2ha accept`, since so many go at once.
    Leaving,
}

impl MemberState {
    /// The word for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Absent => "absent",
            Self::Leaving => "leaving",
        }
    }
}

/// A node that is no part of the cluster although etcd has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedMember {
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: String,
}
