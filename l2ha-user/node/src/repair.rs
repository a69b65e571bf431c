//! What was found wrong and repaired, counted by kind and logged.

use std::collections::BTreeMap;

/// The kinds of repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// The virtual interface was gone or not a pair any more.
    Interface,
    /// The virtual interface was down, or its MTU, MAC address or an offload was changed.
    Setting,
    /// An address was missing from a virtual interface.
    Address,
    /// A tc program was gone from a virtual interface.
    Filter,
    /// The program was gone from the underlay.
    Underlay,
    /// A service's address was missing from the loopback.
    Service,
    /// What an earlier configuration or a crashed daemon had left was removed.
    Leftover,
    /// A program was taken off the underlay again, because it cut the node off.
    RolledBack,
}

impl Kind {
    /// The name that status shows.
    fn name(self) -> &'static str {
        match self {
            Self::Interface => "interface",
            Self::Setting => "setting",
            Self::Address => "address",
            Self::Filter => "filter",
            Self::Underlay => "underlay",
            Self::Service => "service",
            Self::Leftover => "leftover",
            Self::RolledBack => "rolled_back",
        }
    }
}

/// Counts of repairs since the start.
#[derive(Debug, Default)]
pub(crate) struct Repairs {
    counts: BTreeMap<Kind, u64>,
    /// Whether the first pass is done: what is made before that is no repair.
    started: bool,
}

impl Repairs {
    /// From now on, what has to be made is a repair.
    pub(crate) fn start(&mut self) {
        self.started = true;
    }

    /// Records that something was missing or wrong and is now being repaired.
    pub(crate) fn found(&mut self, kind: Kind, subject: &str, what: &str) {
        if self.started || kind == Kind::Leftover {
            *self.counts.entry(kind).or_default() += 1;
            tracing::warn!(kind = kind.name(), subject, "repair: {what}");
        } else {
            tracing::info!(subject, "setting up: {what}");
        }
    }

    /// Counts one that is logged elsewhere.
    pub(crate) fn count(&mut self, kind: Kind) {
        *self.counts.entry(kind).or_default() += 1;
    }

    /// The counts by name.
    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        self.counts
            .iter()
            .map(|(kind, count)| (kind.name().to_owned(), *count))
            .collect()
    }
}
