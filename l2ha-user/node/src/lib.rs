//! The daemon: compares what the configuration says with what the kernel has, applies the
//! difference, and serves the control socket.

mod answers;
mod attachment;
mod claim;
mod clean;
mod detours;
mod event_loop;
mod explain;
mod fragments;
mod gates;
mod gateways;
mod identity;
mod joiners;
mod journal;
mod marks;
mod merging;
mod name_lock;
mod node;
mod packet_stream;
mod pair;
mod path_mtu;
mod port_holder;
mod ports;
mod possessions;
mod predecessor;
mod problems;
mod removal;
mod repair;
mod rotation;
mod router;
mod run_dir;
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
mod who;

pub use linux::{drop_all_capabilities, guard_process};

pub use self::{
    clean::{Cleaned, clean},
    event_loop::{LostLines, run},
    joiners::members,
    who::who,
};
