//! `[cluster]`: the nodes, and what they share. The same file on every node.

mod derive;
mod every;
mod expand;
mod joiners;
mod keys;
mod read;
mod schema;
mod services;
mod source;
#[cfg(test)]
mod tests;
mod tunnel;
mod types;
mod writer;

pub(crate) use self::{
    every::compare,
    expand::{expand, node_text},
    joiners::{JOINED, Joiner, Joiners, JoinersText},
    keys::Keys,
    read::read,
    types::{Cluster, Member},
    writer::Expansion,
};
pub use self::{
    schema::{CLUSTER, MEMBER, PAIR},
    types::{Role, Who},
};
