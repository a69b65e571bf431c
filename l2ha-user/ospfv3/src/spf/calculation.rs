//! The calculation as a whole, and how it goes on when something has changed: trees again only if the
//! topology has, and of the prefixes only those that an LSA or a router in a new place concerns.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use super::claims::{Claim, Claims, Reader, What};
use super::table::{Best, Offer, Preference, Rank};
use super::tree::Path;
use super::ways::Ways;
use super::{AreaInput, BoundaryRoute, PathKind, Route};
use crate::config::Time;
use crate::lsdb::{DbId, Lsdb, News};
use crate::peer::Peer;
use crate::wire::{Family, LsaType, Prefix};

/// What the next calculation goes on from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calculation {
    claims: Claims,
    reader: Reader,
    known: BTreeSet<DbId>,
    /// The ways that count: of what is in several, the first.
    ways: Vec<Ways>,
    /// What is never routed.
    own: BTreeSet<Prefix>,
}

/// What the calculation works on.
pub(crate) struct Input<'a> {
    pub(crate) family: Family,
    pub(crate) root: Ipv4Addr,
    pub(crate) databases: &'a BTreeMap<DbId, Lsdb>,
    /// What has changed in the databases since the last time.
    pub(crate) news: Vec<(DbId, News)>,
    /// The areas as seen over the links that count: what a list does not reach is taken from the
    /// next. One with `one_way` is used only if there are such links. Nothing if neither links nor
    /// topology have changed.
    pub(crate) areas: Option<Vec<Vec<AreaInput<'a>>>>,
    /// See [`super::LinkLocal`].
    pub(crate) link_local: Box<dyn Fn(Peer, u32) -> Option<IpAddr> + 'a>,
    pub(crate) max_paths: usize,
    /// Our own prefixes, which are never routed.
    pub(crate) own: BTreeSet<Prefix>,
    pub(crate) now: Time,
}

/// Whether LSAs of a type draw the topology, rather than say what is behind the routers.
fn is_topology(ty: LsaType) -> bool {
    !matches!(
        ty,
        LsaType::INTRA_AREA_PREFIX | LsaType::INTER_AREA_PREFIX | LsaType::AS_EXTERNAL
    )
}

/// Whether news demand new trees.
pub(crate) fn demands_trees(news: &[(DbId, News)]) -> bool {
    news.iter().any(|(_, news)| match news {
        News::All => true,
        News::Of(keys) => keys.iter().any(|key| is_topology(key.ty)),
    })
}

impl Calculation {
    /// Brings `routes` up to date. Gives the prefixes whose route has changed, and how many have been
    /// looked at.
    pub(crate) fn update(
        &mut self,
        input: Input<'_>,
        routes: &mut BTreeMap<Prefix, Route>,
    ) -> (Vec<Prefix>, usize) {
        let mut affected = BTreeSet::new();
        self.read(&input, &mut affected);
        if let Some(areas) = &input.areas {
            let mut ways: Vec<Ways> = Vec::new();
            for areas in areas {
                let last_resort = areas.iter().any(|area| area.one_way);
                if !last_resort || ways.iter().any(|ways| ways.one_way) {
                    ways.push(Ways::compute(areas, &*input.link_local));
                }
            }
            let mut moved = BTreeSet::new();
            if ways.len() == self.ways.len() {
                for (new, old) in ways.iter().zip(&self.ways) {
                    new.moved(old, &mut moved);
                }
            } else {
                for (new, old) in ways
                    .iter()
                    .flat_map(|new| self.ways.iter().map(move |old| (new, old)))
                {
                    new.moved(old, &mut moved);
                }
                if self.ways.is_empty() || ways.is_empty() {
                    let none = Ways::default();
                    for ways in ways.iter().chain(&self.ways) {
                        ways.moved(&none, &mut moved);
                    }
                }
            }
            for router in moved {
                affected.extend(self.claims.of_router(router));
            }
            self.ways = ways;
        }
        if !affected.is_empty() {
            affected.extend(self.claims.forwarded());
        }
        affected.extend(self.own.symmetric_difference(&input.own));
        self.own = input.own;
        let looked_at = affected.len();
        let changed = affected
            .into_iter()
            .filter(|prefix| self.update_route(*prefix, input.max_paths, routes))
            .collect();
        (changed, looked_at)
    }

    /// The ways to boundary routers.
    pub(crate) fn boundary(&self) -> BTreeMap<Ipv4Addr, BoundaryRoute> {
        let mut boundary = BTreeMap::new();
        for ways in self.ways.iter().rev() {
            boundary.extend(ways.boundary.clone());
        }
        boundary
    }

