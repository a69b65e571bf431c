//! Link State IDs of LSAs that carry one prefix each and whose ID means nothing (RFC 5340 4.4.3.4,
//! 4.4.3.6).

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::Originator;
use crate::lsdb::DbId;
use crate::speaker::core::Core;
use crate::wire::{LsaBody, LsaKey, LsaType, Prefix};

impl Originator {
    /// Gives every prefix an LSA of its own, the one it had before: even before a restart,
    /// if that LSA has come back to us.
    pub(crate) fn assign_ids(
        &mut self,
        core: &Core,
        db: DbId,
        ty: LsaType,
        wanted: &BTreeSet<Prefix>,
    ) -> &BTreeMap<Prefix, u32> {
        let mut ids = self.ids.remove(&(db, ty)).unwrap_or_default();
        ids.retain(|prefix, _| wanted.contains(prefix));
        if ids.len() < wanted.len() {
            let mut taken: BTreeSet<u32> = ids.values().copied().collect();
            let known = self.known_ids(core, db, ty);
            // A prefix that comes back soon gets a fresh LSA, which MinLSInterval does not hold.
            let held = self.held_ids(core, db, ty);
            let mut next = 1u32;
            let missing: Vec<Prefix> = wanted
                .iter()
                .filter(|prefix| !ids.contains_key(prefix))
                .copied()
                .collect();
            // Those that have one already first, or it might be given away.
            for prefix in &missing {
                if let Some(id) = known.get(prefix)
                    && taken.insert(*id)
                {
                    ids.insert(*prefix, *id);
                }
            }
            for prefix in missing {
                if ids.contains_key(&prefix) {
                    continue;
                }
                while taken.contains(&next) || held.contains(&next) {
                    next = next.wrapping_add(1);
                }
                taken.insert(next);
                ids.insert(prefix, next);
            }
        }
        self.ids.entry((db, ty)).or_insert(ids)
    }

    /// Those of our LSAs in the database.
    fn known_ids(&self, core: &Core, db: DbId, ty: LsaType) -> BTreeMap<Prefix, u32> {
        let now = core.now();
        let Some(database) = core.databases().get(&db) else {
            return BTreeMap::new();
        };
        database
            .of_type(ty)
            .filter(|entry| core.is_ours(entry.lsa.key().adv) && !entry.is_max_age(now))
            .filter_map(|entry| {
                let prefix = match entry.lsa.body() {
                    LsaBody::InterAreaPrefix(body) => body.prefix,
                    LsaBody::AsExternal(body) => body.prefix,
                    _ => return None,
                };
                Some((prefix, entry.lsa.key().id))
            })
            .collect()
    }

    /// The Link State ID under which we have advertised a prefix before a restart, so that it keeps
    /// that: by prefix, of the Intra-Area-Prefix-LSAs with one prefix each.
    pub(crate) fn prefix_ids_of_before(&self, core: &Core, area: Ipv4Addr) -> Vec<(Prefix, u32)> {
        let now = core.now();
        let Some(database) = core.databases().get(&DbId::Area(area)) else {
            return Vec::new();
        };
        database
            .of_type(LsaType::INTRA_AREA_PREFIX)
            .filter(|entry| core.is_ours(entry.lsa.key().adv) && !entry.is_max_age(now))
            .filter_map(|entry| {
                let LsaKey { id, .. } = entry.lsa.key();
                match entry.lsa.body() {
                    LsaBody::IntraAreaPrefix(body) if body.prefixes.len() == 1 => {
                        Some((body.prefixes.first()?.prefix, id))
                    }
                    _ => None,
                }
            })
            .collect()
    }

    /// Those that a new instance would have to wait for.
    pub(crate) fn held_ids(&self, core: &Core, db: DbId, ty: LsaType) -> BTreeSet<u32> {
        let now = core.now();
        self.own
            .iter()
            .filter(|((of, key), own)| *of == db && key.ty == ty && own.is_held(now, core.config()))
            .map(|((_, key), _)| key.id)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::config::Config;
    use crate::lsdb::Origin;
    use crate::wire::{INITIAL_SEQUENCE, InterAreaPrefix, Lsa, PrefixOptions};

    #[test]
    fn an_lsa_from_before_a_restart_keeps_its_prefix() {
        let now = Duration::from_secs(100);
        let adv = Ipv4Addr::new(10, 0, 0, 1);
        let mut core = Core::new(Config::new(adv), now);
        let mut originator = Originator::default();
        let (db, ty) = (
            DbId::Area(Ipv4Addr::UNSPECIFIED),
            LsaType::INTER_AREA_PREFIX,
        );
        let prefix =
            |n: u16| Prefix::host(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n));
        let body = LsaBody::InterAreaPrefix(InterAreaPrefix {
            metric: 1,
            prefix: prefix(2),
            options: PrefixOptions::default(),
        });
        let lsa = Lsa::build(LsaKey { ty, id: 1, adv }, INITIAL_SEQUENCE, &body).unwrap();
        let database = core.database_mut(db);
        database.install(Arc::new(lsa), now, Origin::Requested, None);
        let wanted = [prefix(1), prefix(2)].into();
        let ids = originator.assign_ids(&core, db, ty, &wanted).clone();
        assert_eq!(ids, [(prefix(1), 2), (prefix(2), 1)].into());
        let wanted = [prefix(0), prefix(1)].into();
        let ids = originator.assign_ids(&core, db, ty, &wanted).clone();
        assert_eq!(ids, [(prefix(0), 1), (prefix(1), 2)].into());
    }
}
