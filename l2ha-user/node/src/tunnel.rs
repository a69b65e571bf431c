//! One tunnel: its veth pair, its addresses and offloads, its session and its tc programs.

use std::net::{IpAddr, Ipv6Addr};

use anyhow::{Context as _, Result, bail};
use config::{Config, Encapsulation, Tunnel};
use dataplane::Session;
use linux::{
    Address, Link,
    ethtool::{self, Offload},
    settings::Wanted,
    sysctl,
};
use routing::Rotations;

use crate::{
    identity, journal::AddressEntry, marks, pair, repair::Kind, rotation, session::session,
    snapshot::Snapshot, tools::Tools, underlay::UnderlayLink,
};

/// How much larger the hidden end's MTU is: frames that are not IP pass it with their outer
/// headers on (IPv6 40, UDP 8, L2TPv3 8, cookie 8, sublayer 4, Ethernet 14 bytes, and VLAN tags).
const HIDDEN_EXTRA: u32 = 128;
/// Largest MTU a veth takes (`ETH_MAX_MTU`, linux/if_ether.h).
const LARGEST_MTU: u32 = 65535;

/// Smallest MTU in bytes at which Linux has IPv6 on an interface (`IPV6_MIN_MTU`, RFC 8200 5).
const IPV6_MIN_MTU: u32 = 1280;

/// A tunnel that is in place.
#[derive(Clone, Debug)]
pub(crate) struct Up {
    /// Index of the virtual interface.
    pub(crate) interface: u32,
    /// MTU of the virtual interface in bytes.
    pub(crate) mtu: u32,
    /// Link-local address of the virtual interface.
    pub(crate) link_local: Ipv6Addr,
    /// Global addresses on it, with their prefix lengths.
    pub(crate) prefixes: Vec<(IpAddr, u8)>,
    /// The session as it was last written to the data plane.
    pub(crate) session: Session,
    /// What of it could not be set, though it works.
    pub(crate) lacking: Option<String>,
}

/// One tunnel in one pass.
pub(crate) struct TunnelPass<'a> {
    pub(crate) config: &'a Config,
    pub(crate) tunnel: &'a Tunnel,
    pub(crate) underlay: UnderlayLink,
    /// The neighbour there that leads to the peer.
    pub(crate) next_hop: Option<IpAddr>,
    /// The session as it was last written to the data plane, if it was.
    pub(crate) before: Option<&'a Session>,
    /// How far rotations are, by virtual interface.
    pub(crate) rotations: &'a Rotations,
    /// Whether all settings below /proc were as wanted just now, on the interface with this index.
    pub(crate) settled: Option<u32>,
    pub(crate) tools: &'a mut Tools,
    pub(crate) kernel: &'a mut Snapshot,
    /// What could not be set, though the tunnel works.
    pub(crate) lacking: Option<String>,
}

