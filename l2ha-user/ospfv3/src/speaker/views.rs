//! What a person or a monitor may want to see, ready to be serialized.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::router::Speaker;
use crate::auth::{KeyChain, WallTime};
use crate::config::AreaConfig;
use crate::config::{ExternalPrefix, InterfaceKind, StubPrefix};
use crate::graceful::HelpEnd;
use crate::interface::{Interface, InterfaceState};
use crate::lsdb::DbId;
use crate::neighbor::{Neighbor, NeighborState};
use crate::peer::Peer;
use crate::rotation::{NeighborRotation, Signs};
use crate::wire::{GraceReason, LsaBody, LsaType, Options};

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct InterfaceView {
    /// Interface ID.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Its area.
    pub area: Ipv4Addr,
    /// Its kind.
    pub kind: InterfaceKind,
    /// Its state.
    pub state: InterfaceState,
    /// Our link-local address.
    pub link_local: Ipv6Addr,
    /// Largest IPv6 datagram, bytes.
    pub mtu: u16,
    /// Its cost.
    pub cost: u16,
    /// Seconds between Hellos.
    pub hello_interval: u16,
    /// Seconds of silence that mean death.
    pub dead_interval: u16,
    /// Instance ID.
    pub instance_id: u8,
    /// Designated Router, where there is such a role.
    pub designated_router: Option<Ipv4Addr>,
    /// Its Backup.
    pub backup_router: Option<Ipv4Addr>,
    /// How its packets are signed, if they are.
    pub authentication: Option<AuthView>,
    /// What signs its packets while a secret is rotated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Signs>,
    /// Prefixes advertised with it.
    pub prefixes: Vec<StubPrefix>,
    /// How many neighbours it has.
    pub neighbors: usize,
    /// How many of them are Full.
    pub adjacent: usize,
}

/// The keys of an interface, without their secrets.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct AuthView {
    /// SA ID of the key that signs; none if the time of no key has come.
    pub send: Option<u16>,
    /// Whether that key's time is over, and it is used for want of another.
    pub expired: bool,
    /// SA IDs of the keys that are accepted.
    pub accept: Vec<u16>,
}

/// An area we are in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AreaView {
    /// Which.
    pub area: Ipv4Addr,
    /// How it is configured.
    #[serde(flatten)]
    pub config: AreaConfig,
}

/// A neighbour.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct NeighborView {
    /// Interface ID of ours.
    pub interface: u32,
    /// Name of that interface.
    pub interface_name: String,
    /// The area it is in.
    pub area: Ipv4Addr,
    /// Its Router ID.
    pub router_id: Ipv4Addr,
    /// Its link-local address.
    pub address: Ipv6Addr,
    /// Its Interface ID.
    pub interface_id: u32,
    /// State of the conversation.
    pub state: NeighborState,
    /// Milliseconds in this state.
    pub since_ms: u64,
    /// Milliseconds until its inactivity timer fires if it stays silent.
    pub dead_in_ms: u64,
    /// Its Router Priority.
    pub priority: u8,
    /// Its options.
    pub options: Options,
    /// The MTU of its end, bytes, once it has described its database; 0 where it has none to compare.
    #[serde(default)]
    pub mtu: Option<u16>,
    /// How far it is while a secret is rotated, once it has been heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<NeighborRotation>,
    /// LSAs it has not acknowledged.
    pub unacknowledged: usize,
    /// LSAs we still want from it.
    pub requested: usize,
    /// Its graceful restarts.
    pub graceful: GracefulView,
}

/// A help that goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct HelpView {
    /// Milliseconds since it began.
    pub since_ms: u64,
    /// Milliseconds until it ends if the neighbour does not come back.
    pub remaining_ms: u64,
    /// Why the neighbour restarts.
    pub reason: GraceReason,
    /// State of the conversation since its restart.
    pub conversation: NeighborState,
}

/// What a neighbour's graceful restarts look like from here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct GracefulView {
    /// The one we help with now: the neighbour counts as Full meanwhile.
    pub help: Option<HelpView>,
    /// How the last help ended.
    pub last_end: Option<HelpEnd>,
    /// How many milliseconds ago.
    pub last_end_ms: Option<u64>,
}

/// An LSA.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct LsaView {
    /// The database it is in, which is its scope.
    pub scope: DbId,
    /// Its type.
    #[serde(rename = "type")]
    pub ty: LsaType,
    /// Its Link State ID, written as an address by custom.
    pub link_state_id: Ipv4Addr,
    /// Its originator.
    pub advertising_router: Ipv4Addr,
    /// Seconds since its origination.
    pub age: u16,
    /// Its sequence number as on the wire: 0x80000001 is the first.
    pub sequence: u32,
    /// Its Fletcher checksum.
    pub checksum: u16,
    /// Its length in bytes, header included.
    pub length: u16,
    /// Whether it is ours.
    pub own: bool,
    /// What it says.
    pub body: LsaBody,
}

