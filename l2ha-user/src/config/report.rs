//! Gathers the mistakes of a file.

use std::{cell::RefCell, collections::BTreeMap, fmt::Display};

use super::error::ConfigError;

/// Where something stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Line, from 1.
    pub(super) line: usize,
    /// Path of the key.
    pub(super) key: String,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Found<T> {
    /// The value.
    pub(super) value: T,
    /// Its place.
    pub(super) place: Place,
}

impl<T> Found<T> {
    /// Another value at the same place.
    pub(super) fn with<U>(&self, value: U) -> Found<U> {
        Found {
            value,
            place: self.place.clone(),
        }
    }
}

/// The mistakes so far. Shared by everything that reads the file, so it changes inside.
#[derive(Debug)]
pub(super) struct Report {
    /// Offset of the first byte of every line.
    lines: Vec<usize>,
    errors: RefCell<Vec<ConfigError>>,
}

impl Report {
    /// A report about this text, without mistakes.
    pub(super) fn new(text: &str) -> Self {
        let starts = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self {
            lines: std::iter::once(0)
                .chain(starts.map(|(at, _)| at + 1))
                .collect(),
            errors: RefCell::default(),
        }
    }

    /// The line that has the byte at this offset.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset).max(1)
    }

    /// Adds a mistake.
    pub(super) fn error(&self, place: &Place, what: impl Into<String>, remedy: impl Into<String>) {
        self.errors.borrow_mut().push(ConfigError {
            line: Some(place.line),
            key: place.key.clone(),
            what: what.into(),
            remedy: remedy.into(),
        });
    }

    /// How many mistakes there are.
    pub(super) fn count(&self) -> usize {
        self.errors.borrow().len()
    }

    /// The mistakes.
    pub(super) fn into_errors(self) -> Vec<ConfigError> {
        self.errors.into_inner()
    }
}

/// Values that may occur once, and where each does.
#[derive(Debug)]
pub(super) struct Unique<K>(BTreeMap<K, Place>);

impl<K> Default for Unique<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Display> Unique<K> {
    /// Takes a value; a second one of its kind is a mistake, with this remedy.
    pub(super) fn take(
        &mut self,
        report: &Report,
        found: Found<K>,
        remedy: impl FnOnce(&Self) -> String,
    ) {
        if let Some(first) = self.0.get(&found.value) {
            let what = format!(
                "`{}` is already used on line {} ({})",
                found.value, first.line, first.key
            );
            report.error(&found.place, what, remedy(self));
            return;
        }
        self.0.insert(found.value, found.place);
    }

    /// Takes a value that cannot be a mistake.
    pub(super) fn put(&mut self, found: Found<K>) {
        self.0.entry(found.value).or_insert(found.place);
    }

    /// Whether the value occurs.
    pub(super) fn has(&self, value: &K) -> bool {
        self.0.contains_key(value)
    }
}
