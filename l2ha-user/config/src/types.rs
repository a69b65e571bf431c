//! What a configuration says.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use bfd::Timers;
use ipnet::IpNet;
use l2ha_ebpf::{
    abi::OuterForm,
    plan::{AttachMode, Cookie, Encapsulation, Sublayer},
};
use ospfv3::{AreaConfig, AuthKey, Edge, Family, KeyChain, PrefixRange};

use crate::{membership::Membership, rotation::Rotating};

/// Where the configuration is when nothing else is said.
pub const DEFAULT_FILE: &str = "/etc/l2ha/l2ha.toml";
/// Default of `[node].run_dir`.
pub const DEFAULT_RUN_DIR: &str = "/run/l2ha";
/// Default of `[node].bpffs`.
pub const DEFAULT_BPFFS: &str = "/sys/fs/bpf";
/// Default UDP port of both ends (RFC 3931 section 4.1.2).
pub const DEFAULT_PORT: u16 = 1701;

/// Everything the daemon is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// This node.
    pub node: Node,
    /// Addresses of this node alone, on its loopback, which OSPF advertises and its own connections come from: at
    /// most one of a family; empty without [`Config::ospf`].
    pub own_addresses: Vec<IpAddr>,
    /// The network that carries the pseudowires.
    pub underlay: Underlay,
    /// One pseudowire and virtual interface each, in the order of the file.
    pub tunnels: Vec<Tunnel>,
    /// OSPFv3, if it shall run.
    pub ospf: Option<Ospf>,
    /// Areas that are not like any other; empty without [`Config::ospf`].
    pub ospf_areas: Vec<OspfArea>,
    /// Keys that OSPF packets are signed with; empty without [`Config::ospf`].
    pub ospf_keys: Vec<OspfKey>,
    /// Keys that BFD's packets are signed with, in the order of the file; empty without BFD.
    pub bfd_keys: Vec<BfdKey>,
    /// Anycast addresses, in the order of the file; empty without [`Config::ospf`].
    pub services: Vec<Service>,
    /// Where nodes that join the cluster are registered, if they can.
    pub membership: Option<Membership>,
}

/// This node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Name, 1 to 32 of `a-z`, `0-9` and `-`: part of the names of the control socket and of the
    /// pins.
    pub name: String,
    /// Folder of the control socket; absolute.
    pub run_dir: PathBuf,
    /// Where bpffs is mounted; absolute. The pins are in `<bpffs>/l2ha/<name>/`.
    pub bpffs: PathBuf,
}

impl Node {
    /// The folder on bpffs in which this node's links and maps are pinned.
    #[must_use]
    pub fn pins(&self) -> PathBuf {
        self.bpffs.join("l2ha").join(&self.name)
    }
}

/// The network that carries the pseudowires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Underlay {
    /// Interface name.
    pub interface: String,
    /// Addresses of this interface that tunnels may use; one or two, at most one per family.
    pub addresses: Vec<IpAddr>,
    /// Where the decapsulation program is attached.
    pub mode: AttachMode,
}

/// A pseudowire to one peer, and its virtual interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Name, unique on this node.
    pub name: String,
    /// Name of the virtual interface, at most 15 bytes.
    pub interface: String,
    /// Name of its hidden end, derived from [`Tunnel::interface`], at most 15 bytes.
    pub hidden: String,
    /// Outer address of this end: the underlay's address of the remote's family.
    pub local: IpAddr,
    /// Outer address of the peer.
    pub remote: IpAddr,
    /// What carries L2TPv3.
    pub encapsulation: Encapsulation,
    /// Session id in packets to this node; not 0, unique on this node.
    pub session_id: u32,
    /// Session id in packets to the peer; not 0.
    pub peer_session_id: u32,
    /// Cookie in packets to the peer.
    pub send_cookie: Cookie,
    /// Former cookie in packets to the peer, as long as [`Tunnel::send_cookie`]: until the peer accepts that.
    pub previous_send_cookie: Option<Cookie>,
    /// Cookie expected in packets from the peer.
    pub receive_cookie: Cookie,
    /// Former cookie of the peer's packets that is accepted as well, while cookies are rotated.
    pub previous_cookie: Option<Cookie>,
    /// L2-specific sublayer, in both directions.
    pub sublayer: Sublayer,
    /// What of the outer headers can be chosen.
    pub form: OuterForm,
    /// MTU of the virtual interface in bytes; computed from the underlay's when absent.
    pub mtu: Option<u16>,
    /// Addresses put on the virtual interface.
    pub addresses: Vec<IpNet>,
    /// How OSPF runs over it, if it does.
    pub ospf: Option<TunnelOspf>,
    /// What is taken from the neighbour, where that is a router at the edge.
    pub edge: Option<Edge>,
    /// What signs OSPF's packets on it, in place of [`Config::ospf_keys`].
    pub ospf_key: Option<Rotating<AuthKey>>,
    /// What signs BFD's packets on it, in place of [`Config::bfd_keys`].
    pub bfd_key: Option<Rotating<bfd::Key>>,
}

