//! Who has joined the cluster, where that is kept in etcd.
//!
//! What the records in etcd amount to is decided without I/O and clock (`record`, `roster`): a node that etcd no longer
//! knows is absent, and only a record that says so takes it away. Around that, one thread of its own watches etcd,
//! apart from routing and from the node's event loop, and `l2ha join`, `leave`, `forget` and `accept` write to it.

mod commands;
mod etcd;
mod identity;
mod list_file;
mod record;
mod roster;
mod watcher;

pub use self::{
    commands::{Done, Fits, JoinAs, accept, forget, join, leave},
    identity::Identity,
    list_file::stored,
    record::{Cause, Id},
    roster::{Members, Presence, Registration, Seen},
    watcher::{Connection, Membership, News},
};
