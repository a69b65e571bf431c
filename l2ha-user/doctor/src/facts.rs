//! What the checks know.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use config::AttachMode;
use dataplane::probe::{Programs, Trial};
use linux::{ethtool::Channels, features::Feature};

/// Everything that the checks look at. What could not be learned is absent, and nothing is found
/// about it.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The host.
    pub system: System,
    /// How the program shall be attached.
    pub mode: AttachMode,
    /// Name of the underlay's interface.
    pub name: String,
    /// The underlay's interface, if it is there.
    pub interface: Option<Interface>,
    /// Configured underlay addresses that the interface lacks.
    pub missing_addresses: Vec<IpAddr>,
    /// The configured tunnels.
    pub tunnels: Vec<Tunnel>,
    /// Where OSPF routes IPv4, what there is to say about it.
    pub ipv4: Option<Ipv4>,
    /// Families of which this node carries other networks' packets.
    pub carried: Vec<Carried>,
    /// Where OSPF runs, what others route here.
    pub routing: Option<Routing>,
    /// How many files the daemon needs open.
    pub open_files: u64,
    /// How many it may have open.
    pub most_open_files: Option<u64>,
    /// Chains of nftables through which what comes in must pass, and that drop what no rule lets in.
    pub closed_chains: Vec<Chain>,
}

/// A chain of nftables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// Family of its table, such as `inet`.
    pub family: String,
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
}

/// What other daemons route on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routing {
    /// The kernel table that OSPF's routes go into.
    pub table: u32,
    /// Their metric there.
    pub metric: u32,
    /// The names of the virtual interfaces that they lead out of.
    pub interfaces: Vec<String>,
    /// Names of the processes that are routing daemons.
    pub running: Vec<String>,
    /// Their routes in that table.
    pub routes: Vec<DaemonRoutes>,
}

/// Routes of another daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonRoutes {
    /// Their protocol, as ip-route shows it.
    pub protocol: &'static str,
    /// Their metric.
    pub metric: u32,
    /// How many there are.
    pub count: usize,
}

/// A family of which this node carries other networks' packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// Whether it is IPv4.
    pub ipv4: bool,
    /// The prefixes, as the configuration has them.
    pub prefixes: Vec<String>,
    /// `net.ipv4.ip_forward`, or `net.ipv6.conf.all.forwarding`.
    pub forwards: Option<bool>,
}

/// IPv4 routed by OSPF.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ipv4 {
    /// How many tunnels OSPF runs over.
    pub tunnels: usize,
    /// The names of those without an IPv4 address.
    pub bare: Vec<String>,
    /// `net.ipv4.conf.all.rp_filter`.
    pub rp_filter: Option<u32>,
    /// `net.ipv4.ip_forward`.
    pub forwards: Option<bool>,
    /// `net.ipv4.conf.all.accept_redirects`.
    pub takes_redirects: Option<bool>,
}

/// The host.
#[derive(Clone, Debug, Default)]
pub struct System {
    /// The kernel's release, as `uname -r` shows it.
    pub release: String,
    /// Number of processors.
    pub processors: u32,
    /// Bytes of a page of memory.
    pub page: u32,
    /// Why no program can be loaded, if none can.
    pub cannot_load: Option<String>,
    /// Where the bpffs shall be.
    pub bpffs: PathBuf,
    /// Whether one is there.
    pub has_bpffs: Option<bool>,
    /// `net.core.bpf_jit_enable`.
    pub jit: Option<u32>,
    /// What of the kernel could not be had in an empty network namespace: what, and the kernel's
    /// answer.
    pub lacks: Vec<(Needed, String)>,
}

/// What l2ha needs of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needed {
    /// Pairs of virtual interfaces.
    Veth,
    /// The queueing discipline that tc programs hang on.
    Clsact,
}

/// The underlay's interface.
#[derive(Clone, Debug, Default)]
pub struct Interface {
    /// Interface index.
    pub index: u32,
    /// MTU in bytes.
    pub mtu: u32,
    /// Set up by an administrator.
    pub up: bool,
    /// Up and with carrier.
    pub running: bool,
    /// Name of the driver.
    pub driver: Option<String>,
    /// How many queues it has.
    pub channels: Option<Channels>,
    /// Its offloads by their kernel names.
    pub features: BTreeMap<String, Feature>,
    /// Whether its driver has native XDP as it is set up now, if it says so.
    pub native: Option<bool>,
    /// What came of a trial, if there was one.
    pub trial: Option<Trial>,
    /// The programs on it.
    pub programs: Programs,
    /// For a veth: its other end.
    pub peer: Option<Peer>,
}

/// The other end of a veth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// The name of its network namespace, unless it is in this one.
    pub namespace: Option<String>,
    /// MTU in bytes.
    pub mtu: u32,
    /// How many queues it has.
    pub channels: Option<Channels>,
    /// Its offloads by their kernel names.
    pub features: BTreeMap<String, Feature>,
}

impl Peer {
    /// A command, which names the interface itself, to be run where the peer is.
    pub fn command(&self, command: &str) -> String {
        match &self.namespace {
            Some(namespace) => format!("nsenter --net=/run/netns/{namespace} {command}"),
            None => command.to_owned(),
        }
    }
}

/// A configured tunnel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tunnel {
    /// Name.
    pub name: String,
    /// The configured MTU of its virtual interface, in bytes.
    pub mtu: Option<u32>,
    /// What its outer headers add, in bytes.
    pub overhead: u32,
}

impl Facts {
    /// Whether native XDP is wanted at all.
    pub(crate) fn wants_xdp(&self) -> bool {
        self.mode != AttachMode::Tc
    }

    /// Whether a program of this node is attached to native XDP already.
    pub(crate) fn has_our_xdp(&self) -> bool {
        use dataplane::probe::{Place, XdpMode};
        self.interface.as_ref().is_some_and(|interface| {
            interface
                .programs
                .list
                .iter()
                .any(|program| program.ours && program.place == Place::Xdp(XdpMode::Native))
        })
    }
}
