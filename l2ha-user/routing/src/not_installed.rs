//! Routes that neighbours advertise and the kernel does not get: counted, and said with who does.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    time::Duration,
};

use control::{KeptOut, NotInstalled};
use ospfv3::Prefix;

use crate::rate_limit::RateLimit;

/// Routes that are shown, and that are worth a line each in the log at a time.
const FEW: usize = 8;
/// How often new ones are said: a neighbour could fill the log with that.
const AGAIN: Duration = Duration::from_secs(10);

/// Those there are now, and how many there have been.
#[derive(Debug, Default)]
pub(crate) struct NotInstalledRoutes {
    now: BTreeSet<(Prefix, NotInstalled)>,
    shown: Vec<KeptOut>,
    counts: BTreeMap<NotInstalled, u64>,
    limit: RateLimit,
}

impl NotInstalledRoutes {
    /// Takes note of all that are refused now, with the routers that advertise them.
    pub(crate) fn set(&mut self, refused: &[(Prefix, NotInstalled, &[Ipv4Addr])]) {
        let new = refused
            .iter()
            .filter(|(prefix, why, _)| !self.now.contains(&(*prefix, *why)));
        let new: Vec<_> = new.collect();
        for (_, why, _) in &new {
            *self.counts.entry(*why).or_default() += 1;
        }
        if !new.is_empty() && self.limit.again(AGAIN).is_some() {
            for (prefix, why, routers) in new.iter().take(FEW) {
                tracing::warn!(
                    %prefix, ?routers, reason = why.text(),
                    "route not installed; `l2ha ospf routes` shows all of them"
                );
            }
            if let Some(more) = new.len().checked_sub(FEW).filter(|more| *more > 0) {
                tracing::warn!(more, "further routes not installed");
            }
        }
        self.now = refused
            .iter()
            .map(|(prefix, why, _)| (*prefix, *why))
            .collect();
        let to_mend = refused.iter().filter(|(_, why, _)| !why.is_ordinary());
        self.shown = to_mend
            .take(FEW)
            .map(|(prefix, reason, routers)| KeptOut {
                prefix: *prefix,
                reason: *reason,
                routers: routers.to_vec(),
            })
            .collect();
    }

    /// Some of those that there are now and that somebody has to mend.
    pub(crate) fn shown(&self) -> &[KeptOut] {
        &self.shown
    }

    /// How many have been refused, by reason.
    pub(crate) fn counts(&self) -> &BTreeMap<NotInstalled, u64> {
        &self.counts
    }
}
