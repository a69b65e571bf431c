//! The rotation of what the ends of a link share: the former keys and cookies are used until every neighbour says
//! that it accepts the present ones.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// What kind of thing is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialKind {
    /// A key of OSPF: 1.
    OspfKey,
    /// A key of BFD: 2.
    BfdKey,
    /// A cookie of L2TPv3: 3.
    Cookie,
}

impl CredentialKind {
    pub(crate) const fn number(self) -> u16 {
        match self {
            Self::OspfKey => 1,
            Self::BfdKey => 2,
            Self::Cookie => 3,
        }
    }

    pub(crate) const fn from_number(number: u16) -> Option<Self> {
        match number {
            1 => Some(Self::OspfKey),
            2 => Some(Self::BfdKey),
            3 => Some(Self::Cookie),
            _ => None,
        }
    }
}

/// How a key or a cookie is named in Hellos. It cannot be had back from its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credential {
    /// What it is.
    pub kind: CredentialKind,
    /// Its number, or the beginning of its hash.
    pub value: u32,
}

impl Credential {
    /// A key of OSPF, by its SA ID.
    #[must_use]
    pub fn ospf_key(sa_id: u16) -> Self {
        Self {
            kind: CredentialKind::OspfKey,
            value: sa_id.into(),
        }
    }

    /// A key of BFD, by its Auth Key ID.
    #[must_use]
    pub fn bfd_key(id: u8) -> Self {
        Self {
            kind: CredentialKind::BfdKey,
            value: id.into(),
        }
    }

    /// A cookie, by the first four bytes of its SHA-256. Whoever reads this name can read the cookie itself, in the
    /// headers around it.
    #[must_use]
    pub fn cookie(bytes: &[u8]) -> Self {
        let [a, b, c, d, ..] = <[u8; 32]>::from(Sha256::digest(bytes));
        Self {
            kind: CredentialKind::Cookie,
            value: u32::from_be_bytes([a, b, c, d]),
        }
    }
}

/// A rotation on an interface, which has a present and a former key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// SA ID of the former key of OSPF.
    pub former: u16,
    /// What this end accepts, which its Hellos say.
    pub accepts: Vec<Credential>,
    /// What this end uses once every neighbour accepts it.
    pub present: Vec<Credential>,
}

impl Rotation {
    /// Whether an end that accepts these accepts all that is present. It does without the kinds of which it names
    /// none: it has no BFD, for instance.
    pub(crate) fn is_accepted(&self, accepted: &[Credential]) -> bool {
        let checked = |present: &Credential| {
            present.kind == CredentialKind::OspfKey
                || accepted.iter().any(|it| it.kind == present.kind)
        };
        let mut checked = self.present.iter().filter(|present| checked(present));
        checked.all(|present| accepted.contains(present))
    }
}

/// What signs the packets of an interface on which a secret is rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Signs {
    /// The present key: every neighbour accepts it.
    Present,
    /// The former one.
    Former,
    /// Nothing is known of a neighbour: each packet goes out twice.
    Both,
}

/// How far a neighbour is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct NeighborRotation {
    /// Whether it accepts the present secret.
    pub accepts_present: bool,
    /// Whether it uses it.
    pub uses_present: bool,
}
