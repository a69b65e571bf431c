//! The sample configuration with every line removed and every byte changed in turn: whatever comes
//! of it is refused with a place and a remedy, or is a configuration; nothing makes the reader
//! panic.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use config::Config;

/// The sample, its cookie files beside it.
fn sample(folder: &Path) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let sample = fs::read_to_string(root.join("docs/l2ha.toml")).unwrap();
    for (index, name) in ["client", "server-2"].into_iter().enumerate() {
        for (direction, digit) in [("receive", 1), ("receive.old", 3), ("send", 2)] {
            let path: PathBuf = folder.join(format!("{name}.{direction}"));
            fs::write(&path, format!("{index}{digit}001122")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
    for name in ["ospf.key", "bfd.key"] {
        let key = folder.join(name);
        fs::write(&key, "a001122-secret").unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    }
    sample.replace("/etc/l2ha/", "")
}

/// Loads a changed file; tells whether it was refused.
fn refused(file: &Path, text: &[u8]) -> bool {
    fs::write(file, text).unwrap();
    let Err(errors) = Config::load(file) else {
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
