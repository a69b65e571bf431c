//! Sockets that reserve the underlay's ports and protocols.
//!
//! The data plane takes pseudowire packets before any socket sees them. A socket still has to be
//! there: so that no other program binds the port, so that what the data plane passes on (control
//! messages) is not answered with an ICMP unreachable, and to receive what the kernel reassembled.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
};

use anyhow::{Context as _, Result, anyhow};
use config::{Config, Encapsulation};
use dataplane::Reassembled;
use linux::sockets::{self, PathMtu};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{io::unix::AsyncFd, task::JoinHandle};

use crate::port_holder;

/// IP protocol number of L2TPv3 over IP (RFC 3931 4.1.1).
const L2TP: i32 = 115;

/// What is reserved: a local address with a UDP port, or with protocol 115.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Port {
    /// UDP on this address and port.
    Udp(SocketAddr),
    /// IP protocol 115 on this address.
    Ip(IpAddr),
}

impl Port {
    /// Everything a configuration needs reserved, and whether a tunnel there agreed to be without a
    /// checksum over IPv6.
    fn all(config: &Config) -> BTreeMap<Self, bool> {
        let mut ports = BTreeMap::new();
        for tunnel in &config.tunnels {
            let (port, unchecked) = match tunnel.encapsulation {
                Encapsulation::Udp { local_port, .. } => (
                    Self::Udp(SocketAddr::new(tunnel.local, local_port)),
                    tunnel.local.is_ipv6() && !tunnel.form.udp_checksum,
                ),
                Encapsulation::Ip => (Self::Ip(tunnel.local), false),
            };
            *ports.entry(port).or_default() |= unchecked;
        }
        ports
    }
}

/// A socket, and the task that reads from it.
struct Reservation {
    socket: Socket,
    task: JoinHandle<()>,
}

/// The reserved ports, with their sockets.
pub(crate) struct PortReservations {
    reservations: BTreeMap<Port, Reservation>,
    /// Who has those that cannot be had.
    taken: BTreeMap<Port, String>,
    reassembled: Reassembled,
}

impl PortReservations {
    /// None yet; `reassembled` takes what will arrive at them.
    pub(crate) fn new(reassembled: Reassembled) -> Self {
        Self {
            reservations: BTreeMap::new(),
            taken: BTreeMap::new(),
            reassembled,
        }
    }

    /// Reserves what the configuration needs, and releases what it no longer needs.
    ///
    /// # Errors
    ///
    /// When a port cannot be bound; the text says at which address, and who has it if that can be told. The others are
    /// reserved all the same.
    pub(crate) fn ensure(&mut self, config: &Config) -> Result<()> {
        let wanted = Port::all(config);
        self.reservations.retain(|port, reservation| {
            let keep = wanted.contains_key(port);
            if !keep {
                reservation.task.abort();
            }
            keep
        });
        self.taken.retain(|port, _| wanted.contains_key(port));
        let mut result = Ok(());
        for (port, unchecked) in wanted {
            result = result.and(self.reserve(port, unchecked));
        }
        result
    }

    fn reserve(&mut self, port: Port, unchecked: bool) -> Result<()> {
        if !self.reservations.contains_key(&port) {
            let socket = match open(port) {
                Ok(socket) => socket,
                Err(error) => return Err(self.why_not(port, error)),
            };
            let watched = sockets::watch(socket.try_clone()?)?;
            let task = tokio::spawn(receive(watched, port, self.reassembled.clone()));
            self.taken.remove(&port);
            let reservation = Reservation { socket, task };
            self.reservations.insert(port, reservation);
        }
        if let (Port::Udp(_), Some(reservation)) = (port, self.reservations.get(&port)) {
            sockets::accept_zero_checksum(&reservation.socket, unchecked)
                .with_context(|| format!("cannot set UDP_NO_CHECK6_RX of {port:?}"))?;
        }
        Ok(())
    }

    /// What is in the way of a port. Without capabilities the daemon sees fewer processes than at its start: what was
    /// found once is kept.
    fn why_not(&mut self, port: Port, error: io::Error) -> anyhow::Error {
        let address = match port {
            Port::Udp(address) => address,
            Port::Ip(address) => {
                return anyhow!(error).context(format!("cannot open IP protocol 115 on {address}"));
            }
        };
        if let Some(holder) = port_holder::find(address) {
            self.taken.insert(port, holder);
        }
        match self.taken.get(&port) {
            Some(holder) => anyhow!("UDP {address} is held by {holder}"),
            None => anyhow!(error).context(format!(
                "UDP {address} cannot be bound (`ss -ulpn`, `ip l2tp show tunnel`)"
            )),
        }
    }
}

fn open(port: Port) -> io::Result<Socket> {
    let (address, kind, protocol) = match port {
        Port::Udp(address) => (address, Type::DGRAM, Protocol::UDP),
        Port::Ip(address) => (SocketAddr::new(address, 0), Type::RAW, Protocol::from(L2TP)),
    };
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    // The address may be added later, or be away for a while: the port is reserved all the same.
    if address.is_ipv4() {
        socket.set_freebind_v4(true)?;
    } else {
        socket.set_freebind_v6(true)?;
        if kind == Type::DGRAM {
            socket.set_only_v6(true)?;
        }
    }
    socket.set_nonblocking(true)?;
    // The kernel believes any ICMP error that quotes a packet of a socket; what fits is found by probes (`path_mtu`).
    sockets::set_path_mtu(&socket, address.is_ipv6(), PathMtu::Ignore)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Gives packets to the data plane's code for reassembled ones until the task is ended.
async fn receive(socket: AsyncFd<Socket>, port: Port, reassembled: Reassembled) {
    let (address, port) = match port {
        Port::Udp(address) => (address.ip(), Some(address.port())),
        Port::Ip(address) => (address, None),
    };
    loop {
        let Ok(mut ready) = socket.readable().await else {
            return;
        };
        // An error of the socket (an ICMP message for it, say) concerns no packet.
        if let Ok(Err(error)) =
            ready.try_io(|watched| reassembled.receive(watched.get_ref(), address, port))
        {
            tracing::debug!(%error, %address, "reading from the socket that reserves the port");
        }
    }
}
