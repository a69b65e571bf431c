//! What an error says to write is itself accepted: each remedy that can be followed by hand without thought is
//! followed here, and the file is good then.

use super::{mistakes::mistakes, *};
use crate::{
    cookie_file::Files,
    error::ConfigError,
    parse::parse,
    schema::{CHECK, Table},
};

/// A file with a section of each kind whose keys are tried; secrets are not among them, for their remedies name
/// files.
const WHOLE: &str = r#"[node]
name = "server-1"

[underlay]
interface = "eth0"
addresses = ["10.77.0.1"]

[[tunnels]]
name = "client"
remote = "10.77.0.9"
session_id = 1001
peer_session_id = 2001
sublayer = "default"

[ospf]
router_id = "10.0.0.1"

[[ospf_areas]]
area = "0.0.0.1"
stub = true

[[services]]
name = "web"
address = "2001:db8::80"

[services.check]
"#;

/// What people write by mistake, as TOML.
const WRONG: &[&str] = &[
    "0",
    "1",
    "50",
    "-1",
    "70000",
    "5000000000",
    "1.5",
    "true",
    "false",
    "[]",
    "[1]",
    "[true]",
    "{}",
    "2027-01-31T12:00:00Z",
    "\"\"",
    "\" \"",
    "\"x\"",
    "\"1\"",
    "\"0\"",
    "\"50\"",
    "\"true\"",
    "\"no\"",
    "\"a b\"",
    "\"50 ms\"",
    "\"2 hours\"",
    "\"90 min\"",
    "\"1x1\"",
    "\"10.0.0.0\"",
    "\"10.0.0.1\"",
    "\"127.0.0.1/8\"",
    "\"0.0.0.0\"",
    "\"[::1]:80\"",
    "\"::ffff:10.0.0.0\"",
    "\"fe80::1%eth0\"",
    "\"/run\"",
    "\"a-name-that-is-longer-than-any-name-can-be\"",
    "[\"x\"]",
    "[\"\"]",
    "[\"10.0.0.0\"]",
    "[\"10.0.0.255/24\"]",
    "[\"127.0.0.1\"]",
    "[\"fe80::1\"]",
    "[\"::ffff:10.0.0.0/104\"]",
    "[\"0.0.0.0/0\"]",
    "[\"10.0.0.1/8 ge 4\"]",
    "[\"/bin/true\", 1]",
];

/// The value's end within a line that it begins.
fn value_end(rest: &str) -> Option<usize> {
    let mut quoted = false;
    let mut depth = 0;
    for (at, c) in rest.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '[' | '{' if !quoted => depth += 1,
            ']' | '}' if !quoted && depth > 0 => depth -= 1,
            ',' | '}' if !quoted && depth == 0 => return Some(rest[..at].trim_end().len()),
            _ => {}
        }
    }
    (!quoted && depth == 0).then_some(rest.trim_end().len())
}

/// The file with one remedy followed, if it says exactly what to do.
fn follow(text: &str, error: &ConfigError) -> Option<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let at = error.line?.checked_sub(1)?;
    let name = error.key.rsplit('.').next()?.split('[').next()?;
    let between = |start: &str| {
        let (_, rest) = error.remedy.split_once(start)?;
        Some(rest.split_once('`')?.0)
    };
    let remedy = error.remedy.as_str();
    // In which tunnel, which keys below, within which table?
    let thought = ["in one of them", "its keys below", "in [ospf]"];
    if thought.iter().any(|words| remedy.contains(words)) || lines.get(at)?.contains("= {}") {
        return None;
    }
    if let Some(known) = between("did you mean `") {
        lines[at] = lines[at].replacen(name, known.trim_matches(['[', ']']), 1);
    } else if let Some(added) = between("add `").filter(|_| remedy.starts_with("add `")) {
        lines.insert(at + 1, added.to_owned());
    } else if let Some(section) = between("add a line `") {
        let key = between("and below it `")?;
        lines.extend([section.to_owned(), key.to_owned()]);
    } else if remedy.starts_with("remove it") {
        let begins = lines[at].trim_start().starts_with(name);
        // Within an array or a table of one line it takes thought.
        if !begins || lines[at].contains('[') || error.key.ends_with(']') {
            return None;
        }
        lines.remove(at);
    } else {
        let write = ["write `", "write another, as `", "as `", "family: write `"];
        let assignment = write.iter().find_map(|start| between(start))?;
        if assignment.starts_with('[') {
            lines[at] = assignment.to_owned();
        } else {
            let (key, value) = assignment.split_once(" = ")?;
            if key != name || value.contains("FILE") || remedy.contains(" below ") {
                return None;
            }
            let begin = lines[at]
                .find(&format!("{key} = "))
                .map(|it| it + key.len() + 3);
            match begin {
                Some(begin) => {
                    let end = begin + value_end(&lines[at][begin..])?;
                    lines[at].replace_range(begin..end, value);
                }
                // The array's further lines.
                None if lines[at].trim_start().starts_with('"') => return None,
                None if error.key.ends_with(']') => return None,
                None => lines.insert(at + 1, assignment.to_owned()),
            }
        }
    }
    Some(lines.join("\n") + "\n")
}

