//! What follows from the configuration of an area.

use std::net::Ipv4Addr;

use crate::config::{AreaConfig, BACKBONE, Config};
use crate::lsdb::DbId;
use crate::wire::{Family, Options};

/// What we are capable of in a regular area.
const OPTIONS: Options = Options::E.union(Options::R);

impl Config {
    /// How an area is configured.
    pub(crate) fn area(&self, area: Ipv4Addr) -> AreaConfig {
        self.areas.get(&area).copied().unwrap_or_default()
    }

    /// Whether AS-external LSAs stay out of an area.
    pub(crate) fn is_stub(&self, area: Ipv4Addr) -> bool {
        area != BACKBONE && self.area(area).stub
    }

    /// What we are capable of in an area: E is clear in a stub area (RFC 5340 A.2).
    pub(crate) fn options(&self, area: Ipv4Addr) -> Options {
        // RFC 5838 2.2: V6 means nothing beside IPv6.
        let options = match self.family {
            Family::Ipv6 if self.announce_families => OPTIONS.union(Options::V6).union(Options::AF),
            Family::Ipv6 => OPTIONS.union(Options::V6),
            Family::Ipv4 => OPTIONS.union(Options::AF),
        };
        if self.is_stub(area) {
            options.without(Options::E)
        } else {
            options
        }
    }

    /// Whether LSAs of a database go over an interface (RFC 5340 4.5.2).
    pub(crate) fn shares(&self, db: DbId, interface: u32, area: Ipv4Addr) -> bool {
        match db {
            DbId::Link(link) => link == interface,
            DbId::Area(of) => of == area,
            DbId::As => !self.is_stub(area),
        }
    }

    /// The databases that an interface shares with its neighbours (RFC 5340 4.5.2): none of AS scope
    /// in a stub area.
    pub(crate) fn shared(&self, interface: u32, area: Ipv4Addr) -> Vec<DbId> {
        let mut databases = vec![DbId::Link(interface), DbId::Area(area)];
        if !self.is_stub(area) {
            databases.push(DbId::As);
        }
        databases
    }
}
