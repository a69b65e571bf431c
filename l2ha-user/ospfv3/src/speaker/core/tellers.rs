//! Who tells whom, where many routers hear the same.
//!
//! RFC 2328 13.3 has every router send every LSA on over each of its links. Where each of 500 routers has a link
//! to each of 30, the same LSA comes to each of them 30 times, and to each of the 30 five hundred times. So with many
//! neighbours a router sends an LSA on at once to those only that hear of it from nobody else sooner; the others
//! keep their place on the retransmission list and get it [`WAIT`] later, unless they have acknowledged it
//! until then, for which each acknowledges it to all that may be waiting. This is what backup routers do in
//! RFC 5614 (8.1, BackupWaitInterval), and acknowledgments that nobody waits for are ignored everywhere (RFC 2328
//! 13.7). That a router tells its own neighbours, nobody has to know: it is what every router does.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::lsdb::Lsdb;
use crate::pace::spread;
use crate::wire::{LsaBody, LsaKey, LsaType, Options, RouterLink};

/// How long the others wait. Longer than the delay of an acknowledgment (200 ms) and the time in which a
/// router that is busy with many LSAs tells its neighbours of each; shorter than RxmtInterval.
pub(super) const WAIT: Duration = Duration::from_secs(1);

/// Who else may tell our neighbours of an LSA, by what routers say of their links.
pub(super) struct Tellers<'a> {
    database: &'a Lsdb,
    /// This router.
    own: Ipv4Addr,
    /// Who originates it.
    origin: Ipv4Addr,
    /// Whether we forward what others send: if not, nobody depends on us.
    transit: bool,
    /// The neighbours of the originator.
    told: BTreeSet<Ipv4Addr>,
    /// Those that forward what others send.
    through: Vec<Ipv4Addr>,
    /// Whether we are one of them.
    first_hand: bool,
}

impl<'a> Tellers<'a> {
    /// For an LSA of another router, in the database of its area.
    ///
    /// Routers at the edge tell nobody: what they flood of others is not used.
    pub(super) fn new(
        database: &'a Lsdb,
        edges: &BTreeSet<Ipv4Addr>,
        own: Ipv4Addr,
        origin: Ipv4Addr,
    ) -> Self {
        let told: BTreeSet<Ipv4Addr> = neighbors(database, origin).collect();
        let forwards = |router: &Ipv4Addr| is_transit(database, *router) && !edges.contains(router);
        let transit = is_transit(database, own);
        Self {
            database,
            own,
            origin,
            transit,
            through: told.iter().copied().filter(forwards).collect(),
            first_hand: transit && told.contains(&own),
            told,
        }
    }

    /// Whether another router tells a neighbour of it, so that we need not be quick.
    pub(super) fn others_tell(&self, neighbor: Ipv4Addr) -> bool {
        if !self.transit || neighbor == self.origin || self.told.contains(&neighbor) {
            return true;
        }
        // One of those that hear of it first hand and have a link to the neighbour. Everybody chooses the same.
        let count = self.through.len().max(1);
        let pair = u64::from(self.origin.to_bits()) << 32 | u64::from(neighbor.to_bits());
        let first = spread(pair) as usize % count;
        let (before, after) = self.through.split_at(first.min(self.through.len()));
        let mut candidates = after.iter().chain(before);
        let chosen = candidates.find(|router| {
            let mut links = links(self.database, neighbor);
            links.any(|link| link.neighbor_router_id == **router)
        });
        self.first_hand && chosen.is_some_and(|router| *router != self.own)
    }
}

/// The links in the Router-LSAs of a router.
fn links(database: &Lsdb, router: Ipv4Addr) -> impl Iterator<Item = &RouterLink> {
    lsas(database, router).flat_map(|(links, _)| links)
}

fn neighbors(database: &Lsdb, router: Ipv4Addr) -> impl Iterator<Item = Ipv4Addr> {
    links(database, router).map(|link| link.neighbor_router_id)
}

/// Whether a router forwards what others send (RFC 5340 4.8.1).
fn is_transit(database: &Lsdb, router: Ipv4Addr) -> bool {
    let mut lsas = lsas(database, router);
    lsas.next()
        .is_some_and(|(_, options)| options.contains(Options::R))
}

/// The Router-LSAs of a router that numbers them from 0 on, as we do. Of another one there are none, and nobody
/// is taken to hear from it.
fn lsas(database: &Lsdb, router: Ipv4Addr) -> impl Iterator<Item = (&[RouterLink], Options)> {
    (0..)
        .map(move |id| LsaKey {
            ty: LsaType::ROUTER,
            id,
            adv: router,
        })
        .map_while(|key| database.get(&key))
        .filter(|entry| !entry.is_withdrawn())
        .map_while(|entry| match entry.lsa.body() {
            LsaBody::Router(body) => Some((body.links.as_slice(), body.options)),
            _ => None,
        })
}
