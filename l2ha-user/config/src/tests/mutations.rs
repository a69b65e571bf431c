//! Files that were damaged at random: whatever is in them, every mistake has a line and a remedy.

use super::*;
use crate::load::parse;

const SAMPLE: &str = include_str!("../../../../docs/l2ha.toml");

/// Random numbers that are the same in every run (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 1).unwrap() % limit
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

/// Pieces that mean something to TOML or to the configuration, or to neither.
#[rustfmt::skip]
const PIECES: &[&str] = &[
    "\"", "'", "[", "]", "[[", "]]", "{", "}", "=", ".", ",", "#", "\n", "\r\n", "\t", "\0", "\\", "\"\"\"", "0",
    "-1", "1e9", "0x", "99999999999999999999999999999999999999999", "true", "nan", "1979-05-27", "é", "\u{feff}",
    "\u{202e}", "::", "fe80::1", "/0", "/129", "255.255.255.255", "tunnels", "ospf", "[ospf]", "name = ", "addresses = [[]]",
];

fn mutate(random: &mut Random, text: &str) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..1 + random.below(4) {
        let at = random.below(chars.len() + 1);
        let end = (at + random.below(12)).min(chars.len());
        match random.below(4) {
            0 => drop(chars.drain(at..end)),
            1 => drop(chars.splice(at..at, random.pick(PIECES).chars())),
            2 => drop(chars.splice(at..end, random.pick(PIECES).chars())),
            _ => {
                let copy: Vec<char> = chars[at..end].to_vec();
                let to = random.below(chars.len() + 1);
                drop(chars.splice(to..to, copy));
            }
        }
    }
    chars.into_iter().collect()
}

#[test]
fn damaged_files_are_refused_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random(0x6c32_6861);
    let mut refused = 0;
    for round in 0..20_000 {
        let text = mutate(&mut random, if round % 2 == 0 { GOOD } else { SAMPLE });
        let Err(errors) = parse(&text, folder.path()) else {
            continue;
        };
        refused += 1;
        let lines = text.lines().count().max(1);
        assert!(!errors.is_empty(), "refused without a reason: {text}");
        for error in errors {
            let line = error.line.unwrap_or_default();
            // An unfinished text may be blamed on the line after the last.
            assert!(
                (1..=lines + 1).contains(&line),
                "{error:?} of {lines} lines: {text}"
            );
            assert!(error.what.len() > 3 && error.remedy.len() > 3, "{error:?}");
        }
    }
    assert!(refused > 10_000, "only {refused} were refused");
}
