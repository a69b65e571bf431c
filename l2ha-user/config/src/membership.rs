//! `[membership]`: nodes that join a cluster by themselves, beside those that its file names.

mod admit;
mod joined;
mod read;
mod schema;
#[cfg(test)]
mod tests;
mod types;

pub(crate) use self::{admit::Admitted, read::read};
pub use self::{
    joined::{Joined, JoinedList, LIST_FILE, SELF_FILE},
    schema::{GRANT, JOINER, MEMBERSHIP},
    types::{Grant, Membership, SetAside},
};
