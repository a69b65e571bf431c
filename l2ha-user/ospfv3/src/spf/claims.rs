//! What LSAs say of prefixes, sorted by prefix, so that a change of one LSA costs no more than the
//! prefixes it names (RFC 2328 16.5 and 16.6).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use super::INFINITY;
use super::tree::Vertex;
use crate::config::Time;
use crate::lsdb::{DbId, Entry, Lsdb};
use crate::wire::{Family, LsaBody, LsaKey, LsaType, Prefix, PrefixOptions};

/// What one LSA says of one prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) db: DbId,
    pub(super) lsa: LsaKey,
    pub(super) metric: u32,
    pub(super) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// It hangs off a vertex (RFC 5340 4.8.2).
    IntraArea(Vertex),
    /// It is reached through the border router (RFC 2328 16.2).
    InterArea,
    /// It is reached through the boundary router (RFC 2328 16.4).
    External {
        type2: bool,
        forwarding: Option<IpAddr>,
    },
}

#[derive(Clone, Debug, Default)]
pub(super) struct Claims {
    by_prefix: BTreeMap<Prefix, Vec<Claim>>,
    by_router: BTreeMap<(Ipv4Addr, DbId, LsaKey), Vec<Prefix>>,
    /// Those with a forwarding address, whose ways hang on those to other prefixes.
    forwarded: BTreeSet<(Prefix, DbId, LsaKey)>,
}

/// The router for which claims are evaluated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reader {
    pub(super) family: Family,
    pub(super) root: Option<Ipv4Addr>,
}

impl Claims {
    /// What is said of a prefix.
    pub(super) fn of(&self, prefix: &Prefix) -> &[Claim] {
        self.by_prefix.get(prefix).map_or(&[], Vec::as_slice)
    }

    /// The prefixes a router advertises.
    pub(super) fn of_router(&self, router: Ipv4Addr) -> impl Iterator<Item = Prefix> {
        let first = (
            router,
            DbId::Link(0),
            LsaKey {
                ty: LsaType(0),
                id: 0,
                adv: Ipv4Addr::UNSPECIFIED,
            },
        );
        self.by_router
            .range(first..)
            .take_while(move |((adv, ..), _)| *adv == router)
            .flat_map(|(_, prefixes)| prefixes)
            .copied()
    }

    /// The prefixes with a forwarding address.
    pub(super) fn forwarded(&self) -> impl Iterator<Item = Prefix> {
        self.forwarded.iter().map(|(prefix, ..)| *prefix)
    }

    /// A whole database is new, or gone.
    pub(super) fn read_all(
        &mut self,
        reader: Reader,
        db: DbId,
        database: Option<&Lsdb>,
        now: Time,
        affected: &mut BTreeSet<Prefix>,
    ) {
        let old = self.by_router.keys().filter(|(_, of, _)| *of == db);
        let old: Vec<LsaKey> = old.map(|(_, _, lsa)| *lsa).collect();
        for lsa in old {
            self.withdraw(db, lsa, affected);
        }
        for (lsa, entry) in database.into_iter().flat_map(Lsdb::iter) {
            self.add(reader, db, *lsa, entry, now, affected);
        }
    }

    /// An LSA has come, gone or changed.
    pub(super) fn read(
        &mut self,
        reader: Reader,
        db: DbId,
        lsa: LsaKey,
        entry: Option<&Entry>,
        now: Time,
        affected: &mut BTreeSet<Prefix>,
    ) {
        self.withdraw(db, lsa, affected);
        if let Some(entry) = entry {
            self.add(reader, db, lsa, entry, now, affected);
        }
    }

    fn withdraw(&mut self, db: DbId, lsa: LsaKey, affected: &mut BTreeSet<Prefix>) {
        let Some(prefixes) = self.by_router.remove(&(lsa.adv, db, lsa)) else {
            return;
        };
        for prefix in prefixes {
            self.forwarded.remove(&(prefix, db, lsa));
            if let Some(claims) = self.by_prefix.get_mut(&prefix) {
                claims.retain(|claim| (claim.db, claim.lsa) != (db, lsa));
                if claims.is_empty() {
                    self.by_prefix.remove(&prefix);
                }
            }
            affected.insert(prefix);
        }
    }

    fn add(
        &mut self,
        reader: Reader,
        db: DbId,
        lsa: LsaKey,
        entry: &Entry,
        now: Time,
        affected: &mut BTreeSet<Prefix>,
    ) {
        if entry.is_max_age(now) || Some(lsa.adv) == reader.root {
            return;
        }
        let mut prefixes = Vec::new();
        claims(
            entry.lsa.body(),
            lsa.adv,
            |prefix, metric, options, what| {
                // RFC 5838 2.3: what does not conform to the family is not used.
                let usable = metric < INFINITY
                    && !options.contains(PrefixOptions::NU)
                    && prefix.family() == reader.family
                    && !prefix.is_link_local();
                if !usable {
                    return;
                }
                if let What::External {
                    forwarding: Some(_),
                    ..
                } = what
                {
                    self.forwarded.insert((prefix, db, lsa));
                }
                let claim = Claim {
                    db,
                    lsa,
                    metric,
                    what,
                };
                self.by_prefix.entry(prefix).or_default().push(claim);
                prefixes.push(prefix);
                affected.insert(prefix);
            },
        );
        if !prefixes.is_empty() {
            self.by_router.insert((lsa.adv, db, lsa), prefixes);
        }
    }
}

fn claims(body: &LsaBody, adv: Ipv4Addr, mut say: impl FnMut(Prefix, u32, PrefixOptions, What)) {
    match body {
        LsaBody::IntraAreaPrefix(body) => {
            let Some(vertex) = Vertex::described(body, adv) else {
                return;
            };
            for entry in &body.prefixes {
                let what = What::IntraArea(vertex);
                say(entry.prefix, entry.metric.into(), entry.options, what);
            }
        }
        LsaBody::InterAreaPrefix(body) => {
            say(body.prefix, body.metric, body.options, What::InterArea);
        }
        LsaBody::AsExternal(body) => {
            let what = What::External {
                type2: body.type2,
                forwarding: body.forwarding.filter(|address| !address.is_unspecified()),
            };
            say(body.prefix, body.metric, body.options, what);
        }
        _ => {}
    }
}
