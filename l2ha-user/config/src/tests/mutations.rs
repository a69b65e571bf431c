//! Damaged files, at random and in every place in turn: nothing makes the reader panic, and every mistake has
//! a line and a remedy.

use super::*;
use crate::{cookie_file::Files, parse::parse};

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
        let Err(errors) = parse(&text, &Files::in_folder(folder.path())) else {
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

/// The sample, its cookie files beside it.
fn sample(folder: &Path) -> String {
    for (index, name) in ["client", "server-2"].into_iter().enumerate() {
        for (direction, digit) in [
            ("receive", 1),
            ("receive.old", 3),
            ("send", 2),
            ("send.old", 4),
        ] {
            let path = folder.join(format!("{name}.{direction}"));
            fs::write(&path, format!("{index}{digit}001122")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
    for name in [
        "ospf.key",
        "bfd.key",
        "client.ospf",
        "client.ospf.old",
        "client.bfd",
        "client.bfd.old",
    ] {
        let key = folder.join(name);
        fs::write(&key, "a001122-secret").unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    }
    SAMPLE.replace("/etc/l2ha/", "")
}

/// Loads a changed file; tells whether it was refused.
fn refused(file: &Path, text: &[u8]) -> bool {
    fs::write(file, text).unwrap();
    let Err(errors) = Config::load(file, &Who::default()) else {
        return false;
    };
    let lines = text.split(|byte| *byte == b'\n').count();
    assert!(!errors.errors().is_empty());
    for error in errors.errors() {
        let line = error.line.expect("a file that can be read has lines");
        assert!((1..=lines).contains(&line), "{error:?} of {lines} lines");
        assert!(
            !error.what.is_empty() && !error.remedy.is_empty(),
            "{error:?}"
        );
        let said = format!("{} {} {}", error.key, error.what, error.remedy);
        assert!(!said.contains("001122"), "a secret: {said}");
    }
    assert_eq!(
        errors.to_string().lines().count(),
        errors.errors().len(),
        "{errors}"
    );
    true
}

/// Every line is removed, and every byte changed in turn.
#[test]
fn no_change_of_a_byte_or_a_line_makes_the_reader_panic() {
    let folder = tempfile::tempdir().unwrap();
    let sample = sample(folder.path());
    let file = folder.path().join("l2ha.toml");
    assert!(
        !refused(&file, sample.as_bytes()),
        "the sample itself is good"
    );

    let mut count = 0;
    let mut bad = 0;
    // Two substitutes for each byte, other ones for its neighbours.
    const SUBSTITUTES: [[u8; 2]; 4] = [*b"\"0", *b"=\n", *b"[\xff", *b"]z"];
    for (index, _) in sample.bytes().enumerate() {
        for byte in SUBSTITUTES[index % SUBSTITUTES.len()] {
            let mut text = sample.clone().into_bytes();
            text[index] = byte;
            count += 1;
            bad += u32::from(refused(&file, &text));
        }
        count += 1;
        bad += u32::from(refused(&file, &sample.as_bytes()[..index]));
    }
    let lines: Vec<&str> = sample.lines().collect();
    for index in 0..lines.len() {
        for times in [0, 2] {
            let text: Vec<&str> = lines
                .iter()
                .enumerate()
                .flat_map(|(at, line)| vec![*line; if at == index { times } else { 1 }])
                .collect();
            count += 1;
            bad += u32::from(refused(&file, text.join("\n").as_bytes()));
        }
    }
    // Comments, names and numbers take most changes; quotes, brackets and ends of lines take none.
    assert!(bad > count / 2, "{bad} of {count} were refused");
}
