//! What the documentation says about the command is what it does.

use std::{collections::BTreeSet, fs, path::Path};

/// A file of the repository.
fn read(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let path = root.join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
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
                if option.is_positional() {
                    return option.get_value_names().expect("it has one")[0].to_string();
                }
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
