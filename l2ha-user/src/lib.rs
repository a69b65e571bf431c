//! The `l2ha` command as a library, so that its documentation can be held against it.

pub mod cli;
