//! The 24-bit Options (RFC 5340 A.2) and the 8-bit PrefixOptions (A.4.1.1).

use serde::{Serialize, Serializer};

/// Options of a Hello, a Database Description packet or an LSA: the low 24 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Options(u32);

impl Options {
    /// Takes part in IPv6 routing.
    pub const V6: Self = Self(0x01);
    /// AS-external LSAs are flooded here.
    pub const E: Self = Self(0x02);
    /// NSSA.
    pub const N: Self = Self(0x08);
    /// Forwards packets that are not its own.
    pub const R: Self = Self(0x10);
    /// Demand circuits.
    pub const DC: Self = Self(0x20);
    /// Understands address families (RFC 5838 2.2: bit 15 of 0 to 23).
    pub const AF: Self = Self(0x100);
    /// A link-local signalling block follows the packet (RFC 5613).
    pub const L: Self = Self(0x200);
    /// An authentication trailer follows the packet (RFC 7166 2.1: bit 13 of 0 to 23).
    pub const AT: Self = Self(0x400);

    /// From the low 24 bits of `bits`.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits & 0x00ff_ffff)
    }

    /// The 24 bits.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether every bit of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets of bits.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These bits without those of `other`.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl Serialize for Options {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let names = [
            (Self::V6, "V6"),
            (Self::E, "E"),
            (Self::N, "N"),
            (Self::R, "R"),
            (Self::DC, "DC"),
            (Self::AF, "AF"),
            (Self::L, "L"),
            (Self::AT, "AT"),
        ];
        let set = names.iter().filter(|(bit, _)| self.contains(*bit));
        serializer.collect_seq(set.map(|(_, name)| name))
    }
}

/// What a prefix may be used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PrefixOptions(u8);

impl PrefixOptions {
    /// Not for unicast: skipped by the route calculation.
    pub const NU: Self = Self(0x01);
    /// An address of the advertising router itself.
    pub const LA: Self = Self(0x02);
    /// Formerly multicast.
    pub const MC: Self = Self(0x04);
    /// Readvertised at an NSSA border.
    pub const P: Self = Self(0x08);
    /// Set on prefixes that came through a VPN (RFC 4577).
    pub const DN: Self = Self(0x10);

    /// From the octet on the wire.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// The octet on the wire.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether every bit of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl Serialize for PrefixOptions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let names = [
            (Self::NU, "NU"),
            (Self::LA, "LA"),
            (Self::MC, "MC"),
            (Self::P, "P"),
            (Self::DN, "DN"),
        ];
        let set = names.iter().filter(|(bit, _)| self.contains(*bit));
        serializer.collect_seq(set.map(|(_, name)| name))
    }
}
