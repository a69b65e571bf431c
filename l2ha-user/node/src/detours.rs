//! The data plane's detours, as routing writes them.

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::Result;
use dataplane::{Detours, Instead, Protected};
use routing::{Detour, DetourTable};

/// The maps of the loaded data plane.
pub(crate) struct DetourMaps(Detours);

impl DetourMaps {
    /// Opens them below `pins`. Without them there are no detours, which is logged.
    pub(crate) fn open(pins: &Path) -> Option<Box<dyn DetourTable>> {
        let detours = Detours::open(pins).inspect_err(|error| {
            tracing::warn!(
                error = format!("{error:#}"),
                "a path that breaks while this daemon cannot run will not be left: no detours"
            );
        });
        Some(Box::new(Self(detours.ok()?)))
    }
}

impl DetourTable for DetourMaps {
    fn watch(&mut self, silences: &BTreeMap<u32, Duration>) -> Result<()> {
        self.0.watch(silences)
    }

    fn set(&mut self, wanted: Vec<Detour>) -> Result<()> {
        self.0.set(wanted.into_iter().map(|detour| {
            let protected = Protected {
                interface: detour.interface,
                destination: detour.destination,
                prefix_len: detour.prefix_len,
            };
            let instead = Instead {
                interface: detour.alternate_interface,
                gateway: detour.alternate_gateway,
            };
            (protected, instead)
        }))
    }

    fn count(&self) -> usize {
        self.0.count()
    }
}
