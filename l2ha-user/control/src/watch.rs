//! What `monitor` and `capture` answer: after the first line, one for each packet, until the client
//! closes its sending side; then one that says what is missing.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    /// A refused packet.
    Refused(RefusedPacket),
    /// A captured packet.
    Frame(CapturedFrame),
    /// The last line.
    End(Missed),
}

/// A refused packet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RefusedPacket {
    /// When, in nanoseconds since 1970.
    pub time_ns: u64,
    /// Name of the reason.
    pub reason: String,
    /// The reason in words.
    pub text: String,
    /// Interface at which it was refused; its index when it is gone.
    pub interface: String,
    /// Outer source address.
    pub source: Option<IpAddr>,
    /// Outer source port.
    pub source_port: Option<u16>,
    /// Outer destination address.
    pub destination: Option<IpAddr>,
    /// Outer destination port.
    pub destination_port: Option<u16>,
    /// Session id that it carries.
    pub session_id: Option<u32>,
    /// Length of the whole packet in bytes.
    pub length: u32,
    /// Its first bytes in hexadecimal, zero where a cookie can be.
    pub bytes: String,
}

/// A captured packet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CapturedFrame {
    /// When, in nanoseconds since 1970.
    pub time_ns: u64,
    /// Name of the tunnel.
    pub tunnel: String,
    /// `rx` or `tx`.
    pub direction: Direction,
    /// Length of the whole packet in bytes.
    pub length: u32,
    /// Its first bytes in hexadecimal; the cookie is zero.
    pub bytes: String,
}

/// Which way packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Received by this node.
    Rx,
    /// Sent by this node.
    Tx,
    /// Either way.
    Both,
}

/// Which headers a capture begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The frames that the virtual interfaces carry.
    Inner,
    /// The packets around them, cookies blanked.
    Outer,
}

/// Packets that could not be shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    /// The daemon read too slowly.
    pub by_daemon: u64,
    /// The client read too slowly.
    pub by_client: u64,
    /// Beyond the number shown each second.
    pub rate_limited: u64,
}

impl Missed {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.by_daemon + self.by_client + self.rate_limited
    }
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// Bytes from hexadecimal digits, or nothing if they are not.
#[must_use]
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let value = |digit: u8| char::from(digit).to_digit(16).map(|digit| digit as u8);
    digits
        .chunks(2)
        .map(|pair| Some(value(pair[0])? << 4 | value(pair[1])?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(from_hex(&to_hex(&bytes)), Some(bytes));
        assert_eq!(to_hex(&[0x0f, 0xa0]), "0fa0");
        assert_eq!(from_hex("0"), None);
        assert_eq!(from_hex("0g"), None);
    }

    #[test]
    fn the_words_on_the_socket_stay_as_they_are() {
        let end = Line::End(Missed {
            by_daemon: 1,
            by_client: 2,
            rate_limited: 3,
        });
        assert_eq!(
            serde_json::to_string(&end).unwrap(),
            r#"{"end":{"by_daemon":1,"by_client":2,"rate_limited":3}}"#
        );
        assert_eq!(serde_json::to_string(&Direction::Rx).unwrap(), r#""rx""#);
        assert_eq!(serde_json::to_string(&Side::Outer).unwrap(), r#""outer""#);
    }
}
