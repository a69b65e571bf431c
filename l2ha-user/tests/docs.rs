//! What the documentation says about the configuration and the command is what they do.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use config::{Absent, Config, ConfigErrors, TABLES};
use tempfile::TempDir;

/// A file of the repository.
fn read(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let path = root.join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Loads a text whose cookie files are in `/etc/l2ha`, with others in their place.
fn load(text: &str) -> Result<Config, ConfigErrors> {
    let folder: TempDir = tempfile::tempdir().unwrap();
    let mut text = text.to_owned();
    let names: BTreeSet<String> = text
        .split('"')
        .filter_map(|word| word.strip_prefix("/etc/l2ha/"))
        .filter(|name| !name.contains(char::is_whitespace) && !name.ends_with(".toml"))
        .map(str::to_owned)
        .collect();
    for (index, name) in names.iter().enumerate() {
        let path: PathBuf = folder.path().join(name);
        fs::write(&path, format!("{index:016x}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        text = text.replace(&format!("\"/etc/l2ha/{name}\""), &format!("{path:?}"));
    }
    let path = folder.path().join("l2ha.toml");
    fs::write(&path, text).unwrap();
    Config::load(&path)
}

/// The fenced blocks of a page in one language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let open = format!("```{language}\n");
    let parts = page.split(&open).skip(1);
    parts
        .map(|part| part.split("```").next().unwrap_or_default().to_owned())
        .collect()
}

/// The part of a page below a heading, up to the next of its level.
fn part<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, below) = page
        .split_once(&format!("\n## {heading}\n"))
        .unwrap_or_else(|| panic!("there is no heading `## {heading}`"));
    below.split("\n## ").next().unwrap_or_default()
}

/// The cells of a table's rows: first cell, and all of the row.
fn rows(part: &str) -> Vec<(String, Vec<String>)> {
    part.lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells = line.trim_matches('|').split(" | ").map(str::trim);
            let cells: Vec<String> = cells.map(str::to_owned).collect();
            (cells[0].trim_matches('`').to_owned(), cells)
        })
        .collect()
}

/// A key with its default says the same as no key.
#[test]
fn the_defaults_are_what_the_page_says() {
    let mut least = String::new();
    let mut written = String::new();
    for table in TABLES {
        for text in [&mut least, &mut written] {
            text.push_str(&format!("{}\n", table.header()));
        }
        for key in table.keys {
            match key.absent {
                Absent::Refused => {
                    least.push_str(&format!("{} = {}\n", key.name, key.example));
                    written.push_str(&format!("{} = {}\n", key.name, key.example));
                }
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
    let least = load(&least).unwrap_or_else(|errors| panic!("{errors}"));
    let written = load(&written).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(least, written);
}

/// The page's examples are parts; together with what they lack they are good.
#[test]
fn the_pages_examples_are_good() {
    let page = read("docs/configuration.md");
    let blocks = blocks(&page, "toml");
    assert_eq!(
        blocks.len(),
        9,
        "an example for every section, and the peer's tunnel"
    );
    let ours: Vec<String> = blocks
        .iter()
        .filter(|block| !block.contains("name = \"server-1\"\nremote"))
        .cloned()
        .collect();
    assert_eq!(ours.len(), 8);
    load(&ours.concat()).unwrap_or_else(|errors| panic!("{errors}"));
    let peer = blocks
        .iter()
        .filter(|block| !block.contains("name = \"client\"\nremote"))
        .map(|block| block.replace("10.77.0.1\"]", "10.77.0.9\"]"));
    let peer: Vec<String> = peer.collect();
    load(&peer.concat()).unwrap_or_else(|errors| panic!("{errors}"));
}

/// All commands that do something, with the words that call them.
fn commands(command: &clap::Command, words: &str) -> Vec<(String, clap::Command)> {
    let below: Vec<_> = command
        .get_subcommands()
        .filter(|command| command.get_name() != "help")
        .flat_map(|command| commands(command, &format!("{words} {}", command.get_name())))
        .collect();
    if below.is_empty() {
        return vec![(words.to_owned(), command.clone())];
    }
    below
}

#[test]
fn the_command_page_has_every_command_and_option_and_no_other() {
    let page = read("docs/cli.md");
    let mut command = l2ha::cli::command();
    command.build();
    let commands = commands(&command, "l2ha");
    let headings: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("## `")?.strip_suffix('`'))
        .map(str::to_owned)
        .collect();
    let known: BTreeSet<String> = commands.iter().map(|(words, _)| words.clone()).collect();
    assert_eq!(headings, known);
    for (words, command) in commands {
        let rows = rows(part(&page, &format!("`{words}`")));
        let documented: BTreeSet<String> = rows.into_iter().map(|(option, _)| option).collect();
        let options: BTreeSet<String> = command
            .get_arguments()
            .filter(|option| !matches!(option.get_id().as_str(), "help" | "version"))
            .map(|option| {
                let name = format!("--{}", option.get_long().expect("options have long names"));
                if !option.get_action().takes_values() {
                    return name;
                }
                let value = option.get_value_names().expect("clap names values");
                format!("{name} {}", value[0])
            })
            .collect();
        assert_eq!(documented, options, "{words}");
    }
}

#[test]
fn every_command_shows_examples() {
    let mut command = l2ha::cli::command();
    command.build();
    for (words, mut command) in commands(&command, "l2ha") {
        let help = command.render_long_help().to_string();
        assert!(
            help.contains(&format!("Examples:\n  {words}")),
            "{words}: {help}"
        );
    }
}