/// How OSPF runs over a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelOspf {
    /// Area of the interface.
    pub area: Ipv4Addr,
    /// Kind of the interface.
    pub network: OspfNetwork,
    /// Router Priority (RFC 5340 C.3); 0 is never Designated Router.
    pub priority: u8,
    /// Cost of the interface, not 0.
    pub cost: u16,
    /// Intervals of BFD, where it is used.
    pub bfd: Option<Timers>,
}

/// What OSPF takes an interface for (RFC 5340 C.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OspfNetwork {
    /// One neighbour at the other end.
    #[default]
    PointToPoint,
    /// Any number of neighbours, of whom one is Designated Router.
    Broadcast,
}

/// An area that is not like any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OspfArea {
    /// Which.
    pub area: Ipv4Addr,
    /// What is peculiar to it.
    pub config: AreaConfig,
}

/// Which of the kernel's routes OSPF advertises as lying outside of the AS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redistribute {
    /// Prefixes of interfaces.
    pub connected: bool,
    /// Routes of protocol `static` and `boot`.
    pub statics: bool,
    /// Their metric, less than 0xffffff.
    pub metric: u32,
    /// Whether it is beyond every cost within the AS (type 2).
    pub type2: bool,
    /// Which of these prefixes; all if empty.
    pub only: Vec<PrefixRange>,
}

/// OSPFv3 (RFC 5340).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ospf {
    /// Router ID, not 0.0.0.0.
    pub router_id: Ipv4Addr,
    /// Area of the interfaces that name none.
    pub area: Ipv4Addr,
    /// Seconds between Hellos, not 0.
    pub hello_interval: u16,
    /// Seconds of silence after which a neighbour is dead; more than the hello interval.
    pub dead_interval: u16,
    /// Cost of interfaces that name none of their own, not 0.
    pub cost: u16,
    /// Intervals of BFD on interfaces that name none of their own.
    pub bfd: Option<Timers>,
    /// Instance ID (RFC 5340 section 2.4), not one of another family than IPv6 (RFC 5838).
    pub instance_id: u8,
    /// Instance ID of the instance that routes IPv4 (RFC 5838 section 2.1), if there is one.
    pub ipv4: Option<u8>,
    /// Seconds between retransmissions of what was not acknowledged, not 0.
    pub retransmit_interval: u16,
    /// Kernel table for the routes.
    pub table: u32,
    /// Kernel priority of the routes, not 0; lower wins.
    pub route_metric: u32,
    /// What of the kernel's routes is advertised.
    pub redistribute: Redistribute,
    /// Whether a default route that neighbours advertise is installed, also outside of stub areas.
    pub accept_default: bool,
    /// Which other prefixes are installed; all if empty.
    pub accept: Vec<PrefixRange>,
    /// Seconds for which neighbours are asked to go on as if nothing happened when the daemon
    /// restarts (RFC 5187); 0 for not at all.
    pub graceful_restart: u16,
    /// Whether to help neighbours with such a restart.
    pub graceful_helper: bool,
    /// Whether that help ends when the topology changes.
    pub graceful_strict: bool,
}

