//! Two servers and a client: the smallest network in which an anycast address outlives a server.
//!
//! Every host runs `l2ha`, which carries the pseudowires. Who speaks OSPF over them differs: `l2ha`
//! itself, or FRR or BIRD on top of it.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    beats::{Beats, Echo},
    bird::Bird,
    cloud::{Cloud, CloudOptions, Host},
    config::{Link, NodeConfig, Outer, join, router_id},
    daemon::Daemon,
    frr::Frr,
    http::HttpServer,
    lab::{Lab, wait_for},
    probe::{Probe, ProbeOptions},
    routing::{LsaKey, OspfLink, RouterConfig},
};

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

/// Id of the key with which packets are signed.
const KEY_ID: u16 = 7;
/// Its secret.
const KEY: &str = "a-key-for-the-lab";

/// Who speaks OSPF on a host.
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
    /// Who speaks OSPF on both servers.
    pub servers: Speaker,
    /// Who speaks OSPF on the client.
    pub client: Speaker,
    /// The tunnels' form; its costs are ignored.
    pub link: Link,
    /// Whether the servers are joined by a tunnel, too.
    pub mesh: bool,
    /// Whether OSPF packets are signed.
    pub signed: bool,
    /// Intervals of BFD: milliseconds and a multiplier.
    pub bfd: Option<(f64, u8)>,
    /// How BFD's packets are signed, if they are.
    pub bfd_algorithm: Option<&'static str>,
    /// Whether IPv4 is routed too, and how.
    pub ipv4: Option<Ipv4Links>,
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
            signed: false,
            bfd: None,
            bfd_algorithm: None,
            ipv4: None,
            sysctls: &[],
        }
    }
}

/// One host of the trio and what runs on it.
#[derive(Debug)]
pub struct Member {
    /// The host.
    pub host: Arc<Host>,
    /// Its daemon.
    pub daemon: Arc<Daemon>,
    /// Its FRR, if that is what speaks OSPF.
    pub frr: Option<Arc<Frr>>,
    /// Its BIRD, if that is what speaks OSPF.
    pub bird: Option<Arc<Bird>>,
    web: Option<HttpServer>,
    echoes: [Option<Echo>; 2],
}

/// The running trio.
#[derive(Debug)]
pub struct Trio {
    /// The cloud between them.
    pub cloud: Arc<Cloud>,
    /// The server the client prefers.
    pub first: Member,
    /// The server that takes over.
    pub second: Member,
    /// The client.
    pub client: Member,
}

