//! Gathers the mistakes of a file.

use std::{cell::RefCell, collections::BTreeMap, fmt::Display};

use crate::error::ConfigError;

/// Where something stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Line, from 1.
    pub(crate) line: usize,
    /// Path of the key.
    pub(crate) key: String,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Found<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
}

impl<T> Found<T> {
    /// Another value at the same place.
    pub(crate) fn with<U>(&self, value: U) -> Found<U> {
        Found {
            value,
            place: self.place.clone(),
        }
    }
}

/// The mistakes so far. Shared by everything that reads the file, so it changes inside.
#[derive(Debug)]
pub(crate) struct Report {
    /// Offset of the first byte of every line.
    lines: Vec<usize>,
    errors: RefCell<Vec<ConfigError>>,
}

impl Report {
    /// A report about this text, without mistakes.
    pub(crate) fn new(text: &str) -> Self {
        let starts = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self {
            lines: std::iter::once(0)
                .chain(starts.map(|(at, _)| at + 1))
                .collect(),
            errors: RefCell::default(),
        }
    }

    /// A report about a text that stands for one line of a file.
    pub(crate) fn on_line(line: usize) -> Self {
        Self {
            // Every byte is behind so many beginnings.
            lines: vec![0; line],
            errors: RefCell::default(),
        }
    }

    /// The line that has the byte at this offset.
    pub(crate) fn line(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset).max(1)
    }

    /// Adds a mistake.
    pub(crate) fn error(&self, place: &Place, what: impl Into<String>, remedy: impl Into<String>) {
        self.errors.borrow_mut().push(ConfigError {
            line: Some(place.line),
            key: place.key.clone(),
            what: what.into(),
            remedy: remedy.into(),
        });
    }

    /// How many mistakes there are.
    pub(crate) fn count(&self) -> usize {
        self.errors.borrow().len()
    }

    /// The mistakes so far.
    pub(crate) fn errors(&self) -> Vec<ConfigError> {
        self.errors.borrow().clone()
    }

    /// The mistakes.
    pub(crate) fn into_errors(self) -> Vec<ConfigError> {
        self.errors.into_inner()
    }
}

/// Values that may occur once, and where each does.
#[derive(Debug)]
pub(crate) struct Unique<K>(BTreeMap<K, Place>);

impl<K> Default for Unique<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Display> Unique<K> {
    /// Takes a value; a second one of its kind is a mistake, with this remedy. Tells whether it was free.
    pub(crate) fn take(
        &mut self,
        report: &Report,
        found: Found<K>,
        remedy: impl FnOnce(&Self) -> String,
    ) -> bool {
        if let Some(first) = self.0.get(&found.value) {
            let what = format!(
                "`{}` is already used on line {} ({})",
                found.value, first.line, first.key
            );
            report.error(&found.place, what, remedy(self));
            return false;
        }
        self.0.insert(found.value, found.place);
        true
    }

    /// Takes a value that cannot be a mistake.
    pub(crate) fn put(&mut self, found: Found<K>) {
        self.0.entry(found.value).or_insert(found.place);
    }

    /// Whether the value occurs.
    pub(crate) fn has(&self, value: &K) -> bool {
        self.0.contains_key(value)
    }
}
