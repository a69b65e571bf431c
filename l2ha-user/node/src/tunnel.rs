//! One tunnel: its veth pair, its addresses and offloads, its session and its tc programs.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv6Addr},
};

use anyhow::{Context as _, Result, bail};
use config::{Config, Encapsulation, Sublayer, Tunnel};
use dataplane::{Endpoint, EndpointKind, Session};
use linux::{
    Address, Link, VethPair,
    ethtool::{self, Offload},
    sysctl,
};

use crate::{
    identity,
    journal::{MadeAddress, MadePair},
    repair::Kind,
    snapshot::Kernel,
    state::{Node, State, Underlay, Up},
};

/// How much larger the hidden end's MTU is: frames that are not IP pass it with their outer
/// headers on (IPv6 40, UDP 8, L2TPv3 8, cookie 8, sublayer 4, Ethernet 14 bytes, and VLAN tags).
const HIDDEN_EXTRA: u32 = 128;
/// Largest MTU a veth takes (`ETH_MAX_MTU`, linux/if_ether.h).
const LARGEST_MTU: u32 = 65535;

impl Node {
    /// Brings one tunnel to what the configuration says.
    pub(crate) async fn ensure_tunnel(
        &mut self,
        tunnel: &Tunnel,
        underlay: &Underlay,
        kernel: &mut Kernel,
    ) -> Result<Up> {
        let mac = identity::mac(&self.config.node.name, &tunnel.name);
        let (visible, hidden) = self.ensure_pair(tunnel, mac, kernel).await?;
        let mtu = u32::from(tunnel.mtu_for(u16::try_from(underlay.mtu).unwrap_or(u16::MAX)));
        self.ensure_settings(tunnel, &visible, &hidden, mac, mtu)
            .await?;
        let session = self.ensure_session(tunnel, underlay, &visible, &hidden)?;
        self.ensure_programs(tunnel, &visible, &hidden)?;
        // Only now: the kernel sends of its own accord as soon as there is an address on what is up, and without the
        // programs that is lost.
        self.ensure_up(tunnel, &visible, &hidden).await?;
        let link_local = identity::link_local(mac);
        self.ensure_addresses(tunnel, &visible, link_local, kernel)
            .await?;
        self.plane.reassembled().set_mtu(visible.index, mtu);
        Ok(Up {
            interface: visible.index,
            mtu,
            link_local,
            prefixes: kernel.global(visible.index),
            session,
        })
    }

    /// Finds the veth pair, or makes it.
    async fn ensure_pair(
        &mut self,
        tunnel: &Tunnel,
        mac: [u8; 6],
        kernel: &mut Kernel,
    ) -> Result<(Link, Link)> {
        let pair = pair(tunnel);
        if let Some(ends) = ends(kernel, &pair) {
            self.made.add(vec![pair], Vec::new())?;
            return Ok(ends);
        }
        let half = [&pair.visible, &pair.hidden]
            .into_iter()
            .find_map(|name| kernel.link(name));
        if let Some(half) = half {
            if !self.made.list.pairs.contains(&pair) {
                bail!(
                    "an interface {} is there already and not l2ha's: remove it, or give this \
                     tunnel another `interface`",
                    half.name
                );
            }
            self.netlink.delete_link(half.index).await?;
        }
        self.repairs.found(
            Kind::Interface,
            &tunnel.name,
            &format!("virtual interface {} is missing, making it", pair.visible),
        );
        self.made.add(vec![pair.clone()], Vec::new())?;
        self.netlink
            .add_veth(&VethPair {
                visible: &pair.visible,
                hidden: &pair.hidden,
                mac,
                queues: queues(),
            })
            .await?;
        kernel
            .refresh(&self.netlink, &[&pair.visible, &pair.hidden])
            .await?;
        let (visible, hidden) = ends(kernel, &pair)
            .with_context(|| format!("{} vanished as soon as it was made", pair.visible))?;
        self.netlink.no_automatic_link_local(&visible).await?;
        self.netlink.no_automatic_link_local(&hidden).await?;
        Ok((visible, hidden))
    }

