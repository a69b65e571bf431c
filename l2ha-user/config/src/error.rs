//! What is wrong with a configuration file, where, and what to write instead.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::Serialize;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfigError {
    /// Line of the file, from 1; absent when the file could not be read at all.
    pub line: Option<usize>,
    /// Path of the key, as `tunnels[0].remote`; empty when the file as a whole is meant.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub remedy: String,
}

/// Every mistake of a file, in the order of its lines; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    file: PathBuf,
    errors: Vec<ConfigError>,
}

impl ConfigErrors {
    pub(crate) fn new(file: &Path, mut errors: Vec<ConfigError>) -> Self {
        errors.sort_by(|a, b| (a.line, &a.key).cmp(&(b.line, &b.key)));
        Self {
            file: file.to_owned(),
            errors,
        }
    }

    /// The file, as it was named.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The mistakes, in the order of lines.
    pub fn errors(&self) -> &[ConfigError] {
        &self.errors
    }
}

/// One line per mistake: `FILE:LINE: key: what; remedy`.
impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{}:", self.file.display())?;
            if let Some(line) = error.line {
                write!(f, "{line}:")?;
            }
            if !error.key.is_empty() {
                write!(f, " {}:", error.key)?;
            }
            write!(f, " {}; {}", error.what, error.remedy)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
