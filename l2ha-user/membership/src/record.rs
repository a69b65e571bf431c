//! What is in etcd, and what of it is believed: keys and values come from whoever may write there.
//!
//! ```text
//! PREFIX members/NAME   a node that joined, or has left: stays until another record takes its place
//! PREFIX alive/NAME     under the node's lease: the id of its record, while it is there
//! PREFIX accept         nodes that may go although so many go at once
//! ```

use std::{collections::BTreeSet, fmt, str::FromStr};

use config::Joined;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Version of the records' form.
const VERSION: u32 = 1;
/// Longest record in bytes.
const LONGEST_RECORD: usize = 4096;
/// Longest value of any key in bytes: names of as many nodes as there can be.
pub(crate) const LONGEST: usize = 128 << 10;

/// Which host has a name: random, made once. Another host with the same name has another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id(u128);

impl Id {
    /// One of these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

/// 32 hexadecimal digits.
impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Id {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.len() == 32 && text.bytes().all(|it| it.is_ascii_hexdigit());
        let number = digits
            .then(|| u128::from_str_radix(text, 16).ok())
            .flatten();
        number.map(Self).ok_or("is not 32 hexadecimal digits")
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// Why a node has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// It has said so itself.
    Left,
    /// An operator has said so.
    Forgotten,
    /// It was absent for too long.
    Absent,
}

/// A node's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gone {
    pub(crate) cause: Cause,
    /// When it was written; seconds since 1970, by the clock of whoever wrote it.
    pub(crate) at: u64,
}

/// What a record says of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum What {
    /// It has joined.
    Node(Joined),
    /// It is gone.
    Gone(Gone),
}

/// The value of `members/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    version: u32,
    /// Which host has the name.
    pub(crate) id: Id,
    /// Grows with each record of this host.
    pub(crate) serial: u64,
    #[serde(flatten)]
    pub(crate) what: What,
}

impl Record {
    pub(crate) const fn new(id: Id, serial: u64, what: What) -> Self {
        Self {
            version: VERSION,
            id,
            serial,
            what,
        }
    }

    /// As etcd has it.
    pub(crate) fn to_value(&self) -> String {
        // Names, numbers and addresses are always JSON.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads a value that somebody has written below this name.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(crate) fn parse(name: &str, value: &[u8]) -> Result<Self, String> {
        if value.len() > LONGEST_RECORD {
            return Err(format!("its record has more than {LONGEST_RECORD} bytes"));
        }
        // The error repeats what it does not know.
        let record: Self = serde_json::from_slice(value).map_err(|error| {
            format!(
                "its record cannot be read: {}",
                printable(&error.to_string())
            )
        })?;
        if record.version != VERSION {
            return Err(format!(
                "its record has the form {}, not {VERSION}",
                record.version
            ));
        }
        match &record.what {
            What::Node(joined) if joined.name != name => Err(format!(
                "its record is that of `{}`",
                printable(&joined.name)
            )),
            _ => Ok(record),
        }
    }
}

/// The value of `accept`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Accepted {
    /// Those who may go.
    pub(crate) names: BTreeSet<String>,
}

/// A key below the prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// `members/NAME`.
    Member(String),
    /// `alive/NAME`.
    Alive(String),
    /// `accept`.
    Accept,
}

impl Key {
    /// Reads a key; nothing where it is none of ours.
    pub(crate) fn parse(prefix: &str, key: &[u8]) -> Option<Self> {
        let key = std::str::from_utf8(key).ok()?.strip_prefix(prefix)?;
        let name = |name: &str| (!name.is_empty() && name.len() <= 64).then(|| name.to_owned());
        match key.split_once('/') {
            Some(("members", rest)) => Some(Self::Member(name(rest)?)),
            Some(("alive", rest)) => Some(Self::Alive(name(rest)?)),
            None if key == "accept" => Some(Self::Accept),
            _ => None,
        }
    }

    /// As etcd has it.
    pub(crate) fn below(&self, prefix: &str) -> String {
        match self {
            Self::Member(name) => format!("{prefix}members/{name}"),
            Self::Alive(name) => format!("{prefix}alive/{name}"),
            Self::Accept => format!("{prefix}accept"),
        }
    }
}

/// What somebody else has written, for a terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .take(160)
        .flat_map(char::escape_debug)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "000102030405060708090a0b0c0d0e0f";

    #[test]
    fn a_record_is_what_the_documentation_shows() {
        let text = format!(
            r#"{{"version":1,"id":"{ID}","serial":7,"node":{{"name":"web-1","role":"server","addresses":["10.0.0.4"],"services":["web"]}}}}"#
        );
        let record = Record::parse("web-1", text.as_bytes()).unwrap();
        assert_eq!(record.to_value(), text);
        let gone = format!(
            r#"{{"version":1,"id":"{ID}","serial":7,"gone":{{"cause":"forgotten","at":1700000000}}}}"#
        );
        let record = Record::parse("web-1", gone.as_bytes()).unwrap();
        assert_eq!(
            record.what,
            What::Gone(Gone {
                cause: Cause::Forgotten,
                at: 1_700_000_000
            })
        );
        assert_eq!(record.to_value(), gone);
    }

    #[test]
    fn what_is_no_record_is_refused() {
        let good =
            format!(r#"{{"version":1,"id":"{ID}","serial":7,"gone":{{"cause":"left","at":1}}}}"#);
        for (text, why) in [
            (good.replace("version\":1", "version\":2"), "has the form 2"),
            (good.replace(ID, "xyz"), "32 hexadecimal digits"),
            (good.replace(ID, &"+".repeat(32)), "32 hexadecimal digits"),
            (good.replace("left", "weather"), "cannot be read"),
            (good.replace(":7,", ":-7,"), "cannot be read"),
            (good[..20].to_owned(), "cannot be read"),
            (format!("{good}{}", " ".repeat(5000)), "bytes"),
            (
                format!(
                    r#"{{"version":1,"id":"{ID}","serial":7,"node":{{"name":"a\u001b","role":"client","addresses":[]}}}}"#
                ),
                "that of `a\\u{1b}`",
            ),
        ] {
            let error = Record::parse("web-1", text.as_bytes()).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn keys_are_found_below_the_prefix_alone() {
        for key in [
            Key::Member("web-1".to_owned()),
            Key::Alive("web-1".to_owned()),
            Key::Accept,
        ] {
            let text = key.below("/l2ha/shop/");
            assert_eq!(Key::parse("/l2ha/shop/", text.as_bytes()), Some(key));
        }
        for text in [
            "/l2ha/shop",
            "/l2ha/shop/members/",
            "/l2ha/shop/x",
            "/l2ha/shopmembers/a",
            "\u{ff}",
        ] {
            assert_eq!(Key::parse("/l2ha/shop/", text.as_bytes()), None, "{text}");
        }
    }
}
