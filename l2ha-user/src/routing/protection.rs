//! What the kernel shall do by itself when a neighbour falls silent: the loop-free alternates that
//! OSPF has found, and the time after which BFD would have acted.

use std::{collections::BTreeMap, path::Path, time::Duration};

use ospfv3::Speaker;

use super::{instances::Instances, kernel::Key};
use crate::{
    dataplane::{Detours, Instead, Protected},
    netlink::Nexthop,
};

/// The kernel's clock here counts in ticks, of 4 ms mostly.
const TICK: Duration = Duration::from_millis(4);

/// The detours, and what they were made from.
pub(super) struct Protection {
    detours: Option<Detours>,
    /// The route calculations the detours belong to.
    calculations: Vec<u64>,
}

impl Protection {
    /// Opens the data plane's maps below `pins`. Without them there is no protection, which is said.
    pub(super) fn open(pins: &Path) -> Self {
        let detours = Detours::open(pins).inspect_err(|error| {
            tracing::warn!(
                error = format!("{error:#}"),
                "a path that breaks while this daemon cannot run will not be left: no detours"
            );
        });
        Self {
            detours: detours.ok(),
            calculations: Vec::new(),
        }
    }

    /// Follows the route calculations. Gives where routes can go instead, if that is new.
    pub(super) fn follow(
        &mut self,
        instances: &Instances,
    ) -> Option<BTreeMap<(Key, u32), Nexthop>> {
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
    fn write(&mut self, backups: &BTreeMap<(Key, u32), Nexthop>) {
        let Some(detours) = &mut self.detours else {
            return;
        };
        let wanted =
            backups
                .iter()
                .filter_map(|(((destination, prefix_len), interface), instead)| {
                    let protected = Protected {
                        interface: *interface,
                        destination: *destination,
                        prefix_len: *prefix_len,
                    };
                    let instead = Instead {
                        interface: instead.interface,
                        gateway: instead.gateway?,
                    };
                    Some((protected, instead))
                });
        if let Err(error) = detours.set(wanted) {
            tracing::error!(error = format!("{error:#}"), "cannot write the detours");
            // Tried again.
            self.calculations.clear();
        }
    }

    /// Follows the times after which BFD notices a failure. The kernel gives it a little longer: if
    /// this daemon runs, its own routes are better.
    pub(super) fn watch(&mut self, silences: &BTreeMap<u32, Duration>) {
        let longer = |silence: Duration| silence + silence / 6 + TICK;
        let silences = silences
            .iter()
            .map(|(interface, silence)| (*interface, longer(*silence)))
            .collect();
        if let Some(detours) = &mut self.detours
            && let Err(error) = detours.watch(&silences)
        {
            tracing::error!(
                error = format!("{error:#}"),
                "cannot write the detours' times"
            );
        }
    }

    /// How many detours there are.
    pub(super) fn count(&self) -> usize {
        self.detours.as_ref().map_or(0, Detours::count)
    }

    /// Takes them all away.
    pub(super) fn end(&mut self) {
        self.watch(&BTreeMap::new());
        if let Some(detours) = &mut self.detours
            && let Err(error) = detours.set(std::iter::empty())
        {
            tracing::error!(error = format!("{error:#}"), "cannot remove the detours");
        }
    }
}
