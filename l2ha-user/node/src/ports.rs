//! Sockets that hold the underlay's ports and protocols.
//!
//! The data plane takes pseudowire packets before any socket sees them. A socket still has to be
//! there: so that nobody else binds the port, so that what the data plane passes on (control
//! messages) is not answered with an ICMP unreachable, and to receive what the kernel reassembled.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
};

use anyhow::{Context as _, Result};
use config::{Config, Encapsulation};
use dataplane::Reassembled;
use linux::sockets;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{io::unix::AsyncFd, task::JoinHandle};

/// IP protocol number of L2TPv3 over IP (RFC 3931 4.1.1).
const L2TP: i32 = 115;

/// What is held: a local address with a UDP port, or with protocol 115.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Held {
    /// UDP on this address and port.
    Udp(SocketAddr),
    /// IP protocol 115 on this address.
    Ip(IpAddr),
}

impl Held {
    /// Everything a configuration needs held, and whether a tunnel there agreed to be without a
    /// checksum over IPv6.
    pub(crate) fn of(config: &Config) -> BTreeMap<Self, bool> {
        let mut held = BTreeMap::new();
        for tunnel in &config.tunnels {
            let (it, unchecked) = match tunnel.encapsulation {
                Encapsulation::Udp { local_port, .. } => (
                    Self::Udp(SocketAddr::new(tunnel.local, local_port)),
                    tunnel.local.is_ipv6() && !tunnel.form.udp_checksum,
                ),
                Encapsulation::Ip => (Self::Ip(tunnel.local), false),
            };
            *held.entry(it).or_default() |= unchecked;
        }
        held
    }
}

/// A socket, and the task that reads from it.
struct Open {
    socket: Socket,
    task: JoinHandle<()>,
}

/// The open sockets.
pub(crate) struct Holder {
    sockets: BTreeMap<Held, Open>,
    reassembled: Reassembled,
}

impl Holder {
    /// None yet; what will arrive at them goes this way.
    pub(crate) fn new(reassembled: Reassembled) -> Self {
        Self {
            sockets: BTreeMap::new(),
            reassembled,
        }
    }

    /// Opens what is wanted and not open yet, closes what is no longer wanted.
    ///
    /// # Errors
    ///
    /// When a port cannot be taken; the text says by which address.
    pub(crate) fn hold(&mut self, wanted: &BTreeMap<Held, bool>) -> Result<()> {
        self.sockets.retain(|held, open| {
            let keep = wanted.contains_key(held);
            if !keep {
                open.task.abort();
            }
            keep
        });
        for (held, unchecked) in wanted {
            if !self.sockets.contains_key(held) {
                let socket = open(*held).with_context(|| match held {
                    Held::Udp(address) => format!(
                        "cannot bind UDP {address}: is another program using the port (ss -ulpn)?"
                    ),
                    Held::Ip(address) => format!("cannot open IP protocol 115 on {address}"),
                })?;
                let watched = sockets::watch(socket.try_clone()?)?;
                let task = tokio::spawn(drain(watched, *held, self.reassembled.clone()));
                self.sockets.insert(*held, Open { socket, task });
            }
            if let (Held::Udp(_), Some(open)) = (held, self.sockets.get(held)) {
                sockets::take_without_checksum(&open.socket, *unchecked)
                    .with_context(|| format!("cannot set UDP_NO_CHECK6_RX of {held:?}"))?;
            }
        }
        Ok(())
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

/// Hands packets on until the task is ended.
async fn drain(socket: AsyncFd<Socket>, held: Held, reassembled: Reassembled) {
    let (address, port) = match held {
        Held::Udp(address) => (address.ip(), Some(address.port())),
        Held::Ip(address) => (address, None),
    };
    loop {
        let Ok(mut ready) = socket.readable().await else {
            return;
        };
        // An error of the socket (an ICMP message for it, say) concerns no packet.
        if let Ok(Err(error)) =
            ready.try_io(|watched| reassembled.receive(watched.get_ref(), address, port))
        {
            tracing::debug!(%error, %address, "reading from the socket that holds the port");
        }
    }
}
