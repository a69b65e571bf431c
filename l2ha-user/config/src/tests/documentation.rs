//! docs/configuration.md and the samples say what is so.

use std::{collections::BTreeSet, ops::RangeInclusive};

use toml::de::{DeTable, DeValue};

use super::*;

const PAGE: &str = include_str!("../../../../docs/configuration.md");
const SAMPLE: &str = include_str!("../../../../docs/l2ha.toml");
const README: &str = include_str!("../../../../README.md");
const MINIMAL: &str = include_str!("../../../../docs/l2ha-minimal.toml");

/// Loads a text, with files in place of the secrets that it has in `/etc/l2ha`.
fn load_with_secrets(text: &str) -> Result<Config, ConfigErrors> {
    let folder = tempfile::tempdir().unwrap();
    let mut text = text.to_owned();
    let names: BTreeSet<String> = text
        .split('"')
        .filter_map(|word| word.strip_prefix("/etc/l2ha/"))
        .filter(|name| !name.contains(char::is_whitespace) && !name.ends_with(".toml"))
        .map(str::to_owned)
        .collect();
    for (index, name) in names.iter().enumerate() {
        let path = folder.path().join(name);
        // A cluster's secret, or a cookie.
        let digits = if name == "cluster.key" { 64 } else { 16 };
        fs::write(&path, format!("{index:0digits$x}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        text = text.replace(&format!("\"/etc/l2ha/{name}\""), &format!("{path:?}"));
    }
    load_in(folder.path(), &text)
}

/// Loads what is good.
fn load_sample(text: &str) -> Config {
    load_with_secrets(text).unwrap_or_else(|errors| panic!("{errors}"))
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
        let checks = tables.iter().filter_map(|table| table.get("check"));
        keys.extend(checks.flat_map(|check| check_keys(check.get_ref())));
    }
    keys
}

/// The keys of `check`, as `services.check.tcp`; it is a table or several.
fn check_keys(check: &DeValue<'_>) -> Vec<String> {
    let tables: Vec<&DeValue<'_>> = match check {
        DeValue::Array(list) => list.iter().map(|table| table.get_ref()).collect(),
        one => vec![one],
    };
    let keys = tables.into_iter().filter_map(DeValue::as_table);
    keys.flat_map(|table| table.keys())
        .map(|key| format!("{}.{}", CHECK.name, key.get_ref()))
        .collect()
}

/// The tables, and the one within a table.
fn all_tables() -> impl Iterator<Item = &'static Table> {
    TABLES.iter().chain([&CHECK])
}

/// The keys that may be, as `tunnels.name`, of those that `which` holds for.
fn known(which: impl Fn(&Key) -> bool) -> BTreeSet<String> {
    all_tables()
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

/// The page's rows about a table: key, type, default and meaning.
fn rows(table: &Table) -> Vec<Vec<&'static str>> {
    let title = format!("## `{}`\n", table.header());
    let (_, section) = PAGE
        .split_once(&title)
        .unwrap_or_else(|| panic!("no section {title}"));
    let section = section.split("\n##").next().unwrap_or_default();
    section
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            line.trim_matches('|')
                .splitn(4, '|')
                .map(str::trim)
                .collect()
        })
        .collect()
}

