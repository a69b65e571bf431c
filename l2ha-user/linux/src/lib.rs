//! What l2ha asks of the Linux kernel beside BPF: links, addresses, routes and their changes
//! by rtnetlink, offloads and queues by ethtool, sysctl, sockets, capabilities.
//!
//! What gives a `Result` fails when the kernel refuses.

mod address;
mod batch;
mod blocking;
pub mod ethtool;
pub mod features;
mod foreign;
mod gateway;
mod limit;
mod link;
mod monitor;
mod namespace;
mod neighbour;
pub mod netdev;
mod netlink;
mod nexthop;
mod privilege;
mod route;
pub mod settings;
pub mod sockets;
pub mod state;
pub mod sysctl;
pub mod tc;
mod way;
pub mod xdp;

pub use self::{
    address::{Address, host_addresses},
    batch::{Batch, Order},
    blocking::KernelRefusal,
    foreign::{ForeignRoute, HostRoute, HostRoutes, RouteSource},
    limit::{most_open_files, raise_open_files},
    link::{Link, VethPair, delete_links},
    monitor::{Change, Monitor},
    neighbour::Reachability,
    netlink::{Error, Netlink},
    nexthop::{Found, Leads, NexthopObject, Spread},
    privilege::{drop_all_capabilities, drop_capabilities, guard_process},
    route::{Destination, KernelRoute, Nexthop},
    way::Way,
};
