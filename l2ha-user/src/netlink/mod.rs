//! What l2ha asks of the kernel's routing netlink: links, addresses, routes, and news of them.

mod address;
mod batch;
mod clsact;
pub mod ethtool;
pub mod features;
mod foreign;
mod gateway;
mod link;
mod monitor;
mod namespace;
mod neighbour;
pub mod netdev;
mod nexthop;
mod route;
pub mod sysctl;

use std::io;

use rtnetlink::Handle;

pub use self::{
    address::Address,
    batch::{Batch, Order},
    foreign::{ForeignRoute, RouteSource},
    link::{Link, VethPair},
    monitor::{Change, Monitor},
    neighbour::Answers,
    nexthop::{Found, Leads, NexthopObject, Spread},
    route::{KernelRoute, Nexthop},
};

/// A connection to rtnetlink in the network namespace of the thread that opened it.
#[derive(Clone)]
pub struct Netlink {
    handle: Handle,
}

impl Netlink {
    /// Opens the connection; its driver runs as a task of the current tokio runtime.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the socket.
    pub fn open() -> io::Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        Ok(Self { handle })
    }
}

/// A request that the kernel refused: what was asked, and its answer.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {}", reason(.source))]
pub struct Error {
    what: String,
    source: rtnetlink::Error,
}

impl Error {
    /// The kernel's error number, if it was the kernel that refused.
    pub fn errno(&self) -> Option<nix::errno::Errno> {
        match &self.source {
            rtnetlink::Error::NetlinkError(message) => {
                let code = message.code?.get();
                Some(nix::errno::Errno::from_raw(-code))
            }
            _ => None,
        }
    }
}

/// The kernel's answer in the words of errno(3).
fn reason(error: &rtnetlink::Error) -> String {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io().to_string(),
        other => other.to_string(),
    }
}

/// Names the request in its error.
trait Asked<T> {
    fn asked(self, what: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T> Asked<T> for Result<T, rtnetlink::Error> {
    fn asked(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error {
            what: what(),
            source,
        })
    }
}
