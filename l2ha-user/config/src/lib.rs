//! The configuration: one TOML file in, a validated [`Config`] out.
//!
//! A file is read as a whole: every mistake in it is reported at once, each with its line and a
//! corrected value. Whatever a [`Config`] says has been checked, so the daemon need not ask again.

mod accept;
mod address;
mod against;
mod bfd;
mod bfd_key;
mod changes;
mod check;
mod cluster;
mod cookie_file;
mod duration;
mod edge;
mod error;
mod expanded;
mod file;
mod load;
mod membership;
mod names;
mod notes;
mod ospf;
mod ospf_area;
mod ospf_key;
mod parse;
mod redistribute;
mod report;
mod rotation;
mod schema;
mod section;
mod service;
mod sizing;
mod syntax;
#[cfg(test)]
mod tests;
mod tunnel;
mod tunnel_keys;
mod tunnel_ospf;
mod types;
mod underlay;
mod words;

pub use l2ha_ebpf::plan::{AttachMode, Cookie, Encapsulation, Sublayer};

pub use self::{
    against::{Comparison, Misfit, NodeFile, Spot, compare},
    changes::Change,
    cluster::{CLUSTER, MEMBER, PAIR, Role, Who},
    cookie_file::secret_file,
    error::{ConfigError, ConfigErrors},
    expanded::{Expanded, Which, node_key},
    membership::{
        GRANT, Grant, JOINER, Joined, JoinedList, LIST_FILE, MEMBERSHIP, Membership, SELF_FILE,
        SetAside,
    },
    names::hidden,
    rotation::Rotating,
    schema::{Absent, CHECK, Key, TABLES, Table},
    sizing::Sizing,
    types::{
        BfdKey, Check, CheckKind, Config, DEFAULT_BPFFS, DEFAULT_FILE, DEFAULT_PORT,
        DEFAULT_RUN_DIR, HttpCheck, Node, Ospf, OspfArea, OspfKey, OspfNetwork, Redistribute,
        Service, Tunnel, TunnelOspf, Underlay, WhenFailed,
    },
};