    /// MTU, MAC address and offloads.
    async fn ensure_settings(
        &mut self,
        tunnel: &Tunnel,
        visible: &Link,
        hidden: &Link,
        mac: [u8; 6],
        mtu: u32,
    ) -> Result<()> {
        let name = &visible.name;
        if visible.mac != mac {
            self.setting(tunnel, name, "MAC address");
            self.netlink.set_mac(visible, mac).await?;
        }
        if visible.mtu != mtu {
            self.setting(tunnel, name, "MTU");
            self.netlink.set_mtu(visible, mtu).await?;
        }
        let hidden_mtu = (mtu + HIDDEN_EXTRA).min(LARGEST_MTU);
        if hidden.mtu != hidden_mtu {
            self.netlink.set_mtu(hidden, hidden_mtu).await?;
        }
        // Behind protocol 115 the kernel cannot segment, and behind UDP over IPv6 it would not write
        // the checksum: there frames must be cut before they are encapsulated. For the checksum
        // over a whole packet the inner ones must be complete as well.
        let over_ipv6 = tunnel.remote.is_ipv6();
        let is_udp = tunnel.encapsulation != Encapsulation::Ip;
        let checksum = over_ipv6 && tunnel.form.udp_checksum;
        // Each packet has a number of its own, so none can be cut later.
        let segmentation = is_udp && !checksum && !tunnel.form.send_sequence;
        // Redirected frames are only taken by a veth whose receiving NAPI is on; GRO does that.
        let offloads = [
            (Offload::Gro, true),
            // Before TSO, which the kernel switches with it.
            (Offload::TxChecksum, !(is_udp && checksum)),
            (Offload::Tso, segmentation),
            (Offload::Gso, segmentation),
        ];
        for (offload, on) in offloads {
            let context = || format!("cannot read or switch the offload {offload:?} of {name}");
            if ethtool::is_on(name, offload).with_context(context)? != on {
                self.setting(tunnel, name, &format!("offload {offload:?}"));
                ethtool::set(name, offload, on).with_context(context)?;
            }
        }
        sysctl::ask_neighbours_often(visible)
            .with_context(|| format!("cannot set how often neighbours are asked on {name}"))?;
        let routes_ipv4 = self
            .config
            .ospf
            .as_ref()
            .is_some_and(|it| it.ipv4.is_some());
        if routes_ipv4 && tunnel.ospf.is_some() {
            let has_ipv4 = tunnel.addresses.iter().any(|net| net.addr().is_ipv4());
            let changed = sysctl::accept_any_way_back(visible, has_ipv4)
                .with_context(|| format!("cannot set what IPv4 packets {name} takes"))?;
            if changed {
                self.setting(tunnel, name, "rp_filter or accept_local");
            }
        }
        Ok(())
    }

    async fn ensure_up(&mut self, tunnel: &Tunnel, visible: &Link, hidden: &Link) -> Result<()> {
        for end in [hidden, visible] {
            if !end.up {
                self.setting(tunnel, &end.name, "state `up`");
                self.netlink.set_up(end).await?;
            }
        }
        Ok(())
    }

    fn setting(&mut self, tunnel: &Tunnel, interface: &str, what: &str) {
        self.repairs.found(
            Kind::Setting,
            &tunnel.name,
            &format!("{what} of {interface} is not as wanted, setting it"),
        );
    }

    /// The link-local address and those of the configuration.
    async fn ensure_addresses(
        &mut self,
        tunnel: &Tunnel,
        visible: &Link,
        link_local: Ipv6Addr,
        kernel: &mut Kernel,
    ) -> Result<()> {
        for (address, prefix_len) in addresses(tunnel, link_local) {
            let wanted = Address {
                interface: visible.index,
                address,
                prefix_len,
            };
            if kernel.has(&wanted) {
                continue;
            }
            let what = format!(
                "{address}/{prefix_len} is missing on {}, adding it",
                visible.name
            );
            self.repairs.found(Kind::Address, &tunnel.name, &what);
            let made = MadeAddress {
                interface: visible.name.clone(),
                address,
                prefix_len,
            };
            self.made.add(Vec::new(), vec![made])?;
            self.netlink.add_address(&wanted).await?;
            kernel.add_address(wanted);
        }
        Ok(())
    }

    /// The session in the data plane.
    fn ensure_session(
        &mut self,
        tunnel: &Tunnel,
        underlay: &Underlay,
        visible: &Link,
        hidden: &Link,
    ) -> Result<Session> {
        let session = session(tunnel, underlay, visible, hidden);
        let before = match self.tunnels.get(&tunnel.name) {
            Some(State::Up(up)) => Some(up.session.clone()),
            _ => None,
        };
        if before.as_ref() != Some(&session) {
            if let Some(before) = before
                && before.visible_ifindex != session.visible_ifindex
            {
                self.plane
                    .remove_session(before.session_id, before.visible_ifindex)?;
            }
            self.plane.set_session(&session)?;
        }
        Ok(session)
    }

    /// The programs on both ends.
    fn ensure_programs(&mut self, tunnel: &Tunnel, visible: &Link, hidden: &Link) -> Result<()> {
        if self
            .plane
            .session_interface_attached(&visible.name, &hidden.name)?
        {
            return Ok(());
        }
        self.repairs.found(
            Kind::Filter,
            &tunnel.name,
            &format!("tc program missing on {}, attaching it", visible.name),
        );
        self.plane
            .attach_session_interface(&visible.name, &hidden.name)
    }

