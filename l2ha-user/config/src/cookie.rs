//! Cookies (RFC 3931 section 4.1): they keep strangers from injecting frames, so they are secret.

use std::fmt;

/// A cookie of 0, 4 or 8 bytes, in the order of the wire. There is no way to print one.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Cookie {
    bytes: Vec<u8>,
}

impl Cookie {
    /// A cookie of these bytes, unless there are not 0, 4 or 8 of them.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        matches!(bytes.len(), 0 | 4 | 8).then(|| Self {
            bytes: bytes.to_vec(),
        })
    }

    /// Reads hexadecimal digits: 8 or 16, white space around them ignored.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.trim().as_bytes();
        if !matches!(digits.len(), 8 | 16) {
            return None;
        }
        let bytes = digits
            .chunks_exact(2)
            .map(|pair| Some(hex_digit(pair[0])? << 4 | hex_digit(pair[1])?))
            .collect::<Option<Vec<u8>>>()?;
        Some(Self { bytes })
    }

    /// The bytes: 0 (no cookie), 4 or 8.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many bytes there are: 0, 4 or 8.
    pub(crate) fn size(&self) -> u16 {
        match self.bytes.len() {
            0 => 0,
            4 => 4,
            _ => 8,
        }
    }
}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cookie({} bytes)", self.bytes.len())
    }
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_of_four_or_eight_bytes() {
        let bytes = |text| Cookie::from_hex(text).map(|cookie| cookie.bytes);
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
