//! Link State IDs of LSAs that carry one prefix each and whose ID means nothing (RFC 5340 4.4.3.4,
//! 4.4.3.6).

use std::collections::{BTreeMap, BTreeSet};

use crate::lsdb::DbId;
use crate::speaker::Speaker;
use crate::wire::{LsaBody, LsaKey, LsaType, Prefix};

impl Speaker {
    /// Gives every prefix an LSA of its own, the one it had before: even in an earlier life of
    /// ours, if that LSA has come back to us.
    pub(crate) fn assign_ids(
        &mut self,
        db: DbId,
        ty: LsaType,
        wanted: &BTreeSet<Prefix>,
    ) -> &BTreeMap<Prefix, u32> {
        let mut ids = self.ids.remove(&(db, ty)).unwrap_or_default();
        ids.retain(|prefix, _| wanted.contains(prefix));
        if ids.len() < wanted.len() {
            let mut taken: BTreeSet<u32> = ids.values().copied().collect();
            let known = self.known_ids(db, ty);
            // A prefix that comes back soon gets a fresh LSA, which MinLSInterval does not hold.
            let resting = self.resting_ids(db, ty);
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
                while taken.contains(&next) || resting.contains(&next) {
                    next = next.wrapping_add(1);
                }
                taken.insert(next);
                ids.insert(prefix, next);
            }
        }
        self.ids.entry((db, ty)).or_insert(ids)
    }

    /// Whether an LSA is for others alone: our own summaries and externals lead us nowhere.
    pub(crate) fn is_told_only(&self, key: LsaKey) -> bool {
        let kinds = [
            LsaType::INTER_AREA_PREFIX,
            LsaType::INTER_AREA_ROUTER,
            LsaType::AS_EXTERNAL,
        ];
        self.is_ours(key.adv) && kinds.contains(&key.ty)
    }

    /// Our LSAs that are alive in the database.
    fn known_ids(&self, db: DbId, ty: LsaType) -> BTreeMap<Prefix, u32> {
        let now = self.now;
        let Some(database) = self.databases.get(&db) else {
            return BTreeMap::new();
        };
        database
            .of_type(ty)
            .filter(|entry| self.is_ours(entry.lsa.key().adv) && !entry.is_max_age(now))
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

    /// Those that a new instance would have to wait for.
    pub(crate) fn resting_ids(&self, db: DbId, ty: LsaType) -> BTreeSet<u32> {
        let now = self.now;
        self.own
            .iter()
            .filter(|((of, key), own)| *of == db && key.ty == ty && own.rests(now, &self.config))
            .map(|((_, key), _)| key.id)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::config::Config;
    use crate::lsdb::Origin;
    use crate::wire::{INITIAL_SEQUENCE, InterAreaPrefix, Lsa, PrefixOptions};

    #[test]
    fn an_lsa_of_an_earlier_life_keeps_its_prefix() {
        let now = Duration::from_secs(100);
        let adv = Ipv4Addr::new(10, 0, 0, 1);
        let mut speaker = Speaker::new(Config::new(adv), now);
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
        let database = speaker.databases.entry(db).or_default();
        database.install(Arc::new(lsa), now, Origin::Requested);
        let wanted = [prefix(1), prefix(2)].into();
        let ids = speaker.assign_ids(db, ty, &wanted).clone();
        assert_eq!(ids, [(prefix(1), 2), (prefix(2), 1)].into());
        let wanted = [prefix(0), prefix(1)].into();
        let ids = speaker.assign_ids(db, ty, &wanted).clone();
        assert_eq!(ids, [(prefix(0), 1), (prefix(1), 2)].into());
    }
}