impl TunnelPass<'_> {
    /// Brings the tunnel to what the configuration says.
    pub(crate) async fn ensure(mut self) -> Result<Up> {
        let tunnel = self.tunnel;
        let mac = identity::mac(self.config, tunnel);
        let alias = marks::alias(&self.config.node.name);
        let make = (mac, alias.as_str());
        let (visible, hidden) = pair::ensure(tunnel, make, self.tools, self.kernel).await?;
        self.ensure_alias([&visible, &hidden], &alias).await?;
        let underlay_mtu = u16::try_from(self.underlay.mtu).unwrap_or(u16::MAX);
        let mtu = u32::from(tunnel.mtu_for(underlay_mtu));
        self.ensure_settings(&visible, &hidden, mac, mtu).await?;
        let ipv6 = self.ensure_ipv6(&visible, mtu)?;
        if self.settled != Some(visible.index) {
            self.ensure_niceties(&visible);
        }
        let session = self.ensure_session(&visible, &hidden)?;
        self.ensure_programs(&visible, &hidden)?;
        // Only now: the kernel sends of its own accord as soon as there is an address on what is up, and without the
        // programs that is lost.
        self.ensure_up(&visible, &hidden).await?;
        let link_local = identity::link_local(mac);
        self.ensure_addresses(&visible, ipv6.then_some(link_local))
            .await?;
        let reassembled = self.tools.plane.reassembled();
        reassembled.set_mtu(visible.index, mtu);
        Ok(Up {
            interface: visible.index,
            mtu,
            link_local,
            prefixes: self.kernel.global(visible.index),
            session,
            lacking: self.lacking,
        })
    }

    /// The mark by which the pair is known without the journal.
    async fn ensure_alias(&mut self, ends: [&Link; 2], alias: &str) -> Result<()> {
        for end in ends {
            if end.alias != alias {
                self.setting(&end.name, "alias");
                self.tools.netlink.set_alias(end, alias).await?;
            }
        }
        Ok(())
    }

    /// MTU, MAC address and offloads.
    async fn ensure_settings(
        &mut self,
        visible: &Link,
        hidden: &Link,
        mac: [u8; 6],
        mtu: u32,
    ) -> Result<()> {
        let name = &visible.name;
        self.ensure_free(hidden).await?;
        let used = self.tunnel.ospf.is_some() || !self.tunnel.addresses.is_empty();
        // Without that a bridge may be what it is for.
        if used {
            self.ensure_free(visible).await?;
        }
        if visible.mac != mac {
            self.setting(name, "MAC address");
            self.tools.netlink.set_mac(visible, mac).await?;
        }
        if visible.mtu != mtu {
            self.setting(name, "MTU");
            self.tools.netlink.set_mtu(visible, mtu).await?;
        }
        let hidden_mtu = (mtu + HIDDEN_EXTRA).min(LARGEST_MTU);
        if hidden.mtu != hidden_mtu {
            self.tools.netlink.set_mtu(hidden, hidden_mtu).await?;
        }
        self.ensure_offloads(name)
    }

    /// Whether the virtual interface has IPv6. Where IPv6 is off for new interfaces, it is switched on for this one.
    ///
    /// # Errors
    ///
    /// When it cannot have IPv6 and needs it, for OSPF or for its addresses.
    fn ensure_ipv6(&mut self, visible: &Link, mtu: u32) -> Result<bool> {
        let (tunnel, name) = (self.tunnel, &visible.name);
        let addresses = tunnel.addresses.iter();
        let needed =
            tunnel.ospf.is_some() || addresses.map(|net| net.addr()).any(|it| it.is_ipv6());
        let why = match sysctl::enable_ipv6(visible) {
            _ if mtu < IPV6_MIN_MTU => format!(
                "an MTU of {mtu} is too small for IPv6, which needs {IPV6_MIN_MTU}: raise the MTU of {} to {} or more",
                self.config.underlay.interface,
                IPV6_MIN_MTU + u32::from(tunnel.overhead())
            ),
            Ok(Some(changed)) => {
                if changed && visible.up {
                    self.setting(name, "disable_ipv6");
                }
                return Ok(true);
            }
            Ok(None) => {
                "this kernel has no IPv6, or it is switched off (ipv6.disable=1)".to_owned()
            }
            Err(error) => format!(
                "IPv6 is off on {name} and cannot be switched on ({error}): call `sysctl net.ipv6.conf.{name}.disable_ipv6=0`"
            ),
        };
        if needed {
            bail!(why);
        }
        Ok(false)
    }

    /// What makes it better, and keeps no packet from it where it cannot be had: in a container with a read-only
    /// /proc/sys for instance.
    fn ensure_niceties(&mut self, visible: &Link) {
        let name = &visible.name;
        if let Err(error) = sysctl::set_retransmit_time(visible) {
            self.lacks(format!(
                "cannot set how often neighbours are asked on {name}: {error}"
            ));
        }
        self.take_nothing(visible);
        if let Some(has_ipv4) = routed_ipv4(self.config, self.tunnel) {
            match sysctl::relax_source_validation(visible, has_ipv4) {
                Ok(true) => self.setting(name, "rp_filter or accept_local"),
                Ok(false) => {}
                Err(error) => {
                    self.lacks(format!(
                        "cannot set what IPv4 packets {name} takes: {error}"
                    ));
                }
            }
        }
    }

    /// Notes what could not be set; of several, the last one is the gravest.
    fn lacks(&mut self, what: String) {
        self.lacking = Some(what);
    }

    /// Takes an end out of a bridge or bond that somebody has put it into: what it receives would go there, and
    /// neither to the kernel nor to OSPF.
    async fn ensure_free(&mut self, end: &Link) -> Result<()> {
        let Some(index) = end.controller else {
            return Ok(());
        };
        let controller = self.kernel.name_of(index).unwrap_or("another interface");
        self.tools.repairs.found(
            Kind::Setting,
            &self.tunnel.name,
            &format!("{} is a port of {controller}, taking it out", end.name),
        );
        self.tools.netlink.set_free(end).await?;
        Ok(())
    }

    /// Has the kernel take no routes, addresses or settings from what comes out of the tunnel. The tunnel works
    /// without that, where /proc is read-only for instance.
    fn take_nothing(&mut self, visible: &Link) {
        match sysctl::take_nothing(visible) {
            Ok(changed) => {
                // Before it is up for the first time, this is the setting up.
                for name in changed.into_iter().filter(|_| visible.up) {
                    self.setting(&visible.name, name);
                }
            }
            Err(error) => self.lacks(format!(
                "cannot keep {} from taking routes and addresses from what comes out of it: {error}",
                visible.name
            )),
        }
    }

    /// Behind protocol 115 the kernel cannot segment, and behind UDP over IPv6 it would not write
    /// the checksum: there frames must be cut before they are encapsulated. For the checksum
    /// over a whole packet the inner ones must be complete as well.
    fn ensure_offloads(&mut self, visible: &str) -> Result<()> {
        let tunnel = self.tunnel;
        let is_udp = tunnel.encapsulation != Encapsulation::Ip;
        let checksum = tunnel.remote.is_ipv6() && tunnel.form.udp_checksum;
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
            let context = || format!("cannot read or switch the offload {offload:?} of {visible}");
            if ethtool::is_on(visible, offload).with_context(context)? != on {
                self.setting(visible, &format!("offload {offload:?}"));
                ethtool::set(visible, offload, on).with_context(context)?;
            }
        }
        Ok(())
    }

    async fn ensure_up(&mut self, visible: &Link, hidden: &Link) -> Result<()> {
        for end in [hidden, visible] {
            if !end.up {
                self.setting(&end.name, "state `up`");
                self.tools.netlink.set_up(end).await?;
            }
        }
        Ok(())
    }

    fn setting(&mut self, interface: &str, what: &str) {
        self.tools.repairs.found(
            Kind::Setting,
            &self.tunnel.name,
            &format!("{what} of {interface} is not as wanted, setting it"),
        );
    }

    /// The link-local address and those of the configuration.
    async fn ensure_addresses(
        &mut self,
        visible: &Link,
        link_local: Option<Ipv6Addr>,
    ) -> Result<()> {
        for (address, prefix_len) in addresses(self.tunnel, link_local) {
            let wanted = Address {
                interface: visible.index,
                address,
                prefix_len,
                deprecated: false,
            };
            if self.kernel.has(&wanted) {
                continue;
            }
            let what = format!(
                "{address}/{prefix_len} is missing on {}, adding it",
                visible.name
            );
            let tools = &mut *self.tools;
            tools.repairs.found(Kind::Address, &self.tunnel.name, &what);
            let entry = AddressEntry {
                interface: visible.name.clone(),
                address,
                prefix_len,
            };
            tools.journal.add(Vec::new(), vec![entry]);
            tools.netlink.add_address(&wanted).await?;
            self.kernel.add_address(wanted);
        }
        Ok(())
    }

    /// The session in the data plane.
    fn ensure_session(&mut self, visible: &Link, hidden: &Link) -> Result<Session> {
        let session = session(self.tunnel, self.underlay, visible, hidden, self.next_hop);
        let session = self.with_cookie(session)?;
        if self.before != Some(&session) {
            let plane = &mut self.tools.plane;
            if let Some(before) = self.before
                && before.visible_ifindex != session.visible_ifindex
            {
                plane.remove_session(before.session_id, before.visible_ifindex)?;
            }
            plane.set_session(&session)?;
        }
        Ok(session)
    }

    /// The session with the former cookie to send, while the peer may not accept the present one. Where nothing is
    /// known of the peer, what is sent stays as it is, also over a restart of the daemon.
    fn with_cookie(&mut self, session: Session) -> Result<Session> {
        let Some(former) = &self.tunnel.previous_send_cookie else {
            return Ok(session);
        };
        let state = rotation::state(self.tunnel, session.visible_ifindex, self.rotations);
        let is_present = match (state, self.before) {
            (Some(state), _) => state.accepted,
            (None, Some(before)) => before.send_cookie == session.send_cookie,
            (None, None) => self.tools.plane.has_headers(&session)?,
        };
        if is_present {
            return Ok(session);
        }
        Ok(Session {
            send_cookie: former.clone(),
            ..session
        })
    }

    /// The programs on both ends.
    fn ensure_programs(&mut self, visible: &Link, hidden: &Link) -> Result<()> {
        let Tools { plane, repairs, .. } = &mut *self.tools;
        if plane.session_interface_attached(&visible.name, &hidden.name)? {
            return Ok(());
        }
        repairs.found(
            Kind::Filter,
            &self.tunnel.name,
            &format!("tc program missing on {}, attaching it", visible.name),
        );
        plane.attach_session_interface(&visible.name, &hidden.name)
    }
}

