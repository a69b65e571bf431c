//! What the pages for contributors say about the code's files is where they are.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::cmd::root;

const PAGES: [&str; 3] = [
    "docs/architecture.md",
    "docs/contributing.md",
    "docs/glossary.md",
];

/// The words between backticks, without those of fenced blocks.
fn words(page: &str) -> impl Iterator<Item = &str> {
    page.split("```")
        .step_by(2)
        .flat_map(|text| text.split('`').skip(1).step_by(2))
}

/// Whether a word is to name a file or folder of the repository: not one of the build's, and not a pattern
/// (`corpus/TARGET.tar.gz`).
fn is_path(word: &str) -> bool {
    let plain = |char: char| char.is_ascii_alphanumeric() || "/._-".contains(char);
    let capitals = |part: &str| {
        part.split('.')
            .any(|it| it.len() > 1 && it.chars().all(|char| char.is_ascii_uppercase()))
    };
    (word.contains('/') || word.ends_with(".rs"))
        && word.chars().all(plain)
        && !word.starts_with(['/', '-'])
        && !word.starts_with("target/")
        && !word.split('/').any(capitals)
}

/// Where it is: below the root, below `l2ha-user`, or beside (or in) what was named last.
fn find(word: &str, last: &Path) -> Option<PathBuf> {
    let root = root();
    let folders = [root, &root.join("l2ha-user"), last];
    let mut all = folders.iter().map(|folder| folder.join(word));
    all.find(|path| path.exists())
}

#[test]
fn the_paths_in_the_pages_exist() {
    let mut missing = Vec::new();
    let mut count = 0;
    for page in PAGES {
        let text = fs::read_to_string(root().join(page)).expect("the page is there");
        let mut last = root().to_owned();
        for word in words(&text).filter(|word| is_path(word)) {
            count += 1;
            match find(word, &last) {
                Some(path) if path.is_dir() => last = path,
                Some(path) => last = path.parent().expect("a file lies in a folder").to_owned(),
                None => missing.push(format!("{page}: nothing is at `{word}`")),
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    assert!(count > 100, "only {count} paths were found");
}
