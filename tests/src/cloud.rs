//! The emulated cloud: a router that carries unicast between hosts, and of that only what a public
//! cloud carries.
//!
//! Each host has one NIC, `eth0`, with a /32 and a /128, and reaches everything through a gateway
//! that answers on its link, as on GCP. UDP, TCP and ICMP cross; protocol 115 only where asked;
//! multicast, broadcast and link-local traffic never, because a router does not forward them.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    ns::Namespace,
    wait::{PATIENCE, wait_for},
};

/// The gateway's IPv4 address on every host's link.
pub const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(10, 77, 255, 254);
/// The gateway's IPv6 link-local address on every host's link.
pub const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x77);
/// The name of a host's NIC.
pub const UNDERLAY: &str = "eth0";

/// Order of the rules that decide what crosses: cuts come first, then what is allowed, then the
/// end of everything else.
const CUT: u32 = 10;
const ALLOW: u32 = 100;
const REFUSE: u32 = 200;

/// What a cloud is like.
#[derive(Debug, Clone, Copy)]
pub struct CloudOptions {
    /// MTU of every link in bytes.
    pub mtu: u16,
    /// Whether IP protocol 115 (L2TPv3 without UDP) crosses.
    pub carries_l2tp: bool,
    /// Queues of every NIC, in each direction.
    pub queues: u8,
}

impl Default for CloudOptions {
    fn default() -> Self {
        Self {
            mtu: 1500,
            carries_l2tp: false,
            queues: 1,
        }
    }
}

/// A cloud; its hosts live as long as they are held.
#[derive(Debug)]
pub struct Cloud {
    options: CloudOptions,
    router: Namespace,
    hosts: Mutex<u8>,
}

/// A host of the cloud.
#[derive(Debug)]
pub struct Host {
    /// Its name in the lab.
    pub name: String,
    /// Where it lives.
    pub ns: Namespace,
    /// The IPv4 address of its NIC.
    pub v4: Ipv4Addr,
    /// The IPv6 address of its NIC.
    pub v6: Ipv6Addr,
    mtu: u16,
}

impl Cloud {
    /// Makes a cloud without hosts.
    ///
    /// # Errors
    ///
    /// When not root, or when the kernel lacks policy routing.
    pub fn new(options: CloudOptions) -> Result<Self> {
        let router = Namespace::new("cloud")?;
        for (name, value) in [
            ("net/ipv4/ip_forward", "1"),
            ("net/ipv6/conf/all/forwarding", "1"),
            ("net/ipv4/conf/all/rp_filter", "0"),
            ("net/ipv4/conf/default/rp_filter", "0"),
            // Every refused or cut packet must vanish: a cloud does not say why.
            ("net/ipv4/conf/all/send_redirects", "0"),
            ("net/ipv4/conf/default/send_redirects", "0"),
        ] {
            router.sysctl(name, value)?;
        }
        for (family, icmp) in [("-4", "icmp"), ("-6", "ipv6-icmp")] {
            let mut rules = String::new();
            let mut allow = |protocol: &str| {
                // Writing to a String cannot fail.
                let _ = writeln!(
                    rules,
                    "rule add pref {ALLOW} ipproto {protocol} lookup main"
                );
            };
            ["udp", "tcp", icmp].into_iter().for_each(&mut allow);
            if options.carries_l2tp {
                allow("115");
            }
            let _ = writeln!(rules, "rule add pref {REFUSE} blackhole");
            router
                .ip_batch_for(family, &rules)
                .context("the kernel needs policy routing (CONFIG_IP_MULTIPLE_TABLES)")?;
        }
        Ok(Self {
            options,
            router,
            hosts: Mutex::new(0),
        })
    }

    /// What it is like.
    pub fn options(&self) -> CloudOptions {
        self.options
    }

    /// The router's namespace, to look into.
    pub fn router(&self) -> &Namespace {
        &self.router
    }

