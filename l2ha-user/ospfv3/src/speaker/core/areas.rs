//! Which areas we are in, and whether we stand between them: RFC 2328 3.3 as RFC 3509 2.1 amends it.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::Core;
use crate::config::{AreaConfig, BACKBONE};

impl Core {
    /// Changes the configuration of an area. The interfaces whose adjacencies have to fall, because
    /// the kind of area is another now; nothing if it is the same configuration.
    pub(crate) fn change_area(&mut self, area: Ipv4Addr, config: AreaConfig) -> Option<Vec<u32>> {
        if self.config.area(area) == config {
            return None;
        }
        let was_stub = self.config.is_stub(area);
        self.config.areas.insert(area, config);
        let interfaces = self.interfaces.values();
        let inside = interfaces.filter(|i| i.config.area == area && i.is_up());
        let fall = inside.filter(|_| was_stub != self.config.is_stub(area));
        Some(fall.map(|interface| interface.config.id).collect())
    }

    /// All areas that have an interface, up or down.
    pub(crate) fn configured_areas(&self) -> BTreeSet<Ipv4Addr> {
        let interfaces = self.interfaces.values();
        interfaces.map(|interface| interface.config.area).collect()
    }

    /// The areas with an interface that is up ("actively attached", RFC 3509 1.2).
    pub(crate) fn active_areas(&self) -> BTreeSet<Ipv4Addr> {
        self.interfaces
            .values()
            .filter(|interface| interface.advertises())
            .map(|interface| interface.config.area)
            .collect()
    }

    /// Whether we are an area border router: in several areas, the backbone among them. Without it
    /// no router would receive our summaries, and to call ourselves one would only keep us from using
    /// those of others (RFC 3509 2.1).
    pub(crate) fn is_area_border(&self) -> bool {
        let areas = self.active_areas();
        areas.len() > 1 && areas.contains(&BACKBONE)
    }

    /// Whether we are an area border router with a neighbour in the backbone ("active backbone
    /// connection", RFC 3509 1.2): only then do the backbone's summaries alone count.
    pub(crate) fn is_connected_border(&self) -> bool {
        let in_backbone = |i: &crate::interface::Interface| {
            i.config.area == BACKBONE && i.full().next().is_some()
        };
        self.is_area_border() && self.interfaces.values().any(in_backbone)
    }
}
