//! Lists of prefixes in `[ospf]`: which of those that neighbours advertise come into the kernel, and which of the
//! kernel's are advertised.

use ipnet::IpNet;
use ospfv3::{Prefix, PrefixRange};

use crate::{report::Found, section::Section};

/// Reads the list of this key.
pub(crate) fn entries(section: &Section<'_>, key: &str) -> Vec<PrefixRange> {
    let named = section
        .strings(key, |text| parse(text).is_ok())
        .map_or_else(Vec::new, |strings| strings.good);
    let read = named.iter().filter_map(|found| entry(section, key, found));
    read.collect()
}

/// One entry, as a prefix list has it: a prefix, then `ge` and `le` with lengths.
fn entry(section: &Section<'_>, key: &str, found: &Found<&str>) -> Option<PrefixRange> {
    let entry = parse(found.value);
    if let Err((what, good)) = &entry {
        let what = format!("`{}` {what}", found.value);
        section
            .report
            .error(&found.place, what, format!("write `{key} = [\"{good}\"]`"));
    }
    entry.ok()
}

/// The entry, or what is wrong with it and what would be right.
fn parse(text: &str) -> Result<PrefixRange, (String, String)> {
    let example = "2001:db8::/32 ge 128".to_owned();
    let mut words = text.split_whitespace();
    let network = words.next().and_then(|word| word.parse::<IpNet>().ok());
    let Some(network) = network else {
        let what = "does not begin with a prefix, such as 2001:db8::/32".to_owned();
        return Err((what, example));
    };
    let cut = network.trunc();
    let bits = network.max_prefix_len();
    let (mut least, mut most) = (None, None);
    while let Some(word) = words.next() {
        let length = words.next().and_then(|word| word.parse::<u8>().ok());
        let bound = match word {
            "ge" => &mut least,
            "le" => &mut most,
            _ => {
                let what = format!("has `{word}` where `ge` or `le` belongs");
                return Err((what, format!("{cut} le {bits}")));
            }
        };
        let right = |length: &u8| (cut.prefix_len()..=bits).contains(length);
        let Some(length) = length.filter(right).filter(|_| bound.is_none()) else {
            let what = format!(
                "needs one length of {} to {bits} after `{word}`",
                cut.prefix_len()
            );
            return Err((what, format!("{cut} {word} {bits}")));
        };
        *bound = Some(length);
    }
    // As everywhere: `ge` alone leaves the end open, and without either it is this prefix alone.
    let from = least.unwrap_or(cut.prefix_len());
    let to = most.unwrap_or(if least.is_some() {
        bits
    } else {
        cut.prefix_len()
    });
    if cut != network {
        let what = format!("has bits beyond its length of {}", cut.prefix_len());
        let rest = text.trim().split_once(char::is_whitespace);
        let rest = rest.map_or_else(String::new, |(_, rest)| format!(" {rest}"));
        return Err((what, format!("{cut}{rest}")));
    }
    let prefix = Prefix::new(cut.addr(), cut.prefix_len()).filter(|_| from <= to);
    let Some(prefix) = prefix else {
        let what = "accepts no length at all".to_owned();
        return Err((what, format!("{cut} ge {to} le {from}")));
    };
    Ok(PrefixRange {
        prefix,
        lengths: from..=to,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_a_prefix_list_has_it() {
        let lengths = |text: &str| {
            let accept = parse(text).unwrap();
            (accept.prefix.to_string(), accept.lengths)
        };
        let ours = "2001:db8::/32".to_owned();
        assert_eq!(lengths("2001:db8::/32"), (ours.clone(), 32..=32));
        assert_eq!(lengths("2001:db8::/32 ge 128"), (ours.clone(), 128..=128));
        assert_eq!(lengths("2001:db8::/32 ge 48"), (ours.clone(), 48..=128));
        assert_eq!(lengths("2001:db8::/32 le 48"), (ours.clone(), 32..=48));
        assert_eq!(lengths("2001:db8::/32  le 64 ge 48"), (ours, 48..=64));
        assert_eq!(lengths("0.0.0.0/0 le 32"), ("0.0.0.0/0".to_owned(), 0..=32));
    }

    #[test]
    fn what_is_wrong_is_said_with_what_is_right() {
        for (wrong, what, right) in [
            ("", "does not begin with", "2001:db8::/32 ge 128"),
            ("10.0.0.0", "does not begin with", "2001:db8::/32 ge 128"),
            ("10.0.0.0/8 eq 9", "`eq` where", "10.0.0.0/8 le 32"),
            ("10.0.0.0/8 le 33", "length of 8 to 32", "10.0.0.0/8 le 32"),
            ("10.0.0.0/8 ge", "length of 8 to 32", "10.0.0.0/8 ge 32"),
            ("10.0.0.0/8 ge 7", "length of 8 to 32", "10.0.0.0/8 ge 32"),
            ("10.0.0.0/8 ge 9 ge 10", "one length", "10.0.0.0/8 ge 32"),
            ("10.0.0.1/8 le 9", "beyond its length", "10.0.0.0/8 le 9"),
            (
                "10.0.0.0/8 ge 24 le 9",
                "no length at all",
                "10.0.0.0/8 ge 9 le 24",
            ),
        ] {
            let (found, good) = parse(wrong).unwrap_err();
            assert!(found.contains(what), "{wrong}: {found}");
            assert_eq!(good, right);
            assert!(parse(right).is_ok());
        }
    }
}
