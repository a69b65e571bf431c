//! docs/configuration.md and the samples say what is so.

use std::collections::BTreeSet;

use toml::de::{DeTable, DeValue};

use super::*;

const PAGE: &str = include_str!("../../../../docs/configuration.md");
const SAMPLE: &str = include_str!("../../../../docs/l2ha.toml");
const README: &str = include_str!("../../../../README.md");
const MINIMAL: &str = include_str!("../../../../docs/l2ha-minimal.toml");

/// Loads a sample whose cookie files are in a folder of this test.
fn load_sample(text: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    for (name, cookie) in [
        ("client.receive", "0011223344556677"),
        ("client.receive.old", "1011223344556677"),
        ("client.send", "8899aabbccddeeff"),
        ("server-2.receive", "00112233"),
        ("server-2.send", "44556677"),
        ("ospf.key", "correct-horse-battery-staple"),
        ("bfd.key", "correct-horse-batte"),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, cookie).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let here = format!("{}/", folder.path().display());
    load_in(folder.path(), &text.replace("/etc/l2ha/", &here))
        .unwrap_or_else(|errors| panic!("{errors}"))
}

/// The keys of a file, as `tunnels.name`.
fn keys(text: &str) -> BTreeSet<String> {
    let root = DeTable::parse(text).unwrap();
    let mut keys = BTreeSet::new();
    for (table, value) in root.get_ref().iter() {
        let tables = match value.get_ref() {
            DeValue::Array(list) => list.iter().map(|table| table.get_ref()).collect(),
            one => vec![one],
        };
        for key in tables
            .iter()
            .filter_map(|table| table.as_table())
            .flat_map(|table| table.keys())
        {
            keys.insert(format!("{}.{}", table.get_ref(), key.get_ref()));
        }
    }
    keys
}

/// The keys that may be, as `tunnels.name`, of those that `which` holds for.
fn known(which: impl Fn(&Key) -> bool) -> BTreeSet<String> {
    TABLES
        .iter()
        .flat_map(|table| {
            table
                .keys
                .iter()
                .filter(|key| which(key))
                .map(|key| format!("{}.{}", table.name, key.name))
        })
        .collect()
}

#[test]
fn the_sample_has_every_key_and_its_defaults() {
    assert_eq!(keys(SAMPLE), known(|_| true));
    let config = load_sample(SAMPLE);
    assert_eq!(config.tunnels.len(), 2);
    assert!(config.notes().is_empty());
    for key in TABLES
        .iter()
        .filter(|table| !table.several)
        .flat_map(|table| table.keys)
    {
        if let Absent::Default(value) = key.absent {
            let line = format!("{} = {value}", key.name);
            assert!(
                SAMPLE.contains(&line),
                "the sample shows the default: {line}"
            );
        }
    }
}

#[test]
fn the_minimal_sample_and_the_readmes_file_load() {
    let config = load_sample(MINIMAL);
    assert!(config.notes().is_empty());
    let mut required = known(|key| key.absent == Absent::Refused);
    // OSPF runs without keys and peculiar areas.
    let optional = ["ospf_keys.", "ospf_areas.", "bfd_keys."];
    required.retain(|key| !optional.iter().any(|table| key.starts_with(table)));
    assert!(keys(MINIMAL).is_superset(&required));
    let (_, readme) = README.split_once("```toml\n").unwrap();
    let (readme, _) = readme.split_once("```").unwrap();
    assert!(load_sample(readme).notes().is_empty());
}

#[test]
fn the_page_describes_every_key_with_its_default_and_no_other() {
    for table in TABLES {
        let title = format!("## `{}`\n", table.header());
        let (_, section) = PAGE
            .split_once(&title)
            .unwrap_or_else(|| panic!("no section {title}"));
        let section = section.split("\n##").next().unwrap_or_default();
        let rows: Vec<Vec<&str>> = section
            .lines()
            .filter(|line| line.starts_with("| `"))
            .map(|line| {
                line.trim_matches('|')
                    .splitn(4, '|')
                    .map(str::trim)
                    .collect()
            })
            .collect();
        let names: Vec<String> = rows
            .iter()
            .map(|row| row[0].trim_matches('`').to_owned())
            .collect();
        let expected: Vec<&str> = table.keys.iter().map(|key| key.name).collect();
        assert_eq!(names, expected, "the keys of {title}");
        for (key, row) in table.keys.iter().zip(rows) {
            let default = match key.absent {
                Absent::Refused => "required".to_owned(),
                Absent::Default(value) => format!("`{value}`"),
                Absent::Means(words) => words.to_owned(),
            };
            assert_eq!(row[2], default, "the default of {} in {title}", key.name);
            assert!(row[1].len() >= 3 && row[3].len() > 20, "{row:?}");
        }
    }
}

/// The blocks of the page are what people copy.
#[test]
fn the_pages_examples_have_known_keys_only() {
    let blocks: Vec<&str> = PAGE
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert!(blocks.len() >= TABLES.len(), "an example for every section");
    for block in blocks {
        assert!(keys(block).is_subset(&known(|_| true)), "{block}");
    }
}

/// The examples of the schema are what remedies tell people to write.
#[test]
fn examples_and_defaults_are_good_values() {
    for table in TABLES {
        for key in table.keys {
            let line = format!("{} = {}\n", key.name, key.example);
            assert!(DeTable::parse(&line).is_ok(), "{line}");
        }
    }
}

#[test]
fn notes_tell_what_is_rarely_meant() {
    let text = GOOD.replace("session_id = 1001", "local_port = 65330\nsession_id = 1001");
    let notes = load(&text).unwrap().notes();
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(
        notes[0].contains("Azure") && notes[1].contains("receive_cookie_file"),
        "{notes:?}"
    );
    let text = format!("{GOOD}{SECOND}\n[[ospf_areas]]\narea = \"0.0.0.9\"\n")
        .replace("session_id = 1001", "area = \"0.0.0.1\"\nsession_id = 1001")
        .replace("session_id = 1002", "area = \"0.0.0.2\"\nsession_id = 1002");
    let notes = load(&text).unwrap().notes();
    let said = |what: &str| notes.iter().any(|note| note.contains(what));
    assert!(said("no tunnel is in area 0.0.0.9"), "{notes:?}");
    assert!(said("none is in the backbone"), "{notes:?}");
}
