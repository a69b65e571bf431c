//! To which neighbour packets go.

use core::net::IpAddr;

use bytemuck::{Pod, Zeroable};

/// `AF_INET` and `AF_INET6` (linux/socket.h).
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;

/// A neighbour as `bpf_redirect_neigh` takes it (`struct bpf_redir_neigh`, linux/bpf.h): its family in the machine's
/// order, then its address as in packets, an IPv4 one in the first 4 bytes. It may be of another family than the
/// packets. All zero for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct NextHop {
    family: u32,
    address: [u8; 16],
}

impl NextHop {
    /// No neighbour.
    pub const NONE: Self = Self {
        family: 0,
        address: [0; 16],
    };

    /// Whether there is none.
    #[inline(always)]
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.family == 0
    }
}

impl From<IpAddr> for NextHop {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => {
                let mut bytes = [0; 16];
                bytes[..4].copy_from_slice(&address.octets());
                Self {
                    family: AF_INET,
                    address: bytes,
                }
            }
            IpAddr::V6(address) => Self {
                family: AF_INET6,
                address: address.octets(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbour_lies_in_memory_as_the_kernel_reads_it() {
        let bytes = |address: &str| {
            let address: IpAddr = address.parse().unwrap();
            bytemuck::bytes_of(&NextHop::from(address)).to_vec()
        };
        let v4 = bytes("192.0.2.1");
        assert_eq!(v4[..4], 2_u32.to_ne_bytes());
        assert_eq!(v4[4..], [192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let v6 = bytes("fe80::1");
        assert_eq!(v6[..4], 10_u32.to_ne_bytes());
        assert_eq!((v6[4], v6[5], v6[19], v6.len()), (0xfe, 0x80, 1, 20));
        assert!(NextHop::NONE.is_none());
        assert!(!NextHop::from(IpAddr::from([0, 0, 0, 0])).is_none());
    }
}
