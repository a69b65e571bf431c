//! How the routers of all areas are reached: the trees, and the ways to boundary routers. What is
//! behind the routers is not in here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::external::Externals;
use super::inter_area::inter_area_routers;
use super::tree::{Path, Tree, Vertex};
use super::{AreaInput, BoundaryRoute, LinkLocal};
use crate::wire::Options;

/// The ways to all routers.
#[derive(Clone, Debug, Default)]
pub(super) struct Ways {
    areas: BTreeMap<Ipv4Addr, AreaWays>,
    pub(super) boundary: BTreeMap<Ipv4Addr, BoundaryRoute>,
    /// Whether there are adjacencies of ours that the neighbour's Router-LSA does not tell of.
    pub(super) one_way: bool,
}

#[derive(Clone, Debug, Default)]
struct AreaWays {
    paths: BTreeMap<Vertex, Path>,
    /// The border routers whose summaries count.
    borders: BTreeSet<Ipv4Addr>,
}

impl AreaWays {
    fn new(input: &AreaInput<'_>, tree: Tree<'_>) -> Self {
        let border = |router: &Ipv4Addr| {
            // RFC 2328 16.2 (4). Without the R bit nothing is routed through it (RFC 5340 A.2).
            let node = tree.routers.get(router);
            node.is_some_and(|node| node.bits.border && node.options.contains(Options::R))
        };
        let borders = tree.routers.keys().filter(|router| border(router)).copied();
        let borders = if input.summaries {
            borders.collect()
        } else {
            BTreeSet::new()
        };
        Self {
            paths: tree.paths,
            borders,
        }
    }
}

impl Ways {
    pub(super) fn compute(areas: &[AreaInput<'_>], link_local: LinkLocal<'_>) -> Self {
        let mut externals = Externals::default();
        let trees: Vec<Tree<'_>> = areas
            .iter()
            .map(|area| Tree::compute(area, link_local))
            .collect();
        for (area, tree) in areas.iter().zip(&trees) {
            externals.add_routers(area, tree);
        }
        for (area, tree) in areas.iter().zip(&trees) {
            if area.summaries {
                inter_area_routers(area, tree, &mut externals);
            }
        }
        let one_way = trees.iter().any(|tree| !tree.one_way.is_empty());
        let ways = areas.iter().zip(trees);
        Self {
            areas: ways
                .map(|(area, tree)| (area.area, AreaWays::new(area, tree)))
                .collect(),
            boundary: externals.finish(),
            one_way,
        }
    }

    /// The way to a vertex of an area.
    pub(super) fn path(&self, area: Ipv4Addr, vertex: Vertex) -> Option<&Path> {
        self.areas.get(&area)?.paths.get(&vertex)
    }

    /// The way to a border router of an area.
    pub(super) fn border(&self, area: Ipv4Addr, router: Ipv4Addr) -> Option<&Path> {
        let area = self.areas.get(&area)?;
        if !area.borders.contains(&router) {
            return None;
        }
        area.paths.get(&Vertex::Router(router))
    }

    /// The routers that are reached otherwise than in `old`, or of which something else counts.
    pub(super) fn moved(&self, old: &Self, routers: &mut BTreeSet<Ipv4Addr>) {
        differing(&self.boundary, &old.boundary, |router| {
            routers.insert(*router);
        });
        let none = AreaWays::default();
        for area in self.areas.keys().chain(old.areas.keys()) {
            let new = self.areas.get(area).unwrap_or(&none);
            let old = old.areas.get(area).unwrap_or(&none);
            differing(&new.paths, &old.paths, |vertex| {
                routers.insert(match vertex {
                    Vertex::Network { router, .. } | Vertex::Router(router) => *router,
                });
            });
            routers.extend(new.borders.symmetric_difference(&old.borders));
        }
    }
}

/// The keys whose values are not the same in both.
fn differing<K: Ord, V: PartialEq>(
    a: &BTreeMap<K, V>,
    b: &BTreeMap<K, V>,
    mut say: impl FnMut(&K),
) {
    let (mut left, mut right) = (a.iter().peekable(), b.iter().peekable());
    loop {
        match (left.peek(), right.peek()) {
            (None, None) => return,
            (Some((key, value)), Some((other, beside))) if key == other => {
                if value != beside {
                    say(key);
                }
                left.next();
                right.next();
            }
            (Some((key, _)), other) if other.is_none_or(|(other, _)| key < other) => {
                say(key);
                left.next();
            }
            (_, Some((key, _))) => {
                say(key);
                right.next();
            }
            (Some(_), None) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_one_side_and_values_of_two() {
        let found = |a: &[(u8, u8)], b: &[(u8, u8)]| {
            let (a, b) = (a.iter().copied().collect(), b.iter().copied().collect());
            let mut keys = Vec::new();
            differing(&a, &b, |key| keys.push(*key));
            keys
        };
        assert_eq!(found(&[(1, 1), (2, 2)], &[(1, 1), (2, 3)]), [2]);
        assert_eq!(
            found(&[(1, 1), (4, 4)], &[(2, 2), (4, 4), (5, 5)]),
            [1, 2, 5]
        );
        assert_eq!(found(&[(3, 3), (4, 4)], &[(2, 2)]), [2, 3, 4]);
        assert_eq!(found(&[], &[(2, 2)]), [2]);
        assert_eq!(found(&[(2, 2)], &[]), [2]);
    }
}
