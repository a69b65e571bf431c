//! What does not fit between the files of several nodes: each may be right for itself, and still nothing passes
//! between two of them. Peers are found by the addresses of their underlays.

mod files;
mod keys;
mod misfit;
mod nodes;
mod ospf;
mod pairs;
mod tunnels;

use serde::Serialize;

pub use self::{
    files::NodeFile,
    misfit::{Misfit, Spot},
};

/// What a comparison has found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// What does not fit, in the order of files and lines.
    pub misfits: Vec<Misfit>,
    /// How many tunnels have both their ends in these files.
    pub tunnels: usize,
    /// What could not be compared, a sentence each.
    pub notes: Vec<String>,
}

/// Compares the files of several nodes, each with each.
#[must_use]
pub fn compare(files: &[NodeFile]) -> Comparison {
    let mut found = misfit::Misfits::default();
    for (index, one) in files.iter().enumerate() {
        for other in &files[index + 1..] {
            nodes::compare(&mut found, one, other);
        }
    }
    let paired = pairs::pair(&mut found, files);
    for (one, other) in &paired.pairs {
        tunnels::compare(&mut found, one, other);
        ospf::compare(&mut found, one, other);
    }
    let unread = files.iter().filter_map(NodeFile::unread_note);
    let notes = paired.notes.into_iter().chain(unread);
    Comparison {
        misfits: found.in_order(files),
        tunnels: paired.pairs.len(),
        notes: notes.collect(),
    }
}
