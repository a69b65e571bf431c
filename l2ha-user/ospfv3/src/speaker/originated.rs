//! Our own LSAs: those we should originate, and what we remember of those we have originated.

use std::collections::BTreeMap;

use crate::config::{Config, Time};
use crate::lsdb::DbId;
use crate::pace::Pace;
use crate::wire::{LsaBody, LsaKey};

/// What we should originate.
pub(crate) type Desired = BTreeMap<(DbId, LsaKey), LsaBody>;

/// What we remember of an LSA we originated, even after it is gone from the database.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Originated {
    /// Sequence number of the latest instance.
    pub(crate) sequence: i32,
    /// When that instance was originated.
    pub(crate) at: Time,
    /// How often that may be.
    pub(crate) pace: Pace,
    /// When it was withdrawn.
    pub(crate) flushed_at: Option<Time>,
    /// When we last superseded an instance that was not ours.
    pub(crate) superseded_at: Option<Time>,
}

impl Originated {
    /// Whether a new instance would have to wait: for MinLSInterval here, or for MinLSArrival at
    /// routers that still have the withdrawn one.
    pub(crate) fn is_held(&self, now: Time, config: &Config) -> bool {
        now < self.at + config.min_ls_interval
            || self
                .flushed_at
                .is_some_and(|at| now < at + config.min_ls_arrival * 2)
    }
}
