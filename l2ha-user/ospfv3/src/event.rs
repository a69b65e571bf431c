//! News for the caller, mostly for the log.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::Serialize;

use crate::graceful::{HelpEnd, HelpRefusal, RestartEnd};
use crate::interface::InterfaceState;
use crate::neighbor::{NeighborState, Reason};
use crate::peer::Peer;
use crate::refusal::{Mismatch, Refusal};
use crate::rotation::NeighborRotation;
use crate::wire::{GraceReason, LsaKey, Prefix};

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// A neighbour changed state.
    NeighborChanged {
        /// Which neighbour.
        #[serde(flatten)]
        peer: Peer,
        /// The state it left.
        from: NeighborState,
        /// The state it is in.
        to: NeighborState,
        /// Why.
        reason: Reason,
    },
    /// An interface changed state.
    InterfaceChanged {
        /// Which.
        interface: u32,
        /// The state it left.
        from: InterfaceState,
        /// The state it is in.
        to: InterfaceState,
    },
    /// [`Speaker::routes`](crate::Speaker::routes) is different now.
    RoutesChanged,
    /// A packet or a part of one was refused.
    Refused {
        /// Where it came in.
        interface: u32,
        /// Its source address.
        source: Ipv6Addr,
        /// Why.
        reason: Refusal,
        /// For a mismatch, what we have and what the packet has.
        mismatch: Option<Mismatch>,
    },
    /// A neighbour restarts gracefully, and we go on as if it did not (RFC 3623 3.1).
    HelpBegun {
        /// Which neighbour.
        #[serde(flatten)]
        peer: Peer,
        /// For how many more seconds, if it does not come back before.
        seconds: u64,
        /// Why it restarts.
        reason: GraceReason,
    },
    /// A neighbour asked for help with a graceful restart, in vain.
    HelpRefused {
        /// Which neighbour.
        #[serde(flatten)]
        peer: Peer,
        /// Why not.
        why: HelpRefusal,
    },
    /// Our help is over (RFC 3623 3.2).
    HelpEnded {
        /// Which neighbour.
        #[serde(flatten)]
        peer: Peer,
        /// Why.
        why: HelpEnd,
    },
    /// Our own graceful restart is over (RFC 3623 2.3).
    RestartEnded {
        /// Why.
        why: RestartEnd,
    },
    /// The time of the last key of an interface is over, and it goes on being used (RFC 7166 3): the
    /// neighbours may not accept it for long.
    LastKeyExpired {
        /// Where.
        interface: u32,
        /// Which key.
        sa_id: u16,
    },
    /// A neighbour has come further in the rotation of a secret, or gone back.
    RotationChanged {
        /// Which neighbour.
        #[serde(flatten)]
        peer: Peer,
        /// How far it is now.
        rotation: NeighborRotation,
    },
    /// Our own LSA came back newer than we knew it, and was superseded or flushed (RFC 2328 13.4).
    /// Once after a restart is normal; again and again means two routers with one Router ID.
    SelfOriginatedReceived {
        /// Which LSA.
        lsa: LsaKey,
        /// The sequence number it came with.
        sequence: i32,
        /// Prefixes in it that were not in ours: those of another router, if there is one.
        prefixes: Vec<Prefix>,
        /// In a Router-LSA, the routers that its originator is adjacent to.
        routers: Vec<Ipv4Addr>,
    },
    /// A sign that two routers next to us have one Router ID. It may be one that has restarted or is changing, as
    /// long as signs that differ do not follow each other again and again.
    RouterIdDoubled {
        /// The Router ID.
        router_id: Ipv4Addr,
        /// Where it is heard: our interface, and the address there.
        links: Vec<(u32, Ipv6Addr)>,
        /// What is a sign of it.
        sign: DoubledSign,
    },
}

/// What is a sign of two neighbours with one Router ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DoubledSign {
    /// On one link, packets come from this address after they came from another one.
    Address(Ipv6Addr),
    /// Its Router-LSAs do not list all links that it is Full on; our interface on the first that they list.
    Links(u32),
}
