//! Which areas we are in, and whether we stand between them: RFC 2328 3.3 as RFC 3509 2.1 amends it.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use crate::config::{AreaConfig, BACKBONE, Time};
use crate::speaker::Speaker;

impl Speaker {
    /// Configures an area. What kind of area it is, its routers have to agree on: the adjacencies
    /// fall if that changes.
    pub fn set_area(&mut self, now: Time, area: Ipv4Addr, config: AreaConfig) {
        self.now = now;
        if self.config.area(area) == config {
            return;
        }
        let was_stub = self.config.is_stub(area);
        self.config.areas.insert(area, config);
        if was_stub != self.config.is_stub(area) {
            let inside = |i: &&crate::interface::Interface| i.config.area == area && i.speaks();
            let interfaces = self.interfaces.values().filter(inside);
            let interfaces: Vec<u32> = interfaces.map(|i| i.config.id).collect();
            for id in interfaces {
                self.bring_down(id);
                self.bring_up(id);
            }
        }
        self.content_changed();
        self.settle();
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
    /// nobody would hear our summaries, and to call ourselves one would only keep us from using
    /// those of others (RFC 3509 2.1).
    pub fn is_area_border(&self) -> bool {
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
