//! What neighbours say that does not fit: why an adjacency that should be there is not.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use control::OspfRefused;
use ospfv3::{Event, Family, Mismatch, Refusal};
use tokio::time::Instant;

/// How often one that goes on is said again in the log.
const AGAIN: Duration = Duration::from_secs(600);
/// How soon, when it is of another router or about something else.
const CHANGED: Duration = Duration::from_secs(5);

/// The last refusals of each kind. There are as many as kinds of refusals on each interface, and no more.
#[derive(Debug, Default)]
pub(crate) struct Refusals(BTreeMap<(u32, Family, Refusal), Refused>);

#[derive(Debug)]
struct Refused {
    count: u64,
    source: Ipv6Addr,
    mismatch: Option<Mismatch>,
    last: Instant,
    said: Instant,
}

impl Refusals {
    /// Takes note of a refusal, and says it if it is new and no problem: where there is an adjacency (`is_full`), on
    /// an interface with several neighbours or because somebody forges packets. Elsewhere the node has a problem,
    /// which says it.
    pub(crate) fn note(
        &mut self,
        family: Family,
        event: &Event,
        name: Option<&str>,
        is_full: impl FnOnce() -> bool,
    ) {
        let Event::Refused {
            interface,
            source,
            reason,
            mismatch,
        } = event
        else {
            return;
        };
        let now = Instant::now();
        let known = self.0.get(&(*interface, family, *reason));
        let new = known.is_none_or(|known| {
            let changed = (known.source, known.mismatch) != (*source, *mismatch);
            now >= known.said + if changed { CHANGED } else { AGAIN }
        });
        let refused = Refused {
            count: known.map_or(0, |known| known.count) + 1,
            source: *source,
            mismatch: *mismatch,
            last: now,
            said: known.filter(|_| !new).map_or(now, |known| known.said),
        };
        let count = refused.count;
        self.0.insert((*interface, family, *reason), refused);
        if new && !reason.is_transient() && is_full() {
            let interface = name.unwrap_or("?");
            let sides = mismatch.and_then(|sides| shown(*reason, sides));
            let (ours, theirs) = sides.unzip();
            if *reason == Refusal::InstanceMismatch {
                // Neighbours may have further instances, as for IPv4.
                tracing::info!(
                    interface, %source, %reason, ours, theirs, count, %family,
                    "OSPF packet refused; `l2ha ospf interfaces` shows how often"
                );
            } else {
                tracing::warn!(
                    interface, %source, %reason, ours, theirs, count, %family,
                    "OSPF packet refused; `l2ha ospf interfaces` shows how often"
                );
            }
        }
    }

    /// Those of an interface, the latest first.
    pub(crate) fn of(&self, interface: u32, family: Family) -> Vec<OspfRefused> {
        let mut all: Vec<_> = self
            .0
            .iter()
            .filter(|((of, its, _), _)| (*of, *its) == (interface, family))
            .collect();
        all.sort_by_key(|(_, refused)| std::cmp::Reverse(refused.last));
        let shown = all
            .into_iter()
            .map(|((_, _, reason), refused)| OspfRefused {
                reason: *reason,
                source: refused.source,
                ours: refused.mismatch.map(|it| it.ours),
                theirs: refused.mismatch.map(|it| it.theirs),
                count: refused.count,
                ago_ms: u64::try_from(refused.last.elapsed().as_millis()).unwrap_or(u64::MAX),
                transient: reason.is_transient(),
            });
        shown.collect()
    }

    /// Forgets what is no longer so: the interface is gone, or begins again.
    pub(crate) fn forget(&mut self, interface: u32) {
        self.0.retain(|(of, _, _), _| *of != interface);
    }
}

/// The two sides as they are written in a configuration; options are not.
fn shown(reason: Refusal, sides: Mismatch) -> Option<(String, String)> {
    let Mismatch { ours, theirs } = sides;
    let address = |bits| Ipv4Addr::from_bits(bits).to_string();
    match reason {
        Refusal::AreaMismatch => Some((address(ours), address(theirs))),
        Refusal::AreaTypeMismatch => None,
        _ => Some((ours.to_string(), theirs.to_string())),
    }
}
