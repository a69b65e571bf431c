//! The l2ha daemon as a library, so that its parts can be tested from outside.

pub mod cli;
pub mod daemon;
pub mod dataplane;
pub mod doctor;
mod service;