/// Whether a tunnel has IPv4 addresses, if IPv4 is routed over it.
fn routed_ipv4(config: &Config, tunnel: &Tunnel) -> Option<bool> {
    let ospf = config.ospf.as_ref();
    let routes_ipv4 = ospf.is_some_and(|ospf| ospf.ipv4.is_some());
    let mut addresses = tunnel.addresses.iter();
    (routes_ipv4 && tunnel.ospf.is_some()).then(|| addresses.any(|net| net.addr().is_ipv4()))
}

/// What the settings of a tunnel's virtual interface shall be.
pub(crate) fn wanted<'a>(config: &Config, tunnel: &'a Tunnel, up: &Up) -> Wanted<'a> {
    Wanted {
        interface: up.interface,
        name: &tunnel.interface,
        has_ipv4: routed_ipv4(config, tunnel),
    }
}

/// Adds to the journal what the pass is about to make for its tunnels.
pub(crate) fn add_to_journal(config: &Config, kernel: &Snapshot, tools: &mut Tools) {
    let (mut pairs, mut missing) = (Vec::new(), Vec::new());
    for tunnel in &config.tunnels {
        let pair = pair::names(tunnel);
        let index = match (kernel.link(&pair.visible), kernel.link(&pair.hidden)) {
            (None, None) => None,
            (Some(_), Some(_)) => match pair::ends(kernel, &pair) {
                Some((visible, _)) if tools.journal.pairs().contains(&pair) => Some(visible.index),
                // Perhaps interfaces of others.
                Some(_) | None => continue,
            },
            (Some(_), None) | (None, Some(_)) => continue,
        };
        let mac = identity::mac(config, tunnel);
        for (address, prefix_len) in addresses(tunnel, Some(identity::link_local(mac))) {
            let there = index.is_some_and(|interface| {
                kernel.has(&Address {
                    interface,
                    address,
                    prefix_len,
                    deprecated: false,
                })
            });
            if !there {
                missing.push(AddressEntry {
                    interface: pair.visible.clone(),
                    address,
                    prefix_len,
                });
            }
        }
        pairs.push(pair);
    }
    tools.journal.add(pairs, missing);
}

/// The addresses a virtual interface shall have, with their prefix lengths.
fn addresses(tunnel: &Tunnel, link_local: Option<Ipv6Addr>) -> impl Iterator<Item = (IpAddr, u8)> {
    let configured = tunnel
        .addresses
        .iter()
        .map(|net| (net.addr(), net.prefix_len()));
    let link_local = link_local.map(|it| (IpAddr::V6(it), 64));
    link_local.into_iter().chain(configured)
}
