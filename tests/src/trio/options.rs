//! What a trio is made of, and its addresses.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::config::Link;

/// The anycast address of both servers.
pub const ANYCAST: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80);
/// The client's own address inside: what it asks from, so that answers come over a tunnel, too.
pub const CLIENT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xc1);
/// The IPv4 anycast address of both servers, where IPv4 is routed.
pub const ANYCAST4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 80);
/// The client's own IPv4 address inside.
pub const CLIENT4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 193);
/// The server the client prefers; the other is [`SERVER_2`].
pub const SERVER_1: &str = "server-1";
/// The server that takes over.
pub const SERVER_2: &str = "server-2";

/// What speaks OSPF on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    /// The daemon under test.
    L2ha,
    /// FRR's ospf6d, over interfaces of the daemon under test.
    Frr,
    /// BIRD, likewise.
    Bird,
}

/// What the trio is made of.
#[derive(Debug, Clone, Copy)]
pub struct TrioOptions {
    /// What speaks OSPF on both servers.
    pub servers: Speaker,
    /// What speaks OSPF on the client.
    pub client: Speaker,
    /// The tunnels' form; its costs are ignored.
    pub link: Link,
    /// Whether the servers are joined by a tunnel, too.
    pub mesh: bool,
    /// How OSPF packets are signed, as in our file, if they are.
    pub signed: Option<&'static str>,
    /// Intervals of BFD: milliseconds and a multiplier.
    pub bfd: Option<(f64, u8)>,
    /// How BFD's packets are signed, if they are.
    pub bfd_algorithm: Option<&'static str>,
    /// Whether IPv4 is routed too, and how.
    pub ipv4: Option<Ipv4Links>,
    /// Whether the servers have a web server; without it the scenario starts its own.
    pub web: bool,
    /// Keys of the check of the servers' service, whose web servers are processes of their own then.
    pub check: Option<&'static str>,
    /// Whether one cluster file, the same on all hosts, says all of this; then `l2ha` speaks OSPF everywhere.
    pub cluster: bool,
    /// Switches of every host's kernel, set before anything starts there.
    pub sysctls: &'static [(&'static str, &'static str)],
}

/// IPv4 over the tunnels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ipv4Links {
    /// The tunnels have no IPv4 addresses.
    Bare,
    /// They have.
    Numbered,
}

impl Default for TrioOptions {
    fn default() -> Self {
        Self {
            servers: Speaker::L2ha,
            client: Speaker::L2ha,
            link: Link::default(),
            mesh: true,
            signed: None,
            bfd: None,
            bfd_algorithm: None,
            ipv4: None,
            web: true,
            check: None,
            cluster: false,
            sysctls: &[],
        }
    }
}