    /// Adds a host with the next free addresses: 10.77.0.n and fd77::n.
    ///
    /// # Errors
    ///
    /// When its namespace or its link cannot be made.
    #[track_caller]
    pub fn host(&self, name: &str) -> Result<Arc<Host>> {
        let number = {
            let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            *hosts = hosts.checked_add(1).context("a cloud has room for 255")?;
            *hosts
        };
        let v4 = Ipv4Addr::new(10, 77, 0, number);
        let v6 = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, u16::from(number));
        let host = Host {
            mtu: self.options.mtu,
            ..Host::new(name, v4, v6)?
        };
        let port = host.port();
        let CloudOptions { mtu, queues, .. } = self.options;
        self.router.ip_batch(&format!(
            "link add {port} mtu {mtu} numtxqueues {queues} numrxqueues {queues} type veth \
             peer name {UNDERLAY} mtu {mtu} numtxqueues {queues} numrxqueues {queues} netns {}\n\
             addr add {GATEWAY_V4}/32 dev {port}\n\
             addr add {GATEWAY_V6}/64 dev {port}\n\
             link set {port} up\n\
             route add {}/32 dev {port}\n\
             route add {}/128 dev {port}\n",
            host.ns.name(),
            host.v4,
            host.v6
        ))?;
        // Native XDP on veth drops packets whose checksum the sender left to its NIC.
        self.router.run(["ethtool", "-K", &port, "tx", "off"])?;
        host.ns.run(["ethtool", "-K", UNDERLAY, "tx", "off"])?;
        host.underlay_up()?;
        host.wait_addresses()?;
        Ok(Arc::new(host))
    }

    /// Cuts a host off: from now on nothing of it arrives and nothing reaches it, while its carrier
    /// stays up and no error is sent.
    ///
    /// # Errors
    ///
    /// When the rules cannot be set.
    pub fn cut(&self, host: &Host) -> Result<()> {
        self.cut_rules(host, "add")
    }

    /// Ends [`Cloud::cut`].
    ///
    /// # Errors
    ///
    /// When the host is not cut.
    pub fn heal(&self, host: &Host) -> Result<()> {
        self.cut_rules(host, "del")
    }

    fn cut_rules(&self, host: &Host, verb: &str) -> Result<()> {
        let port = host.port();
        for (family, address) in [("-4", IpAddr::from(host.v4)), ("-6", host.v6.into())] {
            self.router.ip_batch_for(
                family,
                &format!(
                    "rule {verb} pref {CUT} iif {port} blackhole\n\
                     rule {verb} pref {CUT} to {address} blackhole\n"
                ),
            )?;
        }
        Ok(())
    }
}

impl Host {
    /// A host outside of a cloud, whose NIC is still to be made.
    ///
    /// # Errors
    ///
    /// When its namespace cannot be made.
    pub fn new(name: &str, v4: Ipv4Addr, v6: Ipv6Addr) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            ns: Namespace::new(name)?,
            v4,
            v6,
            mtu: CloudOptions::default().mtu,
        })
    }

    /// The name of the cloud's end of this host's link.
    pub fn port(&self) -> String {
        let mut port = format!("to-{}", self.name);
        port.truncate(15);
        port
    }

    /// Waits for what the kernel does by itself a moment after a NIC has come up: a snapshot before
    /// that would take it for a change made by others.
    #[track_caller]
    fn wait_addresses(&self) -> Result<()> {
        let words = [
            "ip", "-6", "route", "show", "table", "local", "dev", UNDERLAY,
        ];
        let v6 = format!("local {} ", self.v6);
        wait_for("the NIC's IPv6 addresses", PATIENCE, || {
            let routes = self.ns.run(words)?;
            let settled = routes.contains(&v6) && routes.contains("local fe80:");
            ensure!(settled, "{routes}");
            Ok(Some(()))
        })
    }

    /// The address of the NIC in the family of `like`.
    pub fn address_like(&self, like: IpAddr) -> IpAddr {
        match like {
            IpAddr::V4(_) => self.v4.into(),
            IpAddr::V6(_) => self.v6.into(),
        }
    }

    /// Gives the NIC its addresses and routes, as the host's own network configuration would
    /// after it came up. What is there already stays.
    ///
    /// # Errors
    ///
    /// When the NIC is gone.
    pub fn underlay_up(&self) -> Result<()> {
        self.ns.ip_batch(&format!(
            "link set {UNDERLAY} mtu {} up\n\
             addr replace {}/32 dev {UNDERLAY}\n\
             addr replace {}/128 dev {UNDERLAY}\n\
             route replace {GATEWAY_V4} dev {UNDERLAY} scope link\n\
             route replace default via {GATEWAY_V4} dev {UNDERLAY}\n\
             route replace default via {GATEWAY_V6} dev {UNDERLAY}\n",
            self.mtu, self.v4, self.v6
        ))
    }
}

/// Joins two hosts by a plain veth pair with the same name at both ends, without any tunnel: for
/// trying routing peers against each other.
///
/// # Errors
///
/// When the link cannot be made.
pub fn plain_link(a: &Host, b: &Host, name: &str) -> Result<()> {
    a.ns.run([
        "ip",
        "link",
        "add",
        name,
        "type",
        "veth",
        "peer",
        "name",
        name,
        "netns",
        b.ns.name(),
    ])?;
    for host in [a, b] {
        host.ns.run(["ip", "link", "set", name, "up"])?;
    }
    Ok(())
}
