//! The daemon: owns the node, listens to the kernel, to signals and to the control socket.

mod answers;
mod attachment;
mod detours;
mod event_loop;
mod gateways;
mod identity;
mod journal;
mod node;
mod packet_stream;
mod ports;
mod repair;
mod server;
mod snapshot;
mod state;
mod tunnel;
mod tunnel_status;

pub use self::event_loop::run;
