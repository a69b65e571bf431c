//! Health: checks that decide whether a service is advertised.
//!
//! What attempts amount to is decided without I/O and clock (`judge`, `state`). Around that, one thread
//! of its own makes the attempts, apart from routing and from the node's event loop: whatever hangs there
//! delays neither. Each attempt is bounded in time and in what it reads, and what `exec` has started ends
//! with it.

mod attempt;
mod exec;
mod http;
mod judge;
mod listener;
mod runner;
mod state;
mod unit;

pub use self::{
    runner::{Health, Told, Watched},
    state::{Failure, ServiceState, States, Verdict},
};