/// Follows the remedies of a refused file, from its end, so that lines stay where they are; says what is refused
/// then. Nothing where one takes thought.
fn mended(text: &str) -> Option<Result<(), String>> {
    let folder = tempfile::tempdir().unwrap();
    let mut errors = parse(text, &Files::in_folder(folder.path())).err()?;
    let said = format!("{errors:#?}");
    errors.sort_by_key(|error| std::cmp::Reverse(error.line));
    let good = errors
        .iter()
        .try_fold(text.to_owned(), |text, error| follow(&text, error))?;
    let result = parse(&good, &Files::in_folder(folder.path()));
    let result = result.map(drop);
    Some(result.map_err(|errors| format!("{good}\nis refused after\n{said}\n{errors:#?}")))
}

#[test]
fn what_each_mistake_is_told_to_write_is_accepted() {
    let (mut followed, mut wrong) = (0, Vec::new());
    let all = mistakes();
    let count = all.len();
    for (old, new, ..) in all {
        let Some(result) = mended(&GOOD.replace(old, new)) else {
            continue;
        };
        followed += 1;
        wrong.extend(result.err());
    }
    assert!(
        wrong.is_empty(),
        "{} of {count}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    // The others take thought: another port, one of two sections.
    assert!(followed * 4 > count * 3, "{followed} of {count}");
}

/// [`WHOLE`] with another value for a key.
fn with(table: &Table, key: &str, value: &str) -> String {
    let header = match table.name {
        name if name == CHECK.name => "[services.check]".to_owned(),
        _ => table.header(),
    };
    let mut text = String::new();
    let mut inside = false;
    for line in WHOLE.lines() {
        if line.starts_with('[') {
            inside = line == header;
        }
        if !(inside && line.starts_with(&format!("{key} = "))) {
            text.push_str(line);
            text.push('\n');
        }
        if line == header {
            text.push_str(&format!("{key} = {value}\n"));
        }
    }
    // A check is of one kind.
    if table.name == CHECK.name && !["tcp", "exec", "unit"].contains(&key) && key != "http" {
        text.push_str("http = \"https://[2001:db8::80]/\"\n");
    } else if table.name != CHECK.name {
        text = text.replace("[services.check]\n", "");
    }
    text
}

#[test]
fn what_a_wrong_value_of_any_key_is_told_to_write_is_accepted() {
    let (mut followed, mut thought, mut wrong) = (0, Vec::new(), Vec::new());
    let tables = TABLES.iter().chain([&CHECK]);
    let keys = tables
        .filter(|table| WHOLE.contains(&table.header()) || table.name == CHECK.name)
        .flat_map(|table| table.keys.iter().map(move |key| (table, key.name)));
    for (table, key) in keys.filter(|(_, key)| !key.ends_with("_file")) {
        for value in WRONG {
            // Then OSPF runs over no tunnel, which is another mistake.
            if (table.name, key, *value) == ("tunnels", "ospf", "\"no\"") {
                continue;
            }
            let text = with(table, key, value);
            match mended(&text) {
                Some(Ok(())) => followed += 1,
                Some(Err(why)) => wrong.push(why),
                None if parse(&text, &Files::in_folder(Path::new("/"))).is_err() => {
                    thought.push(format!("{}.{key} = {value}", table.name));
                }
                None => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(
        followed > 10 * thought.len(),
        "{followed} were followed, and these were not: {thought:#?}"
    );
}