impl Trio {
    /// Builds the trio and starts everything in it; whether they become neighbours is for
    /// [`Trio::wait_full`].
    ///
    /// # Errors
    ///
    /// When something in it does not start.
    pub fn start(lab: &Lab, options: TrioOptions) -> Result<Self> {
        let cloud_options = CloudOptions {
            carries_l2tp: options.link.outer == Outer::Ip,
            ..CloudOptions::default()
        };
        let names = [SERVER_1, SERVER_2, "client"];
        let (cloud, hosts) = lab.cloud(cloud_options, &names)?;
        for host in &hosts {
            for (name, value) in options.sysctls {
                host.ns.sysctl(name, value)?;
            }
        }
        let mut configs = hosts
            .iter()
            .zip([options.servers, options.servers, options.client])
            .map(|(host, speaker)| match speaker {
                Speaker::L2ha => NodeConfig::new(lab, host),
                Speaker::Frr | Speaker::Bird => NodeConfig::tunnels_only(lab, host),
            })
            .collect::<Result<Vec<_>>>()?;
        let [first, second, client] = &mut configs[..] else {
            unreachable!("three names make three hosts")
        };
        let cost = |cost| Link {
            costs: (cost, cost),
            ..options.link
        };
        // The client's cheaper way leads to the first server.
        join(first, client, cost(10))?;
        join(second, client, cost(20))?;
        if options.mesh {
            join(first, second, cost(10))?;
        }
        for (node, speaker, name, address, address4) in [
            (first, options.servers, "web", ANYCAST, ANYCAST4),
            (second, options.servers, "web", ANYCAST, ANYCAST4),
            (client, options.client, "self", CLIENT, CLIENT4),
        ] {
            if speaker == Speaker::L2ha {
                node.services.push((name.into(), address));
                if options.ipv4.is_some() {
                    let service = format!("name = \"v4\"\naddress = \"{address4}\"\n");
                    node.more.push_str(&format!("\n[[services]]\n{service}"));
                }
            }
        }
        if options.ipv4 == Some(Ipv4Links::Numbered) {
            number(&mut configs);
        }
        if options.signed {
            for node in &mut configs {
                node.key = Some((KEY_ID, KEY.into()));
                node.key_as_frr = [options.servers, options.client].contains(&Speaker::Frr);
            }
        }
        for node in &mut configs {
            node.bfd_algorithm = options.bfd_algorithm;
            if let Some(ospf) = &mut node.ospf {
                ospf.bfd = options.bfd.map(|(ms, times)| format!("{ms}x{times}"));
            }
        }
        let mut members = Vec::new();
        let speakers = [options.servers, options.servers, options.client];
        for (config, speaker) in configs.into_iter().zip(speakers) {
            members.push(Member::start(lab, config, speaker, options)?);
        }
        let (Some(client), Some(second), Some(first)) =
            (members.pop(), members.pop(), members.pop())
        else {
            unreachable!("three hosts make three members")
        };
        Ok(Self {
            cloud,
            first,
            second,
            client,
        })
    }

    /// The members, servers first.
    pub fn members(&self) -> [&Member; 3] {
        [&self.first, &self.second, &self.client]
    }

    /// Waits until every member is Full with every neighbour it has a tunnel to.
    ///
    /// # Errors
    ///
    /// When that takes longer; the text says who has which neighbours.
    pub fn wait_full(&self, timeout: Duration) -> Result<()> {
        wait_for("every neighbour Full", timeout, || {
            for member in self.members() {
                let mut full = member.full_neighbours()?;
                full.sort();
                let mut wanted = member.wanted_neighbours(&self.members());
                wanted.sort();
                ensure!(
                    full == wanted,
                    "{} is Full with {full:?} and not with {wanted:?}",
                    member.host.name
                );
            }
            Ok(Some(()))
        })
    }

    /// As [`Trio::wait_full`], in the instances that route IPv4.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn wait_full_ipv4(&self, timeout: Duration) -> Result<()> {
        wait_for("every neighbour Full for IPv4", timeout, || {
            for member in self.members() {
                let mut full = member.full_neighbours_ipv4()?;
                full.sort();
                let mut wanted = member.wanted_neighbours(&self.members());
                wanted.sort();
                ensure!(
                    full == wanted,
                    "{} is Full with {full:?} and not with {wanted:?}",
                    member.host.name
                );
            }
            Ok(Some(()))
        })
    }

    /// Waits until every BFD session of our daemons and of FRR's is up: from then on a silent cut is noticed
    /// in milliseconds. BIRD's have one of those at the other end.
    ///
    /// # Errors
    ///
    /// When that takes longer; the text says how many are up.
    pub fn wait_watched(&self, timeout: Duration) -> Result<()> {
        for member in self.members() {
            let wanted = member.wanted_neighbours(&self.members()).len();
            let name = &member.host.name;
            wait_for("every BFD session up", timeout, || {
                let up = match (member.speaker(), &member.frr) {
                    (Speaker::L2ha, _) => {
                        let sessions = member.daemon.bfd_sessions()?;
                        let count = sessions.len();
                        ensure!(count == wanted, "{name} has {count} of {wanted} sessions");
                        sessions.iter().filter(|it| it["state"] == "up").count()
                    }
                    (_, Some(frr)) => frr.bfd_sessions_up()?,
                    (_, None) => return Ok(Some(())),
                };
                ensure!(up == wanted, "{name}: {up} of {wanted} sessions are up");
                Ok(Some(()))
            })?;
        }
        Ok(())
    }

    /// Starts to ask the anycast address every millisecond and waits until the preferred server
    /// answers.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub fn beats(&self) -> Result<Beats> {
        let start = Instant::now();
        let beats = Beats::start(&self.client.host.ns, ANYCAST)?;
        beats.wait_served_by(SERVER_1, start, 100, Duration::from_secs(30))?;
        Ok(beats)
    }

    /// As [`Trio::beats`], by IPv4.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn beats_ipv4(&self) -> Result<Beats> {
        let start = Instant::now();
        let beats = Beats::start(&self.client.host.ns, ANYCAST4)?;
        beats.wait_served_by(SERVER_1, start, 100, Duration::from_secs(30))?;
        Ok(beats)
    }

    /// Starts to fetch from the anycast address on the client and waits until the preferred server
    /// answers.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub fn probe(&self) -> Result<Probe> {
        self.probe_with(ProbeOptions::default())
    }

    /// As [`Trio::probe`], with another pace.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn probe_with(&self, options: ProbeOptions) -> Result<Probe> {
        let start = Instant::now();
        let probe = Probe::start(&self.client.host.ns, ANYCAST, options)?;
        probe.wait_served_by(SERVER_1, start, 20, Duration::from_secs(30))?;
        Ok(probe)
    }
}

