//! LS types and flooding scopes, RFC 5340 A.4.2.1.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::text::from_text;

/// How far an LSA is flooded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Only over the link it came from.
    Link,
    /// Through one area.
    Area,
    /// Everywhere.
    As,
}

/// The 16-bit LS type: U bit, two scope bits, function code (RFC 5340 A.4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LsaType(pub u16);

impl LsaType {
    /// Router-LSA.
    pub const ROUTER: Self = Self(0x2001);
    /// Network-LSA.
    pub const NETWORK: Self = Self(0x2002);
    /// Inter-Area-Prefix-LSA.
    pub const INTER_AREA_PREFIX: Self = Self(0x2003);
    /// Inter-Area-Router-LSA.
    pub const INTER_AREA_ROUTER: Self = Self(0x2004);
    /// AS-External-LSA.
    pub const AS_EXTERNAL: Self = Self(0x4005);
    /// Link-LSA.
    pub const LINK: Self = Self(0x0008);
    /// Intra-Area-Prefix-LSA.
    pub const INTRA_AREA_PREFIX: Self = Self(0x2009);
    /// Grace-LSA (RFC 5187 2.1).
    pub const GRACE: Self = Self(0x000b);

    /// Those whose bodies this crate understands.
    const KNOWN: [Self; 8] = [
        Self::ROUTER,
        Self::NETWORK,
        Self::INTER_AREA_PREFIX,
        Self::INTER_AREA_ROUTER,
        Self::AS_EXTERNAL,
        Self::LINK,
        Self::INTRA_AREA_PREFIX,
        Self::GRACE,
    ];

    /// A name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ROUTER => "router",
            Self::NETWORK => "network",
            Self::INTER_AREA_PREFIX => "inter_area_prefix",
            Self::INTER_AREA_ROUTER => "inter_area_router",
            Self::AS_EXTERNAL => "as_external",
            Self::LINK => "link",
            Self::INTRA_AREA_PREFIX => "intra_area_prefix",
            Self::GRACE => "grace",
            _ => "unknown",
        }
    }

    /// Whether this crate understands the body.
    pub fn is_known(self) -> bool {
        Self::KNOWN.contains(&self)
    }

    /// The scope it is flooded with; nothing for the reserved scope.
    pub fn scope(self) -> Option<Scope> {
        // RFC 5340 4.5.1: an unknown type without the U bit is treated as link-local.
        let link_only = !self.is_known() && self.0 & 0x8000 == 0;
        match (self.0 >> 13) & 3 {
            3 => None,
            _ if link_only => Some(Scope::Link),
            0 => Some(Scope::Link),
            1 => Some(Scope::Area),
            _ => Some(Scope::As),
        }
    }
}

impl Serialize for LsaType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_known() {
            serializer.serialize_str(self.name())
        } else {
            serializer.collect_str(&format_args!("{:#06x}", self.0))
        }
    }
}

impl<'de> Deserialize<'de> for LsaType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer, |text| {
            let number = || u16::from_str_radix(text.strip_prefix("0x")?, 16).ok();
            let known = Self::KNOWN.into_iter().find(|ty| ty.name() == text);
            known.or_else(|| number().map(Self))
        })
    }
}
