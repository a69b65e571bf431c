//! Sockets that hold the underlay's ports and protocols.
//!
//! The data plane takes pseudowire packets before any socket sees them. A socket still has to be
//! there: so that nobody else binds the port, and so that what the data plane passes on (control
//! messages, reassembled fragments) is not answered with an ICMP unreachable.

use std::{
    collections::BTreeMap,
    io::{self, Read as _},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context as _, Result};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{io::unix::AsyncFd, task::JoinHandle};

use crate::{
    config::{Config, Encapsulation},
    sockets,
};

/// IP protocol number of L2TPv3 over IP (RFC 3931 4.1.1).
const L2TP: i32 = 115;
/// The T bit: a control message (RFC 3931 4.1.2.1).
const CONTROL: u8 = 0x80;

/// What is held: a local address with a UDP port, or with protocol 115.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Held {
    /// UDP on this address and port.
    Udp(SocketAddr),
    /// IP protocol 115 on this address.
    Ip(IpAddr),
}

impl Held {
    /// Everything a configuration needs held.
    pub(super) fn of(config: &Config) -> Vec<Self> {
        let mut held: Vec<Self> = config
            .tunnels
            .iter()
            .map(|tunnel| match tunnel.encapsulation {
                Encapsulation::Udp { local_port, .. } => {
                    Self::Udp(SocketAddr::new(tunnel.local, local_port))
                }
                Encapsulation::Ip => Self::Ip(tunnel.local),
            })
            .collect();
        held.sort_unstable();
        held.dedup();
        held
    }
}

/// What arrived at the sockets instead of the data plane.
#[derive(Default)]
struct Counters {
    control: AtomicU64,
    data: AtomicU64,
}

/// The open sockets.
#[derive(Default)]
pub(super) struct Holder {
    sockets: BTreeMap<Held, JoinHandle<()>>,
    counters: Arc<Counters>,
}

impl Holder {
    /// Opens what is wanted and not open yet, closes what is no longer wanted.
    ///
    /// # Errors
    ///
    /// When a port cannot be taken; the text says by which address.
    pub(super) fn hold(&mut self, wanted: &[Held]) -> Result<()> {
        self.sockets.retain(|held, task| {
            let keep = wanted.contains(held);
            if !keep {
                task.abort();
            }
            keep
        });
        for held in wanted {
            if self.sockets.contains_key(held) {
                continue;
            }
            let socket = open(*held).with_context(|| match held {
                Held::Udp(address) => format!(
                    "cannot bind UDP {address}: is another program using the port (ss -ulpn)?"
                ),
                Held::Ip(address) => format!("cannot open IP protocol 115 on {address}"),
            })?;
            let counters = Arc::clone(&self.counters);
            let raw = matches!(held, Held::Ip(IpAddr::V4(_)));
            let task = tokio::spawn(drain(sockets::watch(socket)?, raw, counters));
            self.sockets.insert(*held, task);
        }
        Ok(())
    }

    /// What arrived at the sockets, by name.
    pub(super) fn counters(&self) -> BTreeMap<String, u64> {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        BTreeMap::from([
            ("control_ignored".to_owned(), read(&self.counters.control)),
            ("data_dropped".to_owned(), read(&self.counters.data)),
        ])
    }
}

fn open(held: Held) -> io::Result<Socket> {
    let (address, kind, protocol) = match held {
        Held::Udp(address) => (address, Type::DGRAM, Protocol::UDP),
        Held::Ip(address) => (SocketAddr::new(address, 0), Type::RAW, Protocol::from(L2TP)),
    };
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    // The address may come later, or leave for a while: the port is ours all the same.
    if address.is_ipv4() {
        socket.set_freebind_v4(true)?;
    } else {
        socket.set_freebind_v6(true)?;
        if kind == Type::DGRAM {
            socket.set_only_v6(true)?;
        }
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Reads and counts until the task is ended. `ip_header`: packets begin with an IPv4 header.
async fn drain(socket: AsyncFd<Socket>, ip_header: bool, counters: Arc<Counters>) {
    let mut buffer = [0; 64];
    loop {
        let Ok(mut ready) = socket.readable().await else {
            return;
        };
        // Longer packets are cut to the buffer; the first bytes tell what they are.
        let Ok(read) = ready.try_io(|watched| {
            let mut socket: &Socket = watched.get_ref();
            socket.read(&mut buffer)
        }) else {
            continue;
        };
        let Ok(length) = read else {
            continue;
        };
        let packet = &buffer[..length];
        let skip = if ip_header {
            usize::from(packet.first().map_or(0, |byte| byte & 0x0f)) * 4
        } else {
            0
        };
        let control = packet.get(skip).is_some_and(|byte| byte & CONTROL != 0);
        let counter = if control {
            &counters.control
        } else {
            &counters.data
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
