//! OSPFv3 (RFC 5340) without I/O, clock or threads.
//!
//! A [`Speaker`] is one router. It is told what happens and when (`handle_*`, always with `now`),
//! and asked what to do (`poll_*`): packets to send, events to log, the time at which it wants to
//! be called again. Nothing in here reads a clock, opens a socket or draws a random number, so that
//! a whole network of speakers runs in one test and replays exactly.
//!
//! ```
//! use std::net::Ipv4Addr;
//! use std::time::Duration;
//! use ospfv3::{Config, InterfaceConfig, InterfaceKind, Speaker};
//!
//! let now = Duration::ZERO;
//! let mut speaker = Speaker::new(Config::new(Ipv4Addr::new(10, 0, 0, 1)), now);
//! let link_local = "fe80::1".parse().unwrap();
//! let link = InterfaceConfig::new("l2ha0", 3, InterfaceKind::PointToPoint, link_local);
//! speaker.add_interface(now, link);
//! let hello = speaker.poll_transmit().unwrap();
//! assert_eq!(hello.destination, ospfv3::wire::ALL_SPF_ROUTERS);
//! speaker.handle_timeout(now);
//! assert_eq!(speaker.poll_timeout(), Some(Duration::from_secs(10)));
//! ```
#![forbid(unsafe_code)]

mod area;
mod auth;
mod clocked;
mod config;
mod counters;
mod edge;
mod event;
mod graceful;
mod interface;
mod lsdb;
mod neighbor;
mod pace;
mod peer;
mod refusal;
mod rotation;
mod speaker;
mod spf;
mod transmit;
pub mod wire;

pub use auth::{Algorithm, AuthKey, KeyChain, Lifetime, ProtocolId, WallTime};
pub use config::{
    AreaConfig, BACKBONE, Config, ExternalPrefix, InterfaceConfig, InterfaceKind, LS_REFRESH_TIME,
    Limits, MANY_LINKS, MAX_NEIGHBORS, MIN_LS_ARRIVAL, MIN_LS_INTERVAL, SpfDelay, StubPrefix, Time,
};
pub use counters::{Counters, GracefulCounters, PacketCounters};
pub use edge::{Edge, PrefixRange};
pub use event::{DoubledSign, Event};
pub use graceful::{GracefulRestart, HelpEnd, HelpRefusal, RestartEnd};
pub use interface::InterfaceState;
pub use lsdb::DbId;
pub use neighbor::{NeighborState, Reason};
pub use peer::Peer;
pub use refusal::{Mismatch, Refusal};
pub use rotation::{Credential, CredentialKind, NeighborRotation, Rotation, Signs};
pub use speaker::{
    AreaView, AuthView, DatabaseView, GracefulView, HelpView, InterfaceView, LsaView, NeighborView,
    PastHelp, PathFailure, PathOutcome, RestartView, Routes, Speaker,
};
pub use spf::{Alternates, Nexthop, PathKind, Route};
pub use transmit::Transmit;
pub use wire::{Family, Prefix};
