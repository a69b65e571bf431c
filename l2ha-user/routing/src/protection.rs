//! What the kernel shall do by itself when a neighbour falls silent: the loop-free alternates that
//! OSPF has found, and the time after which BFD would have acted.

use std::{collections::BTreeMap, net::Ipv6Addr, time::Duration};

use linux::{Destination, Nexthop};
use ospfv3::Speaker;

use crate::{
    detours::{Detour, DetourTable},
    instances::Instances,
};

/// The kernel's clock here counts in ticks, of 4 ms mostly.
const TICK: Duration = Duration::from_millis(4);

/// The detours, and what they were made from.
pub(crate) struct Protection {
    detours: Option<Box<dyn DetourTable>>,
    /// The route calculations the detours belong to.
    calculations: Vec<u64>,
    /// After how long a silence each session of BFD detects a failure, by interface and neighbour.
    silences: BTreeMap<(u32, Ipv6Addr), Duration>,
}

impl Protection {
    /// With the data plane's table; without one there is no protection.
    pub(crate) fn new(detours: Option<Box<dyn DetourTable>>) -> Self {
        Self {
            detours,
            calculations: Vec::new(),
            silences: BTreeMap::new(),
        }
    }

    /// Follows the route calculations. Gives where routes can go instead, if that is new.
    pub(crate) fn follow(
        &mut self,
        instances: &Instances,
    ) -> Option<BTreeMap<(Destination, u32), Nexthop>> {
        let speakers = instances.iter().map(|it| &it.speaker);
        let calculations = speakers.map(Speaker::route_generation).collect();
        if self.calculations == calculations {
            return None;
        }
        self.calculations = calculations;
        let all = instances.iter().map(|it| it.speaker.alternates());
        let backups = all
            .flatten()
            .map(|((prefix, interface), hop)| {
                let nexthop = Nexthop {
                    interface: hop.interface,
                    gateway: hop.address,
                };
                (((prefix.addr(), prefix.len()), interface), nexthop)
            })
            .collect();
        self.write(&backups);
        Some(backups)
    }

    /// Tells the data plane.
    fn write(&mut self, backups: &BTreeMap<(Destination, u32), Nexthop>) {
        let Some(detours) = &mut self.detours else {
            return;
        };
        let wanted =
            backups
                .iter()
                .filter_map(|(((destination, prefix_len), interface), alternate)| {
                    Some(Detour {
                        interface: *interface,
                        destination: *destination,
                        prefix_len: *prefix_len,
                        alternate_interface: alternate.interface,
                        alternate_gateway: alternate.gateway?,
                    })
                });
        if let Err(error) = detours.set(wanted.collect()) {
            tracing::error!(error = format!("{error:#}"), "cannot write the detours");
            // Tried again.
            self.calculations.clear();
        }
    }

    /// A session of BFD detects failures after another time than before, or, with none, not at all.
    pub(crate) fn detects_in(&mut self, session: (u32, Ipv6Addr), silence: Option<Duration>) {
        match silence {
            Some(silence) => self.silences.insert(session, silence),
            None => self.silences.remove(&session),
        };
        self.write_silences();
    }

    /// Tells the data plane how long each interface may be silent before the sessions over it have
    /// failed. The kernel gives it a little longer: if this daemon runs, its own routes are better.
    fn write_silences(&mut self) {
        let mut longest: BTreeMap<u32, Duration> = BTreeMap::new();
        for ((interface, _), silence) in &self.silences {
            let entry = longest.entry(*interface).or_default();
            *entry = (*silence + *silence / 6 + TICK).max(*entry);
        }
        if let Some(detours) = &mut self.detours
            && let Err(error) = detours.watch(&longest)
        {
            tracing::error!(
                error = format!("{error:#}"),
                "cannot write the detours' times"
            );
        }
    }

    /// How many detours there are.
    pub(crate) fn count(&self) -> usize {
        self.detours.as_ref().map_or(0, |detours| detours.count())
    }

    /// Takes them all away.
    pub(crate) fn end(&mut self) {
        self.silences.clear();
        self.write_silences();
        if let Some(detours) = &mut self.detours
            && let Err(error) = detours.set(Vec::new())
        {
            tracing::error!(error = format!("{error:#}"), "cannot remove the detours");
        }
    }
}
