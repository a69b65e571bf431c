//! The lab: hosts in network namespaces joined by an emulated unicast-only cloud, the daemon under
//! test driven as a user would, and real routing peers.

mod acts;
mod bird;
mod capture;
mod cloud;
mod command;
mod config;
mod daemon;
mod evidence;
mod frr;
mod http;
mod interop;
mod lab;
mod ns;
pub mod packages;
mod probe;
mod process;
mod routing;
pub mod show;
mod signals;
mod snapshot;
mod sweep;
mod trio;
mod tshark;
mod views;
pub mod vm;
mod vty;
mod wait;

pub use acts::Outage;
pub use bird::Bird;
pub use capture::Capture;
pub use cloud::{Cloud, CloudOptions, GATEWAY_V4, GATEWAY_V6, Host, UNDERLAY, plain_link};
pub use config::{Link, NodeConfig, OspfConfig, Outer, TunnelConfig, join, router_id};
pub use daemon::{Daemon, binary};
pub use frr::Frr;
pub use http::{HttpServer, fetch};
pub use interop::{interoperate, wait_one_database, wait_route};
pub use lab::{Lab, Resident, target_dir, wait_for};
pub use ns::Namespace;
pub use probe::{Answer, Probe, ProbeOptions, fetch_once};
pub use process::Process;
pub use routing::{LsaKey, OspfLink, RouterConfig, differences};
pub use snapshot::{Attached, Snapshot, attached};
pub use trio::{ANYCAST, CLIENT, Member, SERVER_1, SERVER_2, Speaker, Trio, TrioOptions};
pub use tshark::{Dissection, Framing, check};
