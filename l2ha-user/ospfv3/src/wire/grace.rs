//! Grace-LSA: RFC 5187 2.1, with the TLVs of RFC 3623 A and B.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::text::from_text;
use super::{DecodeError, Decoded, Reader, Write};

/// Type, length and value, padded to four bytes; other types are passed over.
const PERIOD: u16 = 1;
const REASON: u16 = 2;

/// Why a router restarts: RFC 3623 B.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GraceReason {
    /// It does not know itself: it crashed.
    Unknown,
    /// The software is restarted.
    SoftwareRestart,
    /// The software is reloaded or upgraded.
    SoftwareUpgrade,
    /// It switches to a redundant control processor.
    SwitchToRedundant,
    /// A reason this crate does not know.
    Other(u8),
}

impl GraceReason {
    const fn code(self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::SoftwareRestart => 1,
            Self::SoftwareUpgrade => 2,
            Self::SwitchToRedundant => 3,
            Self::Other(code) => code,
        }
    }

    const fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Unknown,
            1 => Self::SoftwareRestart,
            2 => Self::SoftwareUpgrade,
            3 => Self::SwitchToRedundant,
            other => Self::Other(other),
        }
    }
}

impl std::fmt::Display for GraceReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown => f.write_str("unknown"),
            Self::SoftwareRestart => f.write_str("software_restart"),
            Self::SoftwareUpgrade => f.write_str("software_upgrade"),
            Self::SwitchToRedundant => f.write_str("switch_to_redundant"),
            Self::Other(code) => write!(f, "reason_{code}"),
        }
    }
}

impl Serialize for GraceReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GraceReason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer, |text| {
            let mut all = (0..=u8::MAX).map(Self::from_code);
            all.find(|reason| reason.to_string() == text)
        })
    }
}

/// Grace-LSA: its originator restarts, and asks its neighbours to go on as if it did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Grace {
    /// For how many seconds since the LSA's origination.
    pub period: u32,
    /// Why.
    pub reason: GraceReason,
}

impl Grace {
    pub(super) fn encode(self, out: &mut Vec<u8>) {
        out.put_u16(PERIOD);
        out.put_u16(4);
        out.put_u32(self.period);
        out.put_u16(REASON);
        out.put_u16(1);
        out.put(&[self.reason.code(), 0, 0, 0]);
    }

    /// TLVs of other types are skipped. RFC 3623 B.1 wants a grace period and a reason; without the
    /// period the LSA says nothing, without the reason all that matters.
    pub(super) fn decode(r: &mut Reader<'_>) -> Decoded<Self> {
        let mut period = None;
        let mut reason = GraceReason::Unknown;
        while r.remaining() > 0 {
            let ty = r.u16()?;
            let length = usize::from(r.u16()?);
            let value = r.take(length)?;
            // The padding after the last may be missing.
            r.take((length.next_multiple_of(4) - length).min(r.remaining()))?;
            match (ty, value) {
                (PERIOD, [a, b, c, d]) => period = Some(u32::from_be_bytes([*a, *b, *c, *d])),
                (REASON, [code]) => reason = GraceReason::from_code(*code),
                (PERIOD | REASON, _) => return Err(DecodeError::LsaBody),
                _ => {}
            }
        }
        let period = period.ok_or(DecodeError::LsaBody)?;
        Ok(Self { period, reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8]) -> Decoded<Grace> {
        Grace::decode(&mut Reader::new(bytes))
    }

    const PERIOD_120: [u8; 8] = [0, 1, 0, 4, 0, 0, 0, 120];

    #[test]
    fn bytes_of_rfc_3623() {
        let mut bytes = Vec::new();
        let grace = Grace {
            period: 120,
            reason: GraceReason::SoftwareUpgrade,
        };
        grace.encode(&mut bytes);
        assert_eq!(bytes[..8], PERIOD_120);
        assert_eq!(bytes[8..], [0, 2, 0, 1, 2, 0, 0, 0]);
        assert_eq!(decode(&bytes), Ok(grace));
        assert_eq!(decode(&bytes[..13]), Ok(grace), "without the last padding");
    }

    #[test]
    fn other_tlvs_are_skipped() {
        // OSPFv2's address of the interface, and an unknown one, of an odd length.
        let mut bytes = vec![
            0, 3, 0, 4, 10, 0, 0, 1, 0x80, 7, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0,
        ];
        bytes.extend(PERIOD_120);
        let grace = decode(&bytes).unwrap();
        assert_eq!((grace.period, grace.reason), (120, GraceReason::Unknown));
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(decode(&[]).is_err(), "no period");
        assert!(decode(&[0, 2, 0, 1, 1, 0, 0, 0]).is_err(), "no period");
        assert!(decode(&[0, 1, 0, 2, 0, 120, 0, 0]).is_err(), "short period");
        assert!(decode(&[0, 1, 0, 4, 0, 0]).is_err(), "cut off");
        let mut bytes = PERIOD_120.to_vec();
        bytes.extend([0, 9, 0xff, 0xff]);
        assert!(decode(&bytes).is_err(), "length beyond the end");
    }
}