/// Gives every tunnel a network of its own: 10.9.n.0/30, with the lower host at the node that comes
/// first.
fn number(nodes: &mut [NodeConfig]) {
    let names: Vec<String> = nodes.iter().map(|node| node.host.name.clone()).collect();
    for (here, node) in nodes.iter_mut().enumerate() {
        for tunnel in &mut node.tunnels {
            let Some(there) = names.iter().position(|name| *name == tunnel.name) else {
                continue;
            };
            let network = here.min(there) * 16 + here.max(there);
            let host = if here < there { 1 } else { 2 };
            tunnel.addresses.push(format!("10.9.{network}.{host}/30"));
        }
    }
}

impl Member {
    fn start(
        lab: &Lab,
        config: NodeConfig,
        speaker: Speaker,
        options: TrioOptions,
    ) -> Result<Self> {
        let host = Arc::clone(&config.host);
        let is_server = host.name.starts_with("server");
        let daemon = Daemon::start(lab, config.clone())?;
        let links = config
            .tunnels
            .iter()
            .map(|tunnel| OspfLink::new(&tunnel.interface, tunnel.cost));
        let mut router = RouterConfig::new(router_id(&host), links.collect());
        let own = if is_server { ANYCAST } else { CLIENT };
        router.stubs.push(own);
        router.key.clone_from(&config.key);
        router.bfd = options.bfd;
        router.bfd_algorithm = options.bfd_algorithm;
        let own4 = if is_server { ANYCAST4 } else { CLIENT4 };
        router.stubs4.extend(options.ipv4.map(|_| own4));
        if speaker != Speaker::L2ha {
            host.ns
                .run(["ip", "addr", "add", &format!("{own}/128"), "dev", "lo"])?;
            if options.ipv4.is_some() {
                let own4 = format!("{own4}/32");
                host.ns.run(["ip", "addr", "add", &own4, "dev", "lo"])?;
            }
        }
        let frr = (speaker == Speaker::Frr)
            .then(|| Frr::start(lab, &host, &router))
            .transpose()?;
        let bird = (speaker == Speaker::Bird)
            .then(|| Bird::start(lab, &host, &router))
            .transpose()?;
        let web = is_server
            .then(|| HttpServer::start(&host.ns, ANYCAST, &host.name))
            .transpose()?;
        let echo = is_server
            .then(|| Echo::start(&host.ns, ANYCAST, &host.name))
            .transpose()?;
        let echo4 = (is_server && options.ipv4.is_some())
            .then(|| Echo::start(&host.ns, ANYCAST4, &host.name))
            .transpose()?;
        Ok(Self {
            host,
            daemon,
            frr,
            bird,
            web,
            echoes: [echo, echo4],
        })
    }

