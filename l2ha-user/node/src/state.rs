//! Everything the daemon holds.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    net::{IpAddr, Ipv6Addr},
    path::PathBuf,
    time::Instant,
};

use config::Config;
use dataplane::{Attached, DataPlane, Session};
use doctor::Finding;
use linux::Netlink;
use routing::Routing;

use crate::{
    gateways::Reach,
    journal::{Made, MadeAddress},
    ports::Holder,
    repair::Repairs,
};

/// The underlay interface as it was last seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Underlay {
    /// Interface index.
    pub(crate) index: u32,
    /// MTU in bytes.
    pub(crate) mtu: u32,
}

/// Everything the daemon holds.
pub(crate) struct Node {
    pub(crate) config_path: PathBuf,
    pub(crate) config: Config,
    pub(crate) started: Instant,
    pub(crate) netlink: Netlink,
    pub(crate) plane: DataPlane,
    pub(crate) made: Made,
    pub(crate) holder: Holder,
    pub(crate) repairs: Repairs,
    pub(crate) routing: Option<Routing>,
    /// Whether the node is the last resort.
    pub(crate) drained: bool,
    pub(crate) underlay: Option<Underlay>,
    /// What is wrong with the underlay, for status and for saying it once.
    pub(crate) underlay_problem: Option<String>,
    pub(crate) attached: Option<Attached>,
    /// Who is being asked whether he answers, for the first time the program is attached.
    pub(crate) reach: Option<Reach>,
    /// Whether the gateway was seen to answer behind what is attached; what was, may be attached
    /// again without asking.
    pub(crate) proven: bool,
    /// Why native XDP is not tried any more.
    pub(crate) no_xdp: Option<String>,
    /// Why no program is attached any more: it would cut the node off.
    pub(crate) cut_off: Option<String>,
    /// What the examination at the start found.
    pub(crate) findings: Vec<Finding>,
    pub(crate) tunnels: BTreeMap<String, State>,
    /// The session ids to which the maps were last cut down.
    pub(crate) kept: Option<HashSet<u32>>,
    /// Names of the services whose address is on the loopback.
    pub(crate) services: BTreeSet<String>,
    /// Addresses that are no longer configured, and until when they stay.
    pub(crate) leaving: BTreeMap<MadeAddress, Instant>,
}

/// What the daemon knows of a tunnel that is in place.
#[derive(Clone, Debug)]
pub(crate) struct Up {
    /// Index of the virtual interface.
    pub(crate) interface: u32,
    /// MTU of the virtual interface in bytes.
    pub(crate) mtu: u32,
    /// Link-local address of the virtual interface.
    pub(crate) link_local: Ipv6Addr,
    /// Global addresses on it, with their prefix lengths.
    pub(crate) prefixes: Vec<(IpAddr, u8)>,
    /// The session as it was last written to the data plane.
    pub(crate) session: Session,
}

/// The state of a tunnel.
#[derive(Clone, Debug)]
pub(crate) enum State {
    /// In place.
    Up(Box<Up>),
    /// Not in place; tried again at every change and every check.
    Failed(String),
}
