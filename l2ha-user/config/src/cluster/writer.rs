//! A file that is written from another one, and remembers from where.

use std::collections::BTreeMap;

use toml::{Spanned, de::DeValue};
use zeroize::Zeroizing;

use crate::{
    error::ConfigError,
    report::{Place, Report},
};

use super::source::{inline, quoted};

/// The file of one node.
pub(crate) struct Expansion {
    /// As a file without `[cluster]`.
    pub(crate) text: String,
    /// The key files that it names, by their names.
    pub(crate) files: BTreeMap<String, Zeroizing<String>>,
    /// Where each line comes from.
    origins: Vec<Place>,
}

impl Expansion {
    /// A mistake in the text, where it was made.
    pub(crate) fn origin(&self, error: ConfigError) -> ConfigError {
        let origin = |line: usize| self.origins.get(line.saturating_sub(1));
        let Some(place) = error.line.and_then(origin) else {
            return error;
        };
        let lines = |text: &str| {
            let mut parts = text.split("line ");
            let mut out = parts.next().unwrap_or_default().to_owned();
            for part in parts {
                let digits =
                    part.len() - part.trim_start_matches(|c: char| c.is_ascii_digit()).len();
                let (number, rest) = part.split_at(digits);
                let line = number.parse().ok().and_then(origin);
                let line = line.map_or_else(|| number.to_owned(), |place| place.line.to_string());
                out.push_str(&format!("line {line}{rest}"));
            }
            out
        };
        ConfigError {
            line: Some(place.line),
            key: match place.key.is_empty() {
                true => error.key,
                false => place.key.clone(),
            },
            what: lines(&error.what),
            remedy: lines(&error.remedy),
        }
    }
}

/// The file as it is written.
pub(crate) struct Writer<'a> {
    pub(crate) report: &'a Report,
    pub(crate) out: Expansion,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(report: &'a Report) -> Self {
        Self {
            report,
            out: Expansion {
                text: String::new(),
                files: BTreeMap::new(),
                origins: Vec::new(),
            },
        }
    }

    /// A line that follows from this place.
    pub(crate) fn line(&mut self, place: &Place, line: &str) {
        for one in line.split('\n') {
            self.out.text.push_str(one);
            self.out.text.push('\n');
            self.out.origins.push(place.clone());
        }
    }

    /// The keys of a table of the file, but for some, each from its own line.
    pub(crate) fn entries(
        &mut self,
        entries: &[(&str, &Spanned<DeValue<'_>>)],
        table: &str,
        without: &[&str],
    ) {
        for (key, value) in entries {
            if !without.contains(key) {
                let place = Place {
                    line: self.report.line(value.span().start),
                    key: format!("{table}.{key}"),
                };
                self.line(
                    &place,
                    &format!("{} = {}", quoted(key), inline(value.get_ref())),
                );
            }
        }
    }

    /// A file that holds a secret, and the key that names it.
    pub(crate) fn file(&mut self, place: &Place, key: &str, name: String, text: Zeroizing<String>) {
        self.line(place, &format!("{key} = \"{name}\""));
        self.out.files.insert(name, text);
    }
}
