//! Our own LSAs.

mod desired;
mod external;
mod ids;
mod originate;
mod summary;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::originated::Originated;
use crate::config::ExternalPrefix;
use crate::lsdb::DbId;
use crate::wire::{LsaKey, LsaType, Prefix};

/// What we originate, and under which Link State IDs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Originator {
    /// What we remember of the LSAs we originated.
    own: BTreeMap<(DbId, LsaKey), Originated>,
    /// Link State IDs of the Intra-Area-Prefix-LSAs that carry one local prefix each.
    prefix_ids: BTreeMap<(Ipv4Addr, Prefix), u32>,
    /// Link State IDs of the LSAs that carry one prefix of another area or AS each.
    ids: BTreeMap<(DbId, LsaType), BTreeMap<Prefix, u32>>,
    /// What we bring into the AS from outside.
    externals: BTreeMap<Prefix, ExternalPrefix>,
    /// Whether we are the last resort.
    drained: bool,
    /// Whether we forward nothing for others.
    no_transit: bool,
}

impl Originator {
    /// Whether that is a change.
    pub(crate) fn set_drained(&mut self, on: bool) -> bool {
        std::mem::replace(&mut self.drained, on) != on
    }

    /// Whether that is a change.
    pub(crate) fn set_transit(&mut self, on: bool) -> bool {
        std::mem::replace(&mut self.no_transit, !on) == on
    }

    /// What we bring into the AS from outside.
    pub(crate) const fn externals(&self) -> &BTreeMap<Prefix, ExternalPrefix> {
        &self.externals
    }

    /// A database is gone.
    pub(crate) fn forget(&mut self, db: DbId) {
        self.own.retain(|(of, _), _| *of != db);
        self.ids.retain(|(of, _), _| *of != db);
    }

    /// An LSA is gone that may begin with the first sequence number again.
    pub(crate) fn forget_lsa(&mut self, db: DbId, key: LsaKey) {
        self.own.remove(&(db, key));
    }
}
