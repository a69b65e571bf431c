//! Two lines that do not fit.

use std::{fmt, path::PathBuf};

use serde::Serialize;

use super::files::NodeFile;

/// Two places, in the files of two nodes, that do not fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Misfit {
    /// What kind it is of, as `session-id`; it stays the same from version to version.
    pub id: &'static str,
    /// The places.
    pub places: [Spot; 2],
    /// What does not fit. No secret is in it.
    pub what: String,
    /// What to write, and in which file.
    pub remedy: String,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Spot {
    /// The file, as it was named.
    pub file: PathBuf,
    /// Line, from 1: that of the key, or of its section where the key is not written.
    pub line: usize,
    /// Path of the key, as `tunnels[0].remote`.
    pub key: String,
}

/// `FILE:LINE`.
impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// One line: `FILE:LINE and FILE:LINE: what; remedy`.
impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [one, other] = &self.places;
        let Self { what, remedy, .. } = self;
        write!(f, "{one} and {other}: {what}; {remedy}")
    }
}

/// What one of two files says.
pub(super) struct Says<'a> {
    /// Which file.
    pub(super) file: &'a NodeFile,
    /// Where that may be written, the most particular place first.
    pub(super) places: Vec<String>,
    /// The key's own name.
    pub(super) key: &'a str,
    /// Its value, as TOML.
    pub(super) value: String,
}

impl Says<'_> {
    fn spot(&self) -> Spot {
        self.file.spot(&self.places)
    }

    fn line(&self) -> String {
        format!("`{} = {}`", self.key, self.value)
    }
}

/// What does not fit, so far.
#[derive(Default)]
pub(super) struct Misfits(Vec<Misfit>);

impl Misfits {
    pub(super) fn add(
        &mut self,
        id: &'static str,
        places: [Spot; 2],
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let misfit = Misfit {
            id,
            places,
            what: what.into(),
            remedy: remedy.into(),
        };
        // Two tunnels between the same nodes would say what is the nodes' twice.
        if !self.0.contains(&misfit) {
            self.0.push(misfit);
        }
    }

    /// Both must say the same; `subject` is what it is about.
    pub(super) fn same(&mut self, id: &'static str, subject: &str, one: Says<'_>, other: Says<'_>) {
        if one.value == other.value {
            return;
        }
        let what = format!(
            "{subject}: {} at {}, but {} at {}",
            one.line(),
            one.file.name(),
            other.line(),
            other.file.name(),
        );
        let right_other = format!("`{} = {}`", other.key, one.value);
        let right_one = format!("`{} = {}`", one.key, other.value);
        let remedy = format!(
            "write {right_other} in {}, or {right_one} in {}",
            other.file.path().display(),
            one.file.path().display(),
        );
        self.add(id, [one.spot(), other.spot()], what, remedy);
    }

    /// In the order of files and lines.
    pub(super) fn in_order(mut self, files: &[NodeFile]) -> Vec<Misfit> {
        let index = |spot: &Spot| files.iter().position(|file| file.path() == spot.file);
        self.0.sort_by_key(|misfit| {
            let [one, other] = &misfit.places;
            (index(one), one.line, index(other), other.line)
        });
        self.0
    }
}
