//! Two hosts in namespaces, joined by a veth pair of their own and one subject on it.
//!
//! Each subject has its own pair, or the others would pay for its programs on the underlay.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use l2ha_lab::{Daemon, Host, Lab, Link, NodeConfig, Outer, join, secret_file, wait_for};

use super::subject::Subject;

/// The underlay's interface on both sides.
pub(super) const UNDERLAY: &str = "eth0";
/// 8 bytes, as the documentation's examples have them: what each side expects.
pub(super) const COOKIES: [[u8; 8]; 2] = [
    *b"\xa1\xa2\xa3\xa4\xa5\xa6\xa7\xa8",
    *b"\xb1\xb2\xb3\xb4\xb5\xb6\xb7\xb8",
];
/// For a packet to come back.
const PATIENCE: Duration = Duration::from_secs(10);

/// Two hosts and what joins them.
pub(super) struct Pair {
    pub(super) subject: Subject,
    pub(super) hosts: [Arc<Host>; 2],
    /// The session ids that each host expects; unlike any other on the machine.
    pub(super) session_ids: [u32; 2],
    daemons: Vec<Arc<Daemon>>,
    lab: Lab,
}

/// What joins two hosts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wire {
    /// Leaves the checksum offload on.
    pub(super) offload: bool,
    /// Two queues instead of one, and a UDP source port for each flow in the tunnel.
    pub(super) spread: bool,
}

impl Pair {
    /// Makes it.
    pub(super) fn new(subject: Subject, wire: Wire, binary: &Path) -> Result<Self> {
        let lab = Lab::new("bench")?.with_binary(binary);
        let host = |name: &str, number: u8| {
            let v4 = Ipv4Addr::new(10, 8, 0, number);
            let v6 = Ipv6Addr::new(0xfd08, 0, 0, 0, 0, 0, 0, number.into());
            Host::new(name, v4, v6).map(Arc::new)
        };
        let hosts = [host("bench-a", 1)?, host("bench-b", 2)?];
        // 2^14 ids for each pair, so that none of 10,000 sessions is another pair's.
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let count = NUMBER.fetch_add(1, Ordering::Relaxed) % 16;
        let base = 0x8000_0000 | (std::process::id() % (1 << 13)) << 18 | count << 14;
        let mut pair = Self {
            subject,
            hosts,
            session_ids: [base, base + 1],
            daemons: Vec::new(),
            lab,
        };
        pair.underlay(wire)?;
        match subject {
            Subject::Plain => {}
            Subject::Vxlan => pair.vxlan()?,
            _ => pair.l2ha(wire)?,
        }
        pair.wait()
            .with_context(|| format!("{subject} does not work{}", pair.logs()))?;
        Ok(pair)
    }

    fn underlay(&self, wire: Wire) -> Result<()> {
        let [a, b] = self.hosts.each_ref().map(|host| &host.ns);
        // One queue each, where a core is compared: native XDP on veth wants as many here as there.
        let queues = if wire.spread { "2" } else { "1" };
        a.run([
            "ip",
            "link",
            "add",
            UNDERLAY,
            "numtxqueues",
            queues,
            "numrxqueues",
            queues,
            "type",
            "veth",
            "peer",
            "name",
            UNDERLAY,
            "numtxqueues",
            queues,
            "numrxqueues",
            queues,
            "netns",
            b.name(),
        ])?;
        for (host, number) in [(a, 1), (b, 2)] {
            host.ip_batch(&format!(
                "addr add 10.8.0.{number}/24 dev {UNDERLAY}\n\
                 addr add fd08::{number}/64 dev {UNDERLAY} nodad\n\
                 link set {UNDERLAY} up\n"
            ))?;
            let sums = if wire.offload { "on" } else { "off" };
            host.run(["ethtool", "-K", UNDERLAY, "gro", "on", "tx", sums])?;
        }
        Ok(())
    }

    fn vxlan(&self) -> Result<()> {
        for (host, mine, other) in [(&self.hosts[0], 1, 2), (&self.hosts[1], 2, 1)] {
            host.ns.ip_batch(&format!(
                "link add inner0 type vxlan id 7 local 10.8.0.{mine} remote 10.8.0.{other} \
                 dstport 4789 dev {UNDERLAY}\n\
                 addr add 10.8.1.{mine}/24 dev inner0\n\
                 link set inner0 up\n"
            ))?;
        }
        Ok(())
    }

    fn l2ha(&mut self, wire: Wire) -> Result<()> {
        let [a, b] = &self.hosts;
        let mut configs = [
            NodeConfig::tunnels_only(&self.lab, a)?,
            NodeConfig::tunnels_only(&self.lab, b)?,
        ];
        let [a, b] = &mut configs;
        let link = Link {
            v6: self.subject == Subject::L2haUdp6,
            outer: match self.subject {
                Subject::L2haIp => Outer::Ip,
                _ => Outer::Udp,
            },
            ..Link::default()
        };
        join(a, b, link)?;
        for ((side, other), mut config) in [(0, 1), (1, 0)].into_iter().zip(configs) {
            // XDP on veth drops what is not summed yet.
            let tc = wire.offload || self.subject == Subject::L2haTc;
            config.mode = if tc { "tc" } else { "xdp" }.into();
            let tunnel = &mut config.tunnels[0];
            tunnel.interface = "inner0".into();
            tunnel.session_id = self.session_ids[side];
            tunnel.peer_session_id = self.session_ids[other];
            tunnel.addresses = vec![format!("10.8.1.{}/24", side + 1)];
            if wire.spread {
                tunnel.more.push("source_port = \"flow\"".into());
            }
            let file = tunnel.receive_cookie.as_ref().context("no cookie")?;
            let cookie = COOKIES[side].map(|byte| format!("{byte:02x}"));
            secret_file(file, &cookie.concat())?;
            self.daemons.push(Daemon::prepare(&self.lab, config)?);
        }
        for daemon in &self.daemons {
            daemon.run()?;
        }
        Ok(())
    }

    /// Where the packets for a host of the pair go to: 0 or 1.
    pub(super) fn address(&self, side: u8) -> IpAddr {
        let net = match self.subject {
            Subject::Plain => 0,
            _ => 1,
        };
        Ipv4Addr::new(10, 8, net, side + 1).into()
    }

    /// Waits until a packet comes back.
    fn wait(&self) -> Result<()> {
        wait_for(&format!("a packet over {}", self.subject), PATIENCE, || {
            for daemon in &self.daemons {
                daemon.pid()?;
            }
            let there = self.address(1).to_string();
            let ping = ["ping", "-c", "1", "-W", "1", &there];
            self.hosts[0].ns.run(ping).map(Some)
        })?;
        Ok(())
    }

    /// The daemons' logs.
    fn logs(&self) -> String {
        let logs = self.daemons.iter().map(|daemon| daemon.log_since(0));
        let logs: String = logs.collect();
        logs.lines().map(|line| format!("\n  {line}")).collect()
    }
}
