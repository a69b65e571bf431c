//! The I/O around the OSPFv3 crate: a thread of its own with sockets, timers and kernel routes; and
//! the I/O around the BFD crate, in another one.

mod admission;
mod bfd;
mod detection;
mod detours;
mod event_loop;
mod fib;
mod flaps;
mod graceful;
mod handle;
mod instances;
mod kernel;
mod log;
mod not_installed;
mod protection;
mod rate_limit;
mod redistribute;
mod refusals;
mod restart_state;
mod socket;
#[cfg(test)]
mod tests;
mod twins;
mod types;
mod views;
mod wire;

pub use self::{
    bfd::Bfd,
    detours::{Detour, DetourTable},
    fib::remove_routes,
    handle::Routing,
    types::{Desired, HostPrefix, Interface, RotationState, Rotations, STOP_GRACE, View},
};
