//! What we bring into the AS from outside: RFC 5340 4.4.3.6 with RFC 2328 12.4.4.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::Originator;
use crate::config::ExternalPrefix;
use crate::lsdb::DbId;
use crate::speaker::core::Core;
use crate::speaker::originated::Desired;
use crate::spf::INFINITY;
use crate::wire::{AsExternal, LsaBody, LsaKey, LsaType, Prefix, PrefixOptions};

impl Originator {
    /// Replaces the prefixes advertised as lying outside of the AS; whether they are others now.
    pub(crate) fn set_externals(&mut self, externals: Vec<ExternalPrefix>) -> bool {
        let externals = externals
            .into_iter()
            .filter(|external| !external.prefix.is_link_local())
            .map(|external| (external.prefix, external))
            .collect();
        let changed = self.externals != externals;
        self.externals = externals;
        changed
    }

    /// Whether we are an AS boundary router as far as an area knows (RFC 2328 12.4.1: not in a stub
    /// area).
    pub(crate) fn is_as_boundary(&self, core: &Core, area: Ipv4Addr) -> bool {
        !self.externals.is_empty() && !core.config().is_stub(area)
    }

    /// RFC 5340 4.4.3.6. There is no forwarding address: we are the next hop. So no two routers'
    /// LSAs are functionally equivalent either (RFC 2328 12.4.4.1), and all are kept.
    pub(crate) fn desired_externals(
        &mut self,
        core: &Core,
        areas: &BTreeSet<Ipv4Addr>,
        desired: &mut Desired,
    ) {
        let only_stubs = areas.iter().all(|area| core.config().is_stub(*area));
        let internal: BTreeSet<Prefix> = areas
            .iter()
            .flat_map(|area| core.area_prefixes(*area))
            .map(|stub| stub.prefix)
            .collect();
        let wanted: BTreeSet<Prefix> = self
            .externals
            .keys()
            .filter(|prefix| !only_stubs && !internal.contains(prefix))
            .copied()
            .collect();
        let (adv, drained) = (core.config().router_id, self.drained);
        let ty = LsaType::AS_EXTERNAL;
        let ids = self.assign_ids(core, DbId::As, ty, &wanted).clone();
        for (prefix, id) in ids {
            let Some(external) = self.externals.get(&prefix) else {
                continue;
            };
            let metric = if drained {
                INFINITY - 1
            } else {
                external.metric.min(INFINITY - 1)
            };
            let body = AsExternal {
                type2: external.type2,
                metric,
                prefix,
                options: PrefixOptions::default(),
                forwarding: None,
                tag: external.tag,
                referenced: None,
            };
            desired.insert(
                (DbId::As, LsaKey { ty, id, adv }),
                LsaBody::AsExternal(body),
            );
        }
    }
}
