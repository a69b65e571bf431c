//! Links, and the frames on them.

use std::net::Ipv6Addr;
use std::time::Duration;

/// One end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) node: usize,
    pub(crate) interface: u32,
}

/// A point-to-point link.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) ends: [End; 2],
    pub(crate) cost: u16,
    /// Frames vanish, the carrier stays.
    pub(crate) cut: bool,
}

/// An Ethernet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lan {
    pub(crate) ends: Vec<End>,
    /// Nodes whose cable is pulled at the far end.
    pub(crate) cut: Vec<usize>,
}

/// How bad the links are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    pub(crate) delay: Duration,
    /// Up to this much more, at random: reordering.
    pub(crate) jitter: Duration,
    pub(crate) loss_percent: u64,
    pub(crate) duplicate_percent: u64,
}

impl Weather {
    pub(crate) const FAIR: Self = Self {
        delay: Duration::from_millis(1),
        jitter: Duration::ZERO,
        loss_percent: 0,
        duplicate_percent: 0,
    };
    pub(crate) const STORM: Self = Self {
        delay: Duration::from_millis(2),
        jitter: Duration::from_millis(30),
        loss_percent: 15,
        duplicate_percent: 10,
    };
}

/// A frame on its way.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) to: End,
    pub(crate) source: Ipv6Addr,
    pub(crate) destination: Ipv6Addr,
    pub(crate) bytes: Vec<u8>,
}