/// A key that OSPF packets are signed with (RFC 7166).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OspfKey {
    /// The key; its secret is never shown.
    pub key: AuthKey,
    /// Names of the tunnels it is for; all if empty.
    pub tunnels: Vec<String>,
}

/// A key that BFD's packets are signed with (RFC 5880 6.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BfdKey {
    /// The key; its secret is never shown.
    pub key: bfd::Key,
    /// Names of the tunnels it is for; all if empty.
    pub tunnels: Vec<String>,
}

/// An anycast address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Name, unique on this node.
    pub name: String,
    /// Address of global scope, put on the loopback and advertised as /128 or /32.
    pub address: IpAddr,
    /// OSPF metric of the prefix.
    pub metric: u16,
    /// What must all pass for it to be advertised with that metric, in the order of the file.
    pub checks: Vec<Check>,
    /// How it is advertised while one of them fails.
    pub when_failed: WhenFailed,
    /// Program and arguments that are run when its state has changed; empty for none.
    pub on_change: Vec<String>,
}

/// How a service is advertised whose check fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFailed {
    /// With the highest metric: used where no other server has the address.
    #[default]
    LastResort,
    /// Not at all.
    Withdraw,
}

/// A check of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What is asked.
    pub kind: CheckKind,
    /// Time between the starts of two attempts.
    pub interval: Duration,
    /// Time within which an attempt must have passed.
    pub timeout: Duration,
    /// How many failures one after another make it fail; not 0.
    pub fall: u8,
    /// How many successes one after another make it pass; not 0.
    pub rise: u8,
}

/// What a check asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// Whether a TCP connection can be made.
    Tcp(SocketAddr),
    /// What a web server answers.
    Http(HttpCheck),
    /// Whether a program, with its arguments, ends with status 0; its path is absolute.
    Exec(Vec<String>),
    /// Whether a unit of systemd is active; its name, as `nginx.service`.
    Unit(String),
}

/// A question to a web server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCheck {
    /// The URL as it was written.
    pub url: String,
    /// Whether it is asked over TLS.
    pub tls: bool,
    /// Whether the server's certificate is checked.
    pub verify: bool,
    /// Where to connect to: the URL's address, or the service's where the URL has a name, because
    /// the name leads to whichever server is nearest.
    pub target: SocketAddr,
    /// Host of the URL without port and brackets: what the certificate is for.
    pub host: String,
    /// Host and port as they are written in the URL, for the header `Host`.
    pub authority: String,
    /// Path and query; begins with `/`.
    pub path: String,
    /// The first and the last status that is good.
    pub status: (u16, u16),
    /// Text that must be in the answer.
    pub body: Option<String>,
}

impl Service {
    /// Length of its prefix in bits: an anycast address is a host route (RFC 5340 A.4.1.1, LA bit).
    #[must_use]
    pub const fn prefix_len(&self) -> u8 {
        Family::of(self.address).bits()
    }
}

impl Node {
    /// Path of the control socket.
    pub fn socket(&self) -> PathBuf {
        self.run_dir.join(format!("{}.sock", self.name))
    }
}

/// Files that the daemon has open however many tunnels there are: maps and programs, netlink, timers, the log.
const FILES: u64 = 128;
/// Files of a tunnel over which OSPF runs: its socket.
const FILES_OF_OSPF: u64 = 1;
/// Files of a tunnel that BFD watches: a socket to send, one to receive and one for ICMPv6.
const FILES_OF_BFD: u64 = 3;

impl Config {
    /// How many files the daemon may come to have open at once.
    pub fn open_files(&self) -> u64 {
        let tunnels = self.tunnels.iter().filter_map(|tunnel| tunnel.ospf);
        let files = tunnels.map(|ospf| {
            let bfd = if ospf.bfd.is_some() { FILES_OF_BFD } else { 0 };
            FILES_OF_OSPF + bfd
        });
        FILES + files.sum::<u64>()
    }