    /// A host on which one of them speaks OSPF, and nothing is served.
    pub(crate) fn bare(
        host: Arc<Host>,
        daemon: Arc<Daemon>,
        frr: Option<Arc<Frr>>,
        bird: Option<Arc<Bird>>,
    ) -> Self {
        Self {
            host,
            daemon,
            frr,
            bird,
            web: None,
            echoes: [None, None],
        }
    }

    /// The router ids of the neighbours in state Full, by whoever speaks OSPF here.
    ///
    /// # Errors
    ///
    /// When that does not answer.
    pub fn full_neighbours(&self) -> Result<Vec<Ipv4Addr>> {
        if let Some(frr) = &self.frr {
            return frr.full_neighbours();
        }
        if let Some(bird) = &self.bird {
            return bird.full_neighbours();
        }
        self.daemon.full_neighbours()
    }

    /// As [`Member::full_neighbours`], in the instance that routes IPv4.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn full_neighbours_ipv4(&self) -> Result<Vec<Ipv4Addr>> {
        match &self.bird {
            Some(bird) => bird.full_neighbours_ipv4(),
            None => self.daemon.full_neighbours_ipv4(),
        }
    }

    /// As [`Member::database`], of the instance that routes IPv4.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn database_ipv4(&self) -> Result<Vec<LsaKey>> {
        match &self.bird {
            Some(bird) => bird.database_ipv4(),
            None => self.daemon.database_ipv4(),
        }
    }

    /// The link state database, by whoever speaks OSPF here.
    ///
    /// # Errors
    ///
    /// When that does not answer.
    pub fn database(&self) -> Result<Vec<LsaKey>> {
        if let Some(frr) = &self.frr {
            return frr.database();
        }
        if let Some(bird) = &self.bird {
            return bird.database();
        }
        self.daemon.database()
    }

    /// Who speaks OSPF here.
    pub fn speaker(&self) -> Speaker {
        match (&self.frr, &self.bird) {
            (Some(_), _) => Speaker::Frr,
            (_, Some(_)) => Speaker::Bird,
            _ => Speaker::L2ha,
        }
    }

    /// Stops FRR or BIRD in order.
    ///
    /// # Errors
    ///
    /// When it does not end, or when the daemon itself speaks OSPF here.
    pub fn stop_peer(&self) -> Result<()> {
        if let Some(frr) = &self.frr {
            return frr.stop();
        }
        let bird = self.bird.as_ref();
        bird.context("neither FRR nor BIRD runs here")?.stop()
    }

    /// Restarts FRR's ospf6d or BIRD gracefully; returns when the new one can be asked.
    ///
    /// # Errors
    ///
    /// When it does not end or start, or when the daemon itself speaks OSPF here.
    pub fn restart_peer_gracefully(&self) -> Result<()> {
        if let Some(frr) = &self.frr {
            return frr.restart_gracefully(&self.host);
        }
        let bird = self.bird.as_ref();
        let bird = bird.context("neither FRR nor BIRD runs here")?;
        bird.restart_gracefully(&self.host)
    }

    /// Requests this server's web server answered so far.
    pub fn served(&self) -> u64 {
        self.web.as_ref().map_or(0, HttpServer::served)
    }

    /// Questions this server had no route to answer by.
    pub fn unanswerable(&self) -> u64 {
        self.echoes.iter().flatten().map(Echo::refused).sum()
    }

    fn wanted_neighbours(&self, members: &[&Self]) -> Vec<Ipv4Addr> {
        let config = self.daemon.config();
        members
            .iter()
            .filter(|other| {
                config
                    .tunnels
                    .iter()
                    .any(|tunnel| tunnel.name == other.host.name)
            })
            .map(|other| router_id(&other.host))
            .collect()
    }
}