    /// Writes down what the pass is about to make for its tunnels.
    pub(crate) fn write_down(&mut self, kernel: &Kernel) -> Result<()> {
        let (mut pairs, mut made) = (Vec::new(), Vec::new());
        for tunnel in &self.config.tunnels {
            let pair = pair(tunnel);
            let index = match (kernel.link(&pair.visible), kernel.link(&pair.hidden)) {
                (None, None) => None,
                (Some(_), Some(_)) => match ends(kernel, &pair) {
                    Some((visible, _)) => Some(visible.index),
                    // Interfaces of somebody else, perhaps.
                    None => continue,
                },
                (Some(_), None) | (None, Some(_)) => continue,
            };
            let mac = identity::mac(&self.config.node.name, &tunnel.name);
            for (address, prefix_len) in addresses(tunnel, identity::link_local(mac)) {
                let there = index.is_some_and(|interface| {
                    kernel.has(&Address {
                        interface,
                        address,
                        prefix_len,
                    })
                });
                if !there {
                    made.push(MadeAddress {
                        interface: pair.visible.clone(),
                        address,
                        prefix_len,
                    });
                }
            }
            pairs.push(pair);
        }
        self.made.add(pairs, made)
    }

    /// Takes interfaces away that the configuration no longer has.
    pub(crate) async fn remove_pairs(&mut self, pairs: &[MadePair]) -> Result<()> {
        if pairs.is_empty() {
            return Ok(());
        }
        let kernel = Kernel::read(&self.netlink).await?;
        for pair in pairs {
            if let Some((visible, _)) = ends(&kernel, pair) {
                self.netlink.delete_link(visible.index).await?;
            }
        }
        let gone: HashSet<&str> = pairs.iter().map(|pair| pair.visible.as_str()).collect();
        self.made.update(|list| {
            for pair in pairs {
                list.pairs.remove(pair);
            }
            list.addresses
                .retain(|made| !gone.contains(made.interface.as_str()));
        })
    }
}

/// How many queues a virtual interface can have at most: one for each processor. Each costs some kilobytes.
fn queues() -> u32 {
    const MOST: usize = 16;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    processors.min(MOST) as u32
}

/// The names of a tunnel's veth pair.
fn pair(tunnel: &Tunnel) -> MadePair {
    MadePair {
        visible: tunnel.interface.clone(),
        hidden: tunnel.hidden.clone(),
    }
}

/// The addresses a virtual interface shall have, with their prefix lengths.
fn addresses(tunnel: &Tunnel, link_local: Ipv6Addr) -> impl Iterator<Item = (IpAddr, u8)> {
    let configured = tunnel
        .addresses
        .iter()
        .map(|net| (net.addr(), net.prefix_len()));
    std::iter::once((IpAddr::V6(link_local), 64)).chain(configured)
}

/// Both ends of a pair, if they are there and belong together.
fn ends(kernel: &Kernel, pair: &MadePair) -> Option<(Link, Link)> {
    let visible = kernel.link(&pair.visible)?;
    let hidden = kernel.link(&pair.hidden)?;
    let joined = visible.veth && hidden.veth && visible.peer == Some(hidden.index);
    joined.then(|| (visible.clone(), hidden.clone()))
}

/// What the data plane has to know of a tunnel.
fn session(tunnel: &Tunnel, underlay: &Underlay, visible: &Link, hidden: &Link) -> Session {
    Session {
        session_id: tunnel.session_id,
        peer_session_id: tunnel.peer_session_id,
        local: tunnel.local,
        remote: tunnel.remote,
        encapsulation: match tunnel.encapsulation {
            Encapsulation::Udp {
                local_port,
                remote_port,
            } => dataplane::Encapsulation::Udp {
                local_port,
                remote_port,
            },
            Encapsulation::Ip => dataplane::Encapsulation::Ip,
        },
        send_cookie: dataplane::Cookie::new(tunnel.send_cookie.bytes()),
        receive_cookie: dataplane::Cookie::new(tunnel.receive_cookie.bytes()),
        previous_cookie: tunnel
            .previous_cookie
            .as_ref()
            .map(|cookie| dataplane::Cookie::new(cookie.bytes())),
        form: tunnel.form,
        sublayer: match tunnel.sublayer {
            Sublayer::None => dataplane::Sublayer::None,
            Sublayer::Default => dataplane::Sublayer::Default,
        },
        visible_ifindex: visible.index,
        hidden_ifindex: hidden.index,
        underlay_ifindex: underlay.index,
    }
}

/// The local addresses, ports and protocols that are the data plane's.
pub(crate) fn endpoints(config: &Config) -> Vec<Endpoint> {
    config
        .tunnels
        .iter()
        .map(|tunnel| Endpoint {
            address: tunnel.local,
            kind: match tunnel.encapsulation {
                Encapsulation::Udp { local_port, .. } => EndpointKind::Udp { port: local_port },
                Encapsulation::Ip => EndpointKind::Ip,
            },
        })
        .collect()
}
