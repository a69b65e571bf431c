//! The l2ha daemon as a library, so that its parts can be tested from outside.

pub mod cli;
pub mod daemon;
mod service;
