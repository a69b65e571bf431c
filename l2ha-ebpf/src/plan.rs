//! What is planned for a session and its underlay: plain facts that configuration, data plane and
//! doctor share. The programs see none of them, only what is made of them ([`crate::abi`]).

use core::fmt;

/// Where the decapsulation program is attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AttachMode {
    /// Native XDP; where the driver cannot have it, tc ingress and a warning that says why.
    #[default]
    Auto,
    /// Native XDP or nothing.
    Xdp,
    /// tc ingress.
    Tc,
}

/// What carries L2TPv3 (RFC 3931 section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encapsulation {
    /// UDP, between these ports (host byte order, not 0).
    Udp {
        /// Port of this end.
        local_port: u16,
        /// Port of the peer.
        remote_port: u16,
    },
    /// IP protocol 115.
    Ip,
}

/// The L2-specific sublayer (RFC 3931 section 4.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sublayer {
    /// None.
    #[default]
    None,
    /// The default sublayer: 4 bytes, no sequence numbers.
    Default,
}

/// A cookie of 0, 4 or 8 bytes, in the order of the wire. There is no way to print one.
///
/// Cookies (RFC 3931 section 4.1) keep strangers from injecting frames, so they are secret, and no longer in memory
/// when they are dropped.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Cookie {
    /// Zero from `length` on.
    bytes: [u8; 8],
    length: u8,
}

impl Cookie {
    /// A cookie of these bytes, unless there are not 0, 4 or 8 of them.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let length = match bytes.len() {
            0 => 0,
            4 => 4,
            8 => 8,
            _ => return None,
        };
        let mut cookie = Self {
            bytes: [0; 8],
            length,
        };
        cookie.bytes[..bytes.len()].copy_from_slice(bytes);
        Some(cookie)
    }

    /// Reads hexadecimal digits: 8 or 16, white space around them ignored.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.trim().as_bytes();
        if !matches!(digits.len(), 8 | 16) {
            return None;
        }
        let mut cookie = Self::new(&[0; 8][..digits.len() / 2])?;
        for (byte, pair) in cookie.bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = hex_digit(pair[0])? << 4 | hex_digit(pair[1])?;
        }
        Some(cookie)
    }

    /// The bytes: 0 (no cookie), 4 or 8.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// How many bytes there are: 0, 4 or 8.
    #[must_use]
    pub const fn size(&self) -> u16 {
        self.length as u16
    }
}

#[cfg(not(target_arch = "bpf"))]
impl Drop for Cookie {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.bytes);
    }
}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cookie({} bytes)", self.length)
    }
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{format, vec, vec::Vec};

    use super::*;

    #[test]
    fn hex_of_four_or_eight_bytes() {
        let bytes = |text| Cookie::from_hex(text).map(|cookie| Vec::from(cookie.bytes()));
        assert_eq!(bytes("00ff10Ab\n"), Some(vec![0, 0xff, 0x10, 0xab]));
        assert_eq!(
            bytes("0123456789abcdef"),
            Some(vec![1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef])
        );
        for wrong in [
            "",
            "00",
            "00ff10",
            "00ff10ag",
            "0x00ff10ab",
            "+0+0+0+0",
            "ääää",
        ] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn debug_shows_no_byte() {
        let cookie = Cookie::from_hex("deadbeef").unwrap();
        assert_eq!(format!("{cookie:?}"), "Cookie(4 bytes)");
    }
}
