//! A node's file, with the lines on which its keys stand.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use toml::de::{DeTable, DeValue};

use super::misfit::Spot;
use crate::{
    cluster::CLUSTER,
    cookie_file::Files,
    error::{ConfigError, ConfigErrors},
    file,
    parse::parse,
    report::Report,
    types::Config,
};

/// A node's file, for a comparison with others.
#[derive(Debug)]
pub struct NodeFile {
    path: PathBuf,
    config: Config,
    /// The line of each key and section.
    lines: BTreeMap<String, usize>,
    /// The keys that name a secret's file that is not here.
    unread: Vec<String>,
}

impl NodeFile {
    /// Reads and checks a file. It may have been copied from its node: the files of cookies and keys that it names
    /// are looked for beside it (`/etc/l2ha/a/key` as `a/key`, then as `key`), and need not be there. Only the file
    /// of `this_host` means this host's own files by absolute paths.
    ///
    /// # Errors
    ///
    /// With every mistake that was found.
    pub fn load(path: &Path, this_host: bool) -> Result<Self, ConfigErrors> {
        let failed = |errors| ConfigErrors::new(path, errors);
        let text = file::read(path).map_err(|error| failed(vec![error]))?;
        let lines = lines(&text);
        if let Some(line) = lines.get(CLUSTER.name) {
            return Err(failed(vec![is_cluster(*line)]));
        }
        let files = Files::copied(&file::folder(path), this_host);
        let config = parse(&text, &files).map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            config,
            lines,
            unread: files.unread().into_iter().map(|place| place.key).collect(),
        })
    }

    /// The file, as it was named.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says. A secret that is not here is empty in it.
    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// The node's name.
    pub(super) fn name(&self) -> &str {
        &self.config.node.name
    }

    /// Whether a key stands in the file.
    pub(super) fn has(&self, key: &str) -> bool {
        self.lines.contains_key(key)
    }

    /// Whether the secret that this key names could be read.
    pub(super) fn is_read(&self, key: &str) -> bool {
        self.has(key) && !self.unread.iter().any(|unread| unread == key)
    }

    /// The first of these keys that stands in the file, else the section of the first.
    pub(super) fn spot(&self, keys: &[impl AsRef<str>]) -> Spot {
        let mut keys = keys.iter().map(AsRef::as_ref);
        let first = keys.clone().next().unwrap_or_default();
        let key = keys.find(|key| self.has(key)).unwrap_or(first);
        let mut section = key;
        let line = loop {
            match (self.lines.get(section), section.rsplit_once('.')) {
                (Some(line), _) => break *line,
                (None, Some((above, _))) => section = above,
                (None, None) => break 1,
            }
        };
        Spot {
            file: self.path.clone(),
            line,
            key: key.to_owned(),
        }
    }

    /// What is said where secrets are not here.
    pub(super) fn unread_note(&self) -> Option<String> {
        let first = self.unread.first()?;
        Some(format!(
            "{}: {} of the files of secrets that it names are not here (the first is that of {first}), and were not \
             compared; copy them from {} into {} to have it done",
            self.path.display(),
            self.unread.len(),
            self.name(),
            match self.path.parent() {
                Some(folder) if folder != Path::new("") => folder.display().to_string(),
                _ => "this folder".to_owned(),
            }
        ))
    }
}

/// A file that has nothing to be at odds with.
fn is_cluster(line: usize) -> ConfigError {
    ConfigError {
        line: Some(line),
        key: CLUSTER.name.to_owned(),
        what: "a cluster's file is the same on every node, and is compared as a whole by `l2ha check` alone".to_owned(),
        remedy: "copy it to the others; to compare one of its nodes with a file written by hand, name what \
                 `l2ha check --expand --all --output FOLDER` writes"
            .to_owned(),
    }
}

/// The line of each key and section of a file that was read.
fn lines(text: &str) -> BTreeMap<String, usize> {
    let report = Report::new(text);
    let (root, _) = DeTable::parse_recoverable(text);
    let mut lines = BTreeMap::new();
    // From one table to those within it.
    let mut tables = vec![(String::new(), root.get_ref())];
    while let Some((prefix, table)) = tables.pop() {
        for (key, value) in table.iter() {
            let path = format!("{prefix}{}", key.get_ref());
            let line = match value.get_ref() {
                DeValue::Table(inner) => {
                    tables.push((format!("{path}."), inner));
                    value.span().start
                }
                DeValue::Array(elements) => {
                    for (index, element) in elements.iter().enumerate() {
                        let path = format!("{path}[{index}]");
                        if let DeValue::Table(inner) = element.get_ref() {
                            tables.push((format!("{path}."), inner));
                        }
                        lines.insert(path, report.line(element.span().start));
                    }
                    key.span().start
                }
                _ => key.span().start,
            };
            lines.insert(path, report.line(line));
        }
    }
    lines
}