#[test]
fn the_page_describes_every_key_with_its_default_and_no_other() {
    for table in all_tables() {
        let title = table.header();
        let rows = rows(table);
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

/// The blocks of the page, which are what people copy.
fn blocks() -> Vec<&'static str> {
    PAGE.split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect()
}

#[test]
fn the_pages_examples_have_known_keys_only() {
    for block in blocks() {
        assert!(keys(block).is_subset(&known(|_| true)), "{block}");
    }
}

/// They are parts; together with what they lack they are good.
#[test]
fn the_pages_examples_are_good() {
    let blocks = blocks();
    assert_eq!(
        blocks.len(),
        TABLES.len() + 1,
        "an example for every section, and the peer's tunnel"
    );
    let without = |tunnel: &str| -> Vec<&str> {
        let others = |block: &&str| !block.contains(tunnel);
        blocks.iter().copied().filter(others).collect()
    };
    let ours = without("name = \"server-1\"\nremote");
    assert_eq!(ours.len(), TABLES.len());
    load_sample(&ours.concat());
    let peer = without("name = \"client\"\nremote").concat();
    load_sample(&peer.replace("10.77.0.1\"]", "10.77.0.9\"]"));
}

/// What must be there of every table, with these lines more in one of them.
fn least_with(name: &str, more: &str) -> String {
    const KINDS: [&str; 4] = ["tcp", "http", "exec", "unit"];
    let given_in = |more: &str, name: &str| {
        let mut lines = more.lines();
        lines.any(|line| line.starts_with(&format!("{name} =")))
    };
    let given = |key: &Key| given_in(more, key.name);
    let mut text = String::new();
    // The check stands behind the last table, which is the service that it is of.
    let check = (name == CHECK.name).then_some(&CHECK);
    for table in TABLES.iter().chain(check) {
        text.push_str(&format!("{}\n", table.header()));
        let here = table.name == name;
        if table == &CHECK && !KINDS.iter().any(|kind| given_in(more, kind)) {
            text.push_str("tcp = \"[::1]:80\"\n");
        }
        for key in table.keys {
            if key.absent == Absent::Refused && !(here && given(key)) {
                text.push_str(&format!("{} = {}\n", key.name, key.example));
            }
        }
        if here {
            text.push_str(more);
        }
    }
    text
}

/// A key with its default says the same as no key.
#[test]
fn the_defaults_are_what_the_page_says() {
    let mut written = String::new();
    for table in TABLES {
        written.push_str(&format!("{}\n", table.header()));
        for key in table.keys {
            match key.absent {
                Absent::Refused => written.push_str(&format!("{} = {}\n", key.name, key.example)),
                Absent::Default(value) => written.push_str(&format!("{} = {value}\n", key.name)),
                // The examples of these say what absence means here, but for cookies and MTU.
                Absent::Means(_)
                    if ["interface", "dead_interval", "ospf", "cost"].contains(&key.name) =>
                {
                    written.push_str(&format!("{} = {}\n", key.name, key.example));
                }
                Absent::Means(_) => {}
            }
        }
    }
    assert_eq!(load_sample(&least_with("", "")), load_sample(&written));
}

/// Whole numbers as the page gives them: `0 to 31, 128 to 255`, `1 to 9, not 5` or `1 or 2`.
#[derive(Default)]
struct Numbers {
    ranges: Vec<RangeInclusive<i128>>,
    but: Vec<i128>,
}

impl Numbers {
    /// Those of a cell; words beside them are left out.
    fn of(cell: &str) -> Self {
        let number = |text: &str| text.trim().parse::<i128>().ok();
        let mut numbers = Self::default();
        for part in cell.split(", ") {
            if let Some((first, last)) = part.split_once(" to ")
                && let (Some(first), Some(last)) = (number(first), number(last))
            {
                numbers.ranges.push(first..=last);
            } else if let Some(number) = part.strip_prefix("not ").and_then(number) {
                numbers.but.push(number);
            } else {
                let single = part.split(" or ").filter_map(number);
                numbers.ranges.extend(single.map(|number| number..=number));
            }
        }
        numbers
    }

    fn has(&self, number: i128) -> bool {
        self.ranges.iter().any(|range| range.contains(&number)) && !self.but.contains(&number)
    }

    /// The last number inside and the first outside, at each end.
    fn ends(&self) -> impl Iterator<Item = i128> {
        let ends = self
            .ranges
            .iter()
            .flat_map(|range| [*range.start(), *range.end()]);
        ends.chain(self.but.iter().copied())
            .flat_map(|end| [end - 1, end, end + 1])
    }
}

#[test]
fn the_pages_numbers_are_those_that_are_accepted() {
    let mut count = 0;
    for table in all_tables() {
        for row in rows(table) {
            let key = row[0].trim_matches('`');
            let errors = load_with_secrets(&least_with(table.name, &format!("{key} = {{}}\n")));
            let wants_number = errors
                .expect_err("a table is no value")
                .errors()
                .iter()
                .any(|error| error.what.contains("must be a whole number"));
            let numbers = Numbers::of(row[1]);
            assert_eq!(
                wants_number,
                !numbers.ranges.is_empty(),
                "the type of {key}: {}",
                row[1]
            );
            // What these need beside them.
            let more = match key {
                "hello_interval" => "dead_interval = 65535\n",
                "default_cost" => "stub = true\n",
                _ => "",
            };
            for number in numbers.ends() {
                let line = format!("{key} = {number}\n{more}");
                let loaded = load_with_secrets(&least_with(table.name, &line));
                assert_eq!(
                    loaded.is_ok(),
                    numbers.has(number),
                    "{} of {}: {number} and the page's {}: {loaded:?}",
                    key,
                    table.header(),
                    row[1]
                );
                count += 1;
            }
        }
    }
    assert!(count > 100, "only {count} numbers were tried");
}

/// Ranges in the page's sentences, each with a text that has such a number.
#[test]
fn the_ranges_in_the_pages_sentences_are_those_that_are_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let name = |length: i128| "a".repeat(usize::try_from(length).unwrap());
    let secret = |length: i128| {
        let path = folder.path().join(length.to_string());
        fs::write(&path, name(length)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        format!("secret_file = {path:?}\n")
    };
    let file_of = |key: &str, length| secret(length).replace("secret_file", key);
    let ospf_key = |length| file_of("ospf_key_file", length);
    let bfd_key = |length| file_of("bfd_key_file", length);
    let named = |length| format!("name = \"{}\"\ninterface = \"x\"\n", name(length));
    let only_named = |length| format!("name = \"{}\"\n", name(length));
    let md5 = |length| format!("{}algorithm = \"keyed-md5\"\n", secret(length));
    let interval = |number| format!("bfd = \"{number}x3\"\n");
    let multiplier = |number| format!("bfd = \"50x{number}\"\n");
    type Line<'a> = &'a dyn Fn(i128) -> String;
    let tried: [(&str, &str, RangeInclusive<i128>, Line<'_>); 10] = [
        ("node", "name", 1..=32, &only_named),
        ("tunnels", "name", 1..=32, &named),
        ("tunnels", "ospf_key_file", 8..=128, &ospf_key),
        ("tunnels", "bfd_key_file", 8..=20, &bfd_key),
        ("ospf", "bfd", 3..=10_000, &interval),
        ("ospf", "bfd", 2..=50, &multiplier),
        ("ospf_keys", "secret_file", 8..=128, &secret),
        ("bfd_keys", "secret_file", 8..=20, &secret),
        ("bfd_keys", "secret_file", 8..=16, &md5),
        ("services", "name", 1..=32, &only_named),
    ];
    // Ports that the programs choose, and nobody can.
    let chosen = ("tunnels", "source_port", 49_152..=65_535);
    let mut found = Vec::new();
    for table in all_tables() {
        for row in rows(table) {
            let words: Vec<&str> = row[3]
                .split_whitespace()
                .map(|word| word.trim_matches(['(', ')', ',', '.']))
                .collect();
            for three in words.windows(3) {
                if let [first, "to", last] = three
                    && let (Ok(first), Ok(last)) = (first.parse(), last.parse())
                {
                    found.push((table.name, row[0].trim_matches('`'), first..=last));
                }
            }
        }
    }
    found.retain(|range| *range != chosen);
    let expected: Vec<_> = tried
        .iter()
        .map(|(table, key, range, _)| (*table, *key, range.clone()))
        .collect();
    assert_eq!(found, expected, "a range that is not tried here");
    for (table, key, range, line) in &tried {
        for end in [*range.start(), *range.end()] {
            for number in [end - 1, end, end + 1] {
                let loaded = load_with_secrets(&least_with(table, &line(number)));
                assert_eq!(
                    loaded.is_ok(),
                    range.contains(&number),
                    "{key} of {table}: {number} and the page's {range:?}: {loaded:?}"
                );
            }
        }
    }
}

/// The examples of the schema are what remedies tell people to write.
#[test]
fn examples_and_defaults_are_good_values() {
    for table in all_tables() {
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
    assert_eq!(notes.len(), 3, "{notes:?}");
    assert!(
        notes[0].contains("Azure") && notes[1].contains("receive_cookie_file"),
        "{notes:?}"
    );
    assert!(
        notes[2].starts_with("service web: without a check")
            && notes[2].contains("`check = { tcp = \"[2001:db8::80]:80\" }`"),
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
