//! The nodes that joined a cluster by themselves, as lines beside those of its file.

use std::collections::BTreeMap;

use toml::{Spanned, de::DeTable};

use crate::{
    error::ConfigError,
    report::{Place, Report},
    schema::{Table, optional},
    section::Section,
};

/// Their lines, by role.
pub(crate) const JOINED: Table = Table {
    name: "joined",
    several: false,
    keys: &[
        optional("servers", "{}", "none"),
        optional("clients", "{}", "none"),
        optional("gateways", "{}", "none"),
    ],
};

/// A node that joined.
#[derive(Debug)]
pub(crate) struct Joiner {
    /// Which one of them it was, from 0.
    pub(crate) place: usize,
    /// The services that it has.
    pub(crate) services: Vec<String>,
}

/// Their lines as text; of a file without `[membership]` there are none.
#[derive(Debug, Default)]
pub(crate) struct JoinersText {
    /// Sections `[servers]` and so on.
    pub(crate) text: String,
    /// The line of the file that they stand for, from 1.
    pub(crate) line: usize,
    /// What each joined with.
    pub(crate) joiners: BTreeMap<String, Joiner>,
    /// The name under which this host has joined.
    pub(crate) own: Option<String>,
    /// Those who did not come in, and why.
    pub(crate) refused: BTreeMap<String, String>,
    /// Whether nodes can join at all.
    pub(crate) open: bool,
}

/// Their lines, read.
pub(crate) struct Joiners<'a> {
    root: Spanned<DeTable<'a>>,
    report: Report,
    of: &'a JoinersText,
}

impl JoinersText {
    /// Reads the lines.
    pub(crate) fn parse(&self) -> Joiners<'_> {
        // What was written from values can be read again.
        let (root, _) = DeTable::parse_recoverable(&self.text);
        Joiners {
            root,
            report: Report::on_line(self.line),
            of: self,
        }
    }
}

impl<'a> Joiners<'a> {
    /// As a table whose keys are the roles'.
    pub(crate) fn section(&'a self) -> Section<'a> {
        let place = Place {
            line: self.of.line,
            key: JOINED.name.to_owned(),
        };
        Section::new(&self.report, &JOINED, place, self.root.get_ref())
    }

    /// What a node joined with; nothing of a node of the file.
    pub(crate) fn get(&self, name: &str) -> Option<&'a Joiner> {
        self.of.joiners.get(name)
    }

    /// The name under which this host has joined.
    pub(crate) fn own(&self) -> Option<&'a str> {
        self.of.own.as_deref()
    }

    /// Whether nodes can join, so that what is not there yet may come.
    pub(crate) fn is_open(&self) -> bool {
        self.of.open
    }

    /// Why a node did not come in.
    pub(crate) fn refusal(&self, name: &str) -> Option<&'a str> {
        self.of.refused.get(name).map(String::as_str)
    }

    /// What is wrong with their lines.
    pub(crate) fn errors(&self) -> Vec<ConfigError> {
        self.report.errors()
    }
}
