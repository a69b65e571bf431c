//! A router at the edge of the network: what the others take from it is what is its own, whatever it says.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use crate::wire::{LinkKind, Lsa, LsaBody, LsaType, Prefix};

/// Most LSAs that a router at the edge may originate into one database.
pub(crate) const MOST_LSAS: usize = 256;

/// An entry of a prefix list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixRange {
    /// What they lie in.
    pub prefix: Prefix,
    /// Their lengths in bits.
    pub lengths: RangeInclusive<u8>,
}

impl PrefixRange {
    /// Whether a prefix is one of them.
    pub fn has(&self, prefix: Prefix) -> bool {
        self.prefix.contains(prefix.addr()) && self.lengths.contains(&prefix.len())
    }

    /// An address alone.
    pub fn host(prefix: Prefix) -> Self {
        Self {
            prefix,
            lengths: prefix.len()..=prefix.len(),
        }
    }
}

/// A router at the edge of the network: the neighbour on an interface, of which no more is taken than this, and through
/// which nothing goes to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Its Router ID.
    pub router_id: Ipv4Addr,
    /// The prefixes that are its own, of all families.
    pub prefixes: Vec<PrefixRange>,
}

impl Edge {
    /// Whether it may say this of itself: what it is linked to, its own prefixes, and those that it leads to. Its links
    /// count only where the other end says the same (RFC 2328 16.1 (2b)). One at MaxAge says nothing.
    pub(crate) fn grants(&self, lsa: &Lsa) -> bool {
        if lsa.header().is_max_age() {
            return true;
        }
        match lsa.body() {
            // It connects no areas and no virtual links, and speaks for no network.
            LsaBody::Router(router) => {
                let bits = router.bits;
                let mut links = router.links.iter();
                !bits.border
                    && !bits.virtual_link
                    && links.all(|link| link.kind == LinkKind::PointToPoint)
            }
            LsaBody::Link(_) | LsaBody::Grace(_) => true,
            LsaBody::IntraAreaPrefix(body) => {
                let own = (
                    body.referenced_type,
                    body.referenced_id,
                    body.referenced_router,
                ) == (LsaType::ROUTER, 0, self.router_id);
                own && body.prefixes.iter().all(|it| self.has(it.prefix))
            }
            // A forwarding address would lead to somebody else.
            LsaBody::AsExternal(body) => body.forwarding.is_none() && self.has(body.prefix),
            _ => false,
        }
    }

    /// Whether LSAs of a type may be among them.
    pub(crate) fn may_originate(ty: LsaType) -> bool {
        matches!(
            ty,
            LsaType::ROUTER
                | LsaType::LINK
                | LsaType::GRACE
                | LsaType::INTRA_AREA_PREFIX
                | LsaType::AS_EXTERNAL
        )
    }

    fn has(&self, prefix: Prefix) -> bool {
        self.prefixes.iter().any(|range| range.has(prefix))
    }
}