    /// The address that connections of this node's own come from, if they shall come from one: what `[node]` says,
    /// else the first address of this family on a tunnel, where others have none: the kernel would take the
    /// underlay's or a service's there. Where each tunnel has one, the kernel takes that of the tunnel.
    pub fn source(&self, ipv4: bool) -> Option<IpAddr> {
        let own = self.own_addresses.iter();
        let own = own.copied().find(|address| address.is_ipv4() == ipv4);
        let tunnels = || self.tunnels.iter().filter(|tunnel| tunnel.ospf.is_some());
        let first = |tunnel: &Tunnel| {
            let mut addresses = tunnel.addresses.iter().map(IpNet::addr);
            addresses.find(|address| address.is_ipv4() == ipv4)
        };
        let some_lack_it = || tunnels().any(|tunnel| first(tunnel).is_none());
        own.or_else(|| tunnels().find_map(first).filter(|_| some_lack_it()))
    }

    /// The sources of both families.
    pub fn sources(&self) -> Vec<IpAddr> {
        let sources = [false, true].into_iter();
        sources.filter_map(|ipv4| self.source(ipv4)).collect()
    }

    /// The area the services are in: that of `[ospf]` if a tunnel is in it, else the lowest one.
    /// Elsewhere they would make this node a border router to nowhere.
    pub fn home_area(&self) -> Option<Ipv4Addr> {
        let usual = self.ospf.as_ref()?.area;
        let areas = || {
            self.tunnels
                .iter()
                .filter_map(|tunnel| Some(tunnel.ospf?.area))
        };
        let home = areas().find(|area| *area == usual).or(areas().min());
        Some(home.unwrap_or(usual))
    }

    /// The keys for BFD over a tunnel, its own or those of the node; the first one signs, while nothing is rotated.
    pub fn bfd_keys(&self, tunnel: &Tunnel) -> Vec<bfd::Key> {
        if let Some(own) = &tunnel.bfd_key {
            return own.all();
        }
        self.bfd_keys
            .iter()
            .filter(|key| is_for(&key.tunnels, &tunnel.name))
            .map(|key| key.key.clone())
            .collect()
    }

    /// The keys for OSPF over a tunnel, its own or those of the node, if there are any.
    pub fn key_chain(&self, tunnel: &Tunnel) -> Option<KeyChain> {
        if let Some(own) = &tunnel.ospf_key {
            return Some(KeyChain { keys: own.all() });
        }
        let keys: Vec<AuthKey> = self
            .ospf_keys
            .iter()
            .filter(|key| is_for(&key.tunnels, &tunnel.name))
            .map(|key| key.key.clone())
            .collect();
        (!keys.is_empty()).then_some(KeyChain { keys })
    }
}

/// Whether a key that names these tunnels, or none, is for one.
pub(crate) fn is_for(tunnels: &[String], tunnel: &str) -> bool {
    tunnels.is_empty() || tunnels.iter().any(|name| name == tunnel)
}

impl Tunnel {
    /// Outer bytes per frame, inner Ethernet header included: what the underlay's MTU must hold
    /// beside the virtual interface's MTU. Counted with the larger of both directions' cookies,
    /// so that both ends come to the same MTU.
    pub fn overhead(&self) -> u16 {
        let ip = match self.remote {
            IpAddr::V4(_) => 20,
            IpAddr::V6(_) => 40,
        };
        let l2tp = match self.encapsulation {
            // UDP header, then flags, version and a reserved field.
            Encapsulation::Udp { .. } => 8 + 4,
            Encapsulation::Ip => 0,
        };
        let cookie = self.send_cookie.size().max(self.receive_cookie.size());
        let sublayer = match self.sublayer {
            Sublayer::None => 0,
            Sublayer::Default => 4,
        };
        let session_id = 4;
        let ethernet = 14;
        ip + l2tp + session_id + cookie + sublayer + ethernet
    }

    /// MTU of the virtual interface over an underlay of this MTU, in bytes: the configured one if
    /// there is one, else what fits.
    pub fn mtu_for(&self, underlay_mtu: u16) -> u16 {
        self.mtu
            .unwrap_or_else(|| underlay_mtu.saturating_sub(self.overhead()))
    }
}