    fn read(&mut self, input: &Input<'_>, affected: &mut BTreeSet<Prefix>) {
        let reader = Reader {
            family: input.family,
            root: Some(input.root),
        };
        self.reader = reader;
        let now = input.now;
        let gone: Vec<DbId> = self
            .known
            .iter()
            .filter(|db| !input.databases.contains_key(db))
            .copied()
            .collect();
        for db in gone {
            self.known.remove(&db);
            self.claims.read_all(reader, db, None, now, affected);
        }
        for (db, news) in &input.news {
            let Some(database) = input.databases.get(db) else {
                continue;
            };
            if matches!(db, DbId::Link(_)) {
                continue;
            }
            self.known.insert(*db);
            match news {
                News::All => self
                    .claims
                    .read_all(reader, *db, Some(database), now, affected),
                News::Of(keys) => {
                    for key in keys.iter().filter(|key| !is_topology(key.ty)) {
                        let entry = database.get(key);
                        self.claims.read(reader, *db, *key, entry, now, affected);
                    }
                }
            }
        }
    }

    /// Brings the route to one prefix up to date. Whether it has changed.
    fn update_route(
        &self,
        prefix: Prefix,
        max_paths: usize,
        routes: &mut BTreeMap<Prefix, Route>,
    ) -> bool {
        let route = if self.own.contains(&prefix) {
            // What we have ourselves is nearest here: an anycast address of ours never leads away.
            None
        } else {
            let claims = self.claims.of(&prefix);
            self.ways.iter().find_map(|ways| {
                self.best(claims, ways, PathKind::External)?
                    .finish(max_paths)
            })
        };
        match route {
            None => routes.remove(&prefix).is_some(),
            Some(route) => match routes.get_mut(&prefix) {
                Some(old) if *old == route => false,
                Some(old) => {
                    *old = route;
                    true
                }
                None => {
                    routes.insert(prefix, route);
                    true
                }
            },
        }
    }

    /// The best of what is claimed, of kinds up to `worst`.
    fn best(&self, claims: &[Claim], ways: &Ways, worst: PathKind) -> Option<Best> {
        let mut best = None;
        for claim in claims {
            match claim.what {
                What::External { type2, forwarding } if worst == PathKind::External => {
                    self.external(claim, type2, forwarding, ways, &mut best);
                }
                What::External { .. } => {}
                What::IntraArea(_) | What::InterArea => internal(claim, ways, &mut best),
            }
        }
        best
    }

    /// RFC 2328 16.4 (3) to (6).
    fn external(
        &self,
        claim: &Claim,
        type2: bool,
        forwarding: Option<IpAddr>,
        ways: &Ways,
        best: &mut Option<Best>,
    ) {
        let Some(way) = ways.boundary.get(&claim.lsa.adv) else {
            return;
        };
        let found;
        let (preference, cost, nexthops) = match forwarding {
            None => {
                let preference = Preference::of(way.kind, &way.areas);
                (preference, way.cost, &way.nexthops)
            }
            Some(address) => {
                let Some((preference, path)) = self.lookup(address, ways) else {
                    return;
                };
                found = path;
                (preference, found.cost, &found.nexthops)
            }
        };
        let (type2_metric, cost) = if type2 {
            (Some(claim.metric), cost)
        } else {
            (None, cost.saturating_add(claim.metric))
        };
        let rank = Rank {
            kind: PathKind::External,
            type2_metric,
            preference,
            cost,
        };
        Best::offer(
            best,
            &Offer {
                rank,
                nexthops,
                router: claim.lsa.adv,
                area: None,
            },
        );
    }

    /// The longest match for a forwarding address, which is looked up among internal routes only.
    fn lookup(&self, addr: IpAddr, ways: &Ways) -> Option<(Preference, Path)> {
        (0..=Family::of(addr).bits()).rev().find_map(|len| {
            let claims = self.claims.of(&Prefix::new(addr, len)?);
            let best = self.best(claims, ways, PathKind::InterArea)?;
            Some((best.preference(), best.into_path()))
        })
    }
}

/// RFC 5340 4.8.2, and RFC 2328 16.2.
fn internal(claim: &Claim, ways: &Ways, best: &mut Option<Best>) {
    let DbId::Area(area) = claim.db else {
        return;
    };
    let (kind, path) = match claim.what {
        What::IntraArea(vertex) => (PathKind::IntraArea, ways.path(area, vertex)),
        What::InterArea => (PathKind::InterArea, ways.border(area, claim.lsa.adv)),
        What::External { .. } => return,
    };
    let Some(path) = path else {
        return;
    };
    let cost = path.cost.saturating_add(claim.metric);
    let offer = Offer {
        rank: Rank::internal(kind, cost),
        nexthops: &path.nexthops,
        router: claim.lsa.adv,
        area: Some(area),
    };
    Best::offer(best, &offer);
}
