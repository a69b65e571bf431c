//! The lab: hosts in network namespaces joined by an emulated unicast-only cloud, the daemon under
//! test driven as a user would, and real routing peers.

mod acts;
mod arp;
mod beats;
mod bird;
mod both;
mod capture;
mod cloud;
mod cluster;
mod command;
mod config;
mod cores;
pub mod corpus;
mod daemon;
mod etcd;
mod evidence;
mod fabric;
mod foreign;
pub mod frame;
mod frr;
mod http;
pub mod inject;
mod interop;
mod ipv4;
mod joining;
mod lab;
mod ns;
pub mod packages;
mod pair;
mod probe;
mod process;
mod routing;
mod shop;
pub mod show;
mod signals;
mod snapshot;
mod stall;
mod stream;
mod sweep;
mod trio;
mod tshark;
mod views;
pub mod vm;
mod vty;
mod wait;
mod web;

pub use acts::Outage;
pub use arp::{Deaf, Gateway, link_address};
pub use beats::{Beats, Echo, Gap};
pub use bird::Bird;
pub use both::Both;
pub use capture::{Capture, keep, packets};
pub use cloud::{Cloud, CloudOptions, GATEWAY_V4, GATEWAY_V6, Host, UNDERLAY, plain_link};
pub use cluster::{ClusterNode, cluster_file};
pub use config::{
    BFD_KEY, Link, NodeConfig, NodeFile, OspfConfig, Outer, TunnelConfig, join, router_id,
    secret_file,
};
pub use cores::{cores, stay_on, stay_on_last_core};
pub use daemon::{Daemon, binary};
pub use etcd::Etcd;
pub use fabric::{Router, devices, has_paths, has_route, wait_full, wait_same, wait_unrouted};
pub use foreign::{Foreign, Kind, LinkHook};
pub use frr::Frr;
pub use http::{HttpServer, fetch};
pub use interop::{
    cut_with_bfd, interoperate, wait_one_database, wait_one_database_ipv4, wait_route,
};
pub use ipv4::{
    addresses_ipv4, must_have_no_routes_ipv4, ping_ipv4, routes_ipv4, wait_route_ipv4, wait_routes,
};
pub use joining::{JoinedCluster, SERVICE, wait_tunnels};
pub use lab::{Lab, PATIENCE, Resident, target_dir, wait_for};
pub use ns::Namespace;
pub use pair::{Pair, read_cookie, reload};
pub use probe::{Answer, Probe, ProbeOptions, fetch_once};
pub use process::Process;
pub use routing::{External, LsaKey, OspfLink, RouterConfig, differences};
pub use shop::{Seller, Shop};
pub use signals::{came as interrupted, catch as catch_signals};
pub use snapshot::{Attached, Snapshot, attached};
pub use stall::{Pause, Stalls, Step, is_deep, judged};
pub use stream::{Listener, Seen, Stream};
pub use trio::{
    ANYCAST, ANYCAST4, CLIENT, CLIENT4, Ipv4Links, Member, SERVER_1, SERVER_2, Speaker, Trio,
    TrioOptions, wait_quiet,
};
pub use tshark::{Dissection, Framing, check};
pub use web::WebServer;
