//! What competes for a prefix.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::tree::Path;
use super::{Nexthop, PathKind, Route};
use crate::config::BACKBONE;

/// How good a path is; the lesser wins. RFC 2328 11 and 16.4 (6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) kind: PathKind,
    /// None, which type 1 and internal paths have, is less than any.
    pub(super) type2_metric: Option<u32>,
    /// Of an external path, how it gets to the boundary router.
    pub(super) preference: Preference,
    pub(super) cost: u32,
}

/// RFC 2328 16.4.1: a way within an area other than the backbone is better than the rest, which is
/// equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Preference {
    WithinAnArea,
    #[default]
    Other,
}

impl Preference {
    pub(super) fn of<'a>(kind: PathKind, areas: impl IntoIterator<Item = &'a Ipv4Addr>) -> Self {
        if kind == PathKind::IntraArea && !areas.into_iter().any(|area| *area == BACKBONE) {
            Self::WithinAnArea
        } else {
            Self::Other
        }
    }
}

impl Rank {
    pub(super) fn internal(kind: PathKind, cost: u32) -> Self {
        Self {
            kind,
            type2_metric: None,
            preference: Preference::default(),
            cost,
        }
    }
}

/// A way as it is offered.
pub(super) struct Offer<'a> {
    pub(super) rank: Rank,
    pub(super) nexthops: &'a BTreeSet<Nexthop>,
    /// The routers that advertise the destination.
    pub(super) router: Ipv4Addr,
    /// The area it leads through; none out of the AS.
    pub(super) area: Option<Ipv4Addr>,
}

/// The best ways to one prefix found so far.
pub(super) struct Best {
    rank: Rank,
    nexthops: Vec<Nexthop>,
    routers: Vec<Ipv4Addr>,
    areas: Vec<Ipv4Addr>,
}

impl Best {
    /// Offers a path: kept if it is the best, joined if it is as good.
    pub(super) fn offer(best: &mut Option<Self>, offer: &Offer<'_>) {
        match best {
            Some(best) if best.rank < offer.rank => {}
            Some(best) if best.rank == offer.rank => {
                best.nexthops.extend(offer.nexthops);
                best.routers.push(offer.router);
                best.areas.extend(offer.area);
            }
            _ => {
                *best = Some(Self {
                    rank: offer.rank,
                    nexthops: offer.nexthops.iter().copied().collect(),
                    routers: vec![offer.router],
                    areas: offer.area.into_iter().collect(),
                });
            }
        }
    }

    pub(super) fn preference(&self) -> Preference {
        Preference::of(self.rank.kind, &self.areas)
    }

    pub(super) fn into_path(self) -> Path {
        Path {
            cost: self.rank.cost,
            nexthops: Arc::new(self.nexthops.into_iter().collect()),
        }
    }

    pub(super) fn finish(self, max_paths: usize) -> Option<Route> {
        let mut nexthops = sorted(self.nexthops);
        nexthops.truncate(max_paths.max(1));
        (!nexthops.is_empty()).then(|| Route {
            metric: self.rank.cost,
            type2_metric: self.rank.type2_metric,
            kind: self.rank.kind,
            nexthops,
            routers: sorted(self.routers),
            areas: sorted(self.areas),
        })
    }
}

/// In order, and each once.
fn sorted<T: Ord>(mut of: Vec<T>) -> Vec<T> {
    of.sort_unstable();
    of.dedup();
    of
}
