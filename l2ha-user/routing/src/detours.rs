//! What routing asks of the data plane.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use anyhow::Result;

/// A way around a session that may fall silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detour {
    /// Index of the interface that leads to the destination.
    pub interface: u32,
    /// The destination.
    pub destination: IpAddr,
    /// Length of its prefix in bits.
    pub prefix_len: u8,
    /// Index of the interface to take instead.
    pub alternate_interface: u32,
    /// The neighbour's address there.
    pub alternate_gateway: IpAddr,
}

/// Where the data plane is told what to do by itself when a peer falls silent and this daemon cannot run.
pub trait DetourTable: Send {
    /// Says how long the session of each interface may be silent; of all others nothing is known.
    fn watch(&mut self, silences: &BTreeMap<u32, Duration>) -> Result<()>;

    /// Replaces all detours.
    ///
    /// # Errors
    ///
    /// When the kernel refuses, or there are too many.
    fn set(&mut self, wanted: Vec<Detour>) -> Result<()>;

    /// How many detours there are.
    fn count(&self) -> usize;
}
