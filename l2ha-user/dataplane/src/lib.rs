//! The data plane: loads the kernel programs, attaches them, fills their maps, reads their
//! counters.
//!
//! The programs are in the crate `l2ha-ebpf`; its object is embedded here. What is attached
//! outlives this process: the underlay's XDP program hangs on a link pinned below the pin folder,
//! tc filters hang on their interfaces, and the maps are pinned in a folder named after their
//! layout. The next start takes over the maps of its own layout with all that is in them, makes the
//! others again, is told the sessions, only then replaces the programs, each in one step of the
//! kernel's, and last removes what is left of an earlier configuration or layout.

mod bpffs;
mod counters;
mod detours;
mod filter;
mod forwarder;
mod fragments;
pub mod nodes;
mod object;
mod pins;
mod plane;
pub mod probe;
mod raw;
mod reassembled;
mod rows;
mod sessions;
pub mod trial;
mod types;
mod underlay;
pub mod watch;

pub use l2ha_ebpf::{
    plan::{AttachMode, Cookie, Encapsulation, Sublayer},
    reason::Reason,
};

pub use self::{
    counters::{Counters, Traffic},
    detours::{Detours, Instead, Protected},
    fragments::Way,
    object::LoadOptions,
    plane::DataPlane,
    reassembled::Reassembled,
    types::{Attached, Endpoint, EndpointKind, Hook, Session},
};