/// All databases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DatabaseView {
    /// All LSAs, in order of scope and key.
    pub lsas: Vec<LsaView>,
}

impl AuthView {
    fn new(interface: &Interface, chain: &KeyChain, wall: WallTime) -> Self {
        let signer = interface.signers(wall).pop();
        let accepted = chain.keys.iter().filter(|key| chain.accepts(key, wall));
        Self {
            send: signer.map(|signer| signer.key.sa_id),
            expired: signer.is_some_and(|signer| signer.expired),
            accept: accepted.map(|key| key.sa_id).collect(),
        }
    }
}

/// Views are as of the latest `now` this speaker was told; call
/// [`handle_timeout`](Speaker::handle_timeout) first for ages as of this moment.
impl Speaker {
    /// All interfaces.
    pub fn interfaces(&self) -> Vec<InterfaceView> {
        self.core
            .interfaces()
            .values()
            .map(|interface| InterfaceView {
                id: interface.config.id,
                name: interface.config.name.clone(),
                area: interface.config.area,
                kind: interface.config.kind,
                state: interface.state,
                link_local: interface.config.link_local,
                mtu: interface.config.mtu,
                cost: interface.config.cost,
                hello_interval: interface.config.hello_interval,
                dead_interval: interface.config.dead_interval,
                instance_id: interface.config.instance_id,
                designated_router: interface.elected.dr,
                backup_router: interface.elected.bdr,
                authentication: interface
                    .config
                    .authentication
                    .as_ref()
                    .map(|chain| AuthView::new(interface, chain, self.core.wall())),
                rotation: interface
                    .config
                    .rotation
                    .as_ref()
                    .map(|_| interface.signs()),
                prefixes: interface.config.prefixes.clone(),
                neighbors: interface.neighbors.len(),
                adjacent: interface
                    .neighbors
                    .values()
                    .filter(|neighbor| neighbor.is_adjacent())
                    .count(),
            })
            .collect()
    }

    /// The areas with an interface that is up.
    pub fn areas(&self) -> Vec<AreaView> {
        let view = |area| AreaView {
            area,
            config: self.core.config().area(area),
        };
        self.core.active_areas().into_iter().map(view).collect()
    }

    /// What is advertised as lying outside of the AS, by prefix.
    pub fn externals(&self) -> Vec<ExternalPrefix> {
        self.originator.externals().values().copied().collect()
    }

    /// All neighbours.
    pub fn neighbors(&self) -> Vec<NeighborView> {
        self.core
            .interfaces()
            .values()
            .flat_map(|interface| interface.neighbors.iter().map(move |n| (interface, n)))
            .map(|(interface, (router_id, neighbor))| NeighborView {
                interface: interface.config.id,
                interface_name: interface.config.name.clone(),
                area: interface.config.area,
                router_id: *router_id,
                address: neighbor.address,
                interface_id: neighbor.interface_id,
                state: if neighbor.help.is_some() {
                    NeighborState::Full
                } else {
                    neighbor.state
                },
                since_ms: millis(self.core.now().saturating_sub(neighbor.since)),
                dead_in_ms: millis(neighbor.silent_until().saturating_sub(self.core.now())),
                priority: neighbor.priority,
                options: neighbor.options,
                mtu: neighbor.mtu,
                rotation: interface
                    .config
                    .rotation
                    .as_ref()
                    .and_then(|rotation| neighbor.rotation(rotation)),
                unacknowledged: neighbor.unacknowledged.len(),
                requested: neighbor.requests.len(),
                graceful: self.graceful_view(Peer::new(interface.config.id, *router_id), neighbor),
            })
            .collect()
    }

    /// All LSAs.
    pub fn database(&self) -> DatabaseView {
        let lsas = self.core.databases().iter().flat_map(|(id, database)| {
            database.iter().map(move |(key, entry)| LsaView {
                scope: *id,
                ty: key.ty,
                link_state_id: Ipv4Addr::from_bits(key.id),
                advertising_router: key.adv,
                age: entry.age(self.core.now()),
                sequence: entry.lsa.header().sequence.cast_unsigned(),
                checksum: entry.lsa.header().checksum,
                length: entry.lsa.header().length,
                own: self.core.is_ours(key.adv),
                body: entry.lsa.body().clone(),
            })
        });
        DatabaseView {
            lsas: lsas.collect(),
        }
    }

    fn graceful_view(&self, peer: Peer, neighbor: &Neighbor) -> GracefulView {
        let now = self.core.now();
        let past = self.core.past_help(peer);
        GracefulView {
            help: neighbor.help.map(|help| HelpView {
                since_ms: millis(now.saturating_sub(help.since)),
                remaining_ms: millis(help.until.saturating_sub(now)),
                reason: help.reason,
                conversation: neighbor.state,
            }),
            last_end: past.map(|past| past.why),
            last_end_ms: past.map(|past| millis(now.saturating_sub(past.at))),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
