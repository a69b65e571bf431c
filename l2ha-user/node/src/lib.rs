//! The daemon: compares what the configuration says with what the kernel has, applies the
//! difference, and serves the control socket.

mod answers;
mod attachment;
mod claim;
mod clean;
mod detours;
mod event_loop;
mod explain;
mod gates;
mod gateways;
mod identity;
mod journal;
mod merging;
mod node;
mod packet_stream;
mod pair;
mod port_holder;
mod ports;
mod predecessor;
mod problems;
mod removal;
mod repair;
mod router;
mod server;
mod services;
mod session;
mod snapshot;
mod startup;
mod tools;
mod tunnel;
mod tunnel_status;
mod tunnels;
mod underlay;
mod ways;

pub use self::{
    clean::{Cleaned, clean},
    event_loop::{LostLines, run},
};
