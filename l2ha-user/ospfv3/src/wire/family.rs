//! Address families, told apart by the Instance ID: RFC 5838 2.1.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::{Decoded, Reader, Write};

/// Bytes of an address field, whatever the family.
const ADDRESS_LEN: usize = 16;

/// The addresses that an instance of OSPFv3 finds ways to.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// IPv6 unicast, as RFC 5340 has it alone: Instance IDs 0 to 31.
    #[default]
    Ipv6,
    /// IPv4 unicast: Instance IDs 64 to 95.
    Ipv4,
}

impl Family {
    /// The family of an Instance ID. Of multicast and of what is not assigned (128 to 255) only the
    /// kind of addresses counts.
    pub const fn of_instance(instance_id: u8) -> Self {
        match instance_id {
            64..=127 => Self::Ipv4,
            _ => Self::Ipv6,
        }
    }

    /// The first of the family's Instance IDs, which is everybody's default.
    pub const fn instance(self) -> u8 {
        match self {
            Self::Ipv6 => 0,
            Self::Ipv4 => 64,
        }
    }

    /// The family of an address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V6(_) => Self::Ipv6,
            IpAddr::V4(_) => Self::Ipv4,
        }
    }

    /// Bits of an address.
    pub const fn bits(self) -> u8 {
        match self {
            Self::Ipv6 => 128,
            Self::Ipv4 => 32,
        }
    }

    /// Puts an address into a field of 128 bits: RFC 5838 2.5 and 2.6, an IPv4 address stands in
    /// the first 32 of them and the rest is zero.
    pub(crate) fn encode(address: IpAddr, out: &mut Vec<u8>) {
        match address {
            IpAddr::V6(address) => out.put(&address.octets()),
            IpAddr::V4(address) => {
                out.put(&address.octets());
                out.put(&[0; ADDRESS_LEN - 4]);
            }
        }
    }

    /// Reads such a field.
    pub(crate) fn decode(self, r: &mut Reader<'_>) -> Decoded<IpAddr> {
        let address: Ipv6Addr = r.ipv6()?;
        Ok(match self {
            Self::Ipv6 => IpAddr::V6(address),
            Self::Ipv4 => {
                let [a, b, c, d, ..] = address.octets();
                IpAddr::V4(Ipv4Addr::new(a, b, c, d))
            }
        })
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv6 => "IPv6",
            Self::Ipv4 => "IPv4",
        })
    }
}
