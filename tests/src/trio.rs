//! Two servers and a client: the smallest network in which an anycast address outlives a server.
//!
//! Every host runs `l2ha`, which carries the pseudowires. What speaks OSPF over them differs: `l2ha`
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
    lab::{Lab, PATIENCE, wait_for},
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
    /// Whether OSPF packets are signed.
    pub signed: bool,
    /// Intervals of BFD: milliseconds and a multiplier.
    pub bfd: Option<(f64, u8)>,
    /// How BFD's packets are signed, if they are.
    pub bfd_algorithm: Option<&'static str>,
    /// Whether IPv4 is routed too, and how.
    pub ipv4: Option<Ipv4Links>,
    /// Whether the servers have a web server; without it the scenario starts its own.
    pub web: bool,
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
            web: true,
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
    options: TrioOptions,
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
            options,
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
    /// When that takes too long; the text says which neighbours a member has.
    #[track_caller]
    pub fn wait_full(&self) -> Result<()> {
        self.wait_full_in("every neighbour Full", Member::full_neighbours)
    }

    /// As [`Trio::wait_full`], in the instances that route IPv4.
    ///
    /// # Errors
    ///
    /// As there.
    #[track_caller]
    pub fn wait_full_ipv4(&self) -> Result<()> {
        self.wait_full_in(
            "every neighbour Full for IPv4",
            Member::full_neighbours_ipv4,
        )
    }

    #[track_caller]
    fn wait_full_in(&self, what: &str, full: FullNeighbours) -> Result<()> {
        wait_for(what, PATIENCE, || {
            for member in self.members() {
                member.must_be_full(&self.peers(member), full)?;
            }
            Ok(Some(()))
        })
    }

    /// The members to which a member has a tunnel.
    fn peers(&self, member: &Member) -> Vec<&Member> {
        let config = member.daemon.config();
        let joined = |other: &&Member| {
            let mut tunnels = config.tunnels.iter();
            tunnels.any(|tunnel| tunnel.name == other.host.name)
        };
        self.members().into_iter().filter(joined).collect()
    }

    /// Waits until every neighbour is Full in each family that is routed, and its BFD session up, if there is to be one.
    ///
    /// # Errors
    ///
    /// As [`Trio::wait_full`].
    #[track_caller]
    pub fn wait_up(&self) -> Result<()> {
        self.wait_full()?;
        if self.options.ipv4.is_some() {
            self.wait_full_ipv4()?;
        }
        if self.options.bfd.is_some() {
            self.wait_watched()?;
        }
        Ok(())
    }

    /// Waits until all adjacencies are up and count everywhere: each Router-LSA has all its links, BFD keeps its pace,
    /// and no database and no route to an anycast address has changed for as long as a neighbour may refuse a newer
    /// LSA. From then on nothing moves by itself.
    ///
    /// # Errors
    ///
    /// As [`Trio::wait_full`].
    #[track_caller]
    pub fn wait_settled(&self) -> Result<()> {
        self.wait_up()?;
        wait_for("every link in every Router-LSA", PATIENCE, || {
            for member in self.members() {
                self.must_have_every_link(member)?;
                self.must_keep_pace(member)?;
            }
            Ok(Some(()))
        })?;
        wait_quiet(&self.members())
    }

    /// Whether the Router-LSAs that a member of ours has describe all tunnels.
    fn must_have_every_link(&self, member: &Member) -> Result<()> {
        const ROUTER_LSA: u16 = 0x2001;
        // RFC 5340 A.4.3: the LSA's header, options, and a description of each link.
        const EMPTY: usize = 20 + 4;
        const LINK: usize = 16;
        if member.speaker() != Speaker::L2ha {
            return Ok(());
        }
        let mut databases = vec![member.daemon.database()?];
        if self.options.ipv4.is_some() {
            databases.push(member.daemon.database_ipv4()?);
        }
        for database in &databases {
            for author in self.members() {
                let id = router_id(&author.host);
                let mut lsas = database.iter();
                let lsa = lsas.find(|it| it.ls_type == ROUTER_LSA && it.router == id);
                let length = lsa.and_then(|lsa| lsa.length).map(usize::from);
                let whole = EMPTY + LINK * self.peers(author).len();
                ensure!(
                    length == Some(whole),
                    "{} has a Router-LSA of {} of {length:?} bytes, not of {whole}",
                    member.host.name,
                    author.host.name
                );
            }
        }
        Ok(())
    }

    /// Whether the BFD sessions of a member of ours have come to the interval that is configured.
    fn must_keep_pace(&self, member: &Member) -> Result<()> {
        let Some((ms, multiplier)) = self.options.bfd else {
            return Ok(());
        };
        if member.speaker() != Speaker::L2ha {
            return Ok(());
        }
        let wanted = (ms * 1000.0).round();
        for session in member.daemon.bfd_sessions()? {
            let us = |key: &str| session[key].as_f64().unwrap_or(f64::MAX);
            let paced = us("transmit_interval_us") <= wanted
                && us("detection_time_us") <= wanted * f64::from(multiplier);
            ensure!(paced, "{}: {session}", member.host.name);
        }
        Ok(())
    }

    /// Waits until every BFD session of our daemons and of FRR's is up: from then on a silent cut is noticed
    /// in milliseconds. BIRD's have one of those at the other end.
    ///
    /// # Errors
    ///
    /// When that takes too long; the text says how many are up.
    #[track_caller]
    pub fn wait_watched(&self) -> Result<()> {
        for member in self.members() {
            let wanted = self.peers(member).len();
            let name = &member.host.name;
            wait_for("every BFD session up", PATIENCE, || {
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
    #[track_caller]
    pub fn beats(&self) -> Result<Beats> {
        let start = Instant::now();
        let beats = Beats::start(&self.client.host.ns, ANYCAST)?;
        beats.wait_served_by(SERVER_1, start, 100, PATIENCE)?;
        Ok(beats)
    }

    /// As [`Trio::beats`], by IPv4.
    ///
    /// # Errors
    ///
    /// As there.
    #[track_caller]
    pub fn beats_ipv4(&self) -> Result<Beats> {
        let start = Instant::now();
        let beats = Beats::start(&self.client.host.ns, ANYCAST4)?;
        beats.wait_served_by(SERVER_1, start, 100, PATIENCE)?;
        Ok(beats)
    }

    /// Starts to fetch from the anycast address on the client and waits until the preferred server
    /// answers.
    ///
    /// # Errors
    ///
    /// When it does not.
    #[track_caller]
    pub fn probe(&self) -> Result<Probe> {
        self.probe_with(ProbeOptions::default())
    }

    /// As [`Trio::probe`], with another pace.
    ///
    /// # Errors
    ///
    /// As there.
    #[track_caller]
    pub fn probe_with(&self, options: ProbeOptions) -> Result<Probe> {
        let start = Instant::now();
        let probe = Probe::start(&self.client.host.ns, ANYCAST, options)?;
        probe.wait_served_by(SERVER_1, start, 20, PATIENCE)?;
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
        let web = (is_server && options.web)
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

    /// The router ids of the neighbours in state Full, as what speaks OSPF here says.
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

    /// The link state database, as what speaks OSPF here says.
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

    /// A counter of the daemon's OSPF by the names on its way in `l2ha status --json`; 0 for one that is not there yet.
    ///
    /// # Errors
    ///
    /// When the daemon does not answer.
    pub fn counter(&self, path: &[&str]) -> Result<u64> {
        let status = self.daemon.status()?;
        let counters = &status["ospf"]["counters"];
        let value = path.iter().fold(counters, |value, name| &value[name]);
        Ok(value.as_u64().unwrap_or(0))
    }

    /// Whether every neighbour of a daemon of ours has acknowledged what it was sent: FRR delays that by seconds, and
    /// until then its restart would not be helped.
    fn must_be_acknowledged(&self) -> Result<()> {
        if self.speaker() != Speaker::L2ha || self.daemon.pid().is_err() {
            return Ok(());
        }
        let neighbours = self.daemon.ospf("neighbors")?;
        for neighbour in neighbours.as_array().into_iter().flatten() {
            ensure!(
                neighbour["unacknowledged"] == 0,
                "{}: not acknowledged: {neighbour}",
                self.host.name
            );
        }
        Ok(())
    }

    /// What speaks OSPF here.
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

    /// Whether it is Full with these and no other.
    pub(crate) fn must_be_full(&self, peers: &[&Self], full: FullNeighbours) -> Result<()> {
        let mut full = full(self)?;
        full.sort();
        let mut wanted: Vec<Ipv4Addr> = peers.iter().map(|peer| router_id(&peer.host)).collect();
        wanted.sort();
        ensure!(
            full == wanted,
            "{} is Full with {full:?} and not with {wanted:?}",
            self.host.name
        );
        Ok(())
    }

    /// What of it changes while adjacencies come up: databases, and routes to anycast addresses.
    fn picture(&self) -> Result<String> {
        if self.speaker() == Speaker::L2ha && self.daemon.pid().is_err() {
            return Ok("stopped".to_owned());
        }
        let ns = &self.host.ns;
        let routes = [
            ns.ip_json(&["-6", "route", "show", &ANYCAST.to_string()])?,
            ns.ip_json(&["-4", "route", "show", &ANYCAST4.to_string()])?,
        ];
        let mut databases = vec![self.database()?];
        if self.frr.is_none() {
            // Empty where IPv4 is not routed.
            databases.extend(self.database_ipv4().ok());
        }
        Ok(format!("{routes:?} {databases:x?}"))
    }
}

/// How to ask a member for the neighbours it is Full with.
pub(crate) type FullNeighbours = fn(&Member) -> Result<Vec<Ipv4Addr>>;

/// For how long nothing may have changed: longer than a neighbour may refuse a newer LSA (MinLSArrival, 1 s).
const QUIET: Duration = Duration::from_millis(1200);

/// Waits until the databases of these members, and their routes to the anycast addresses, have not changed for a while.
///
/// # Errors
///
/// When that takes too long.
#[track_caller]
pub fn wait_quiet(members: &[&Member]) -> Result<()> {
    let mut last = (Vec::new(), Instant::now());
    wait_for("a network in which nothing changes", PATIENCE, || {
        let asked = Instant::now();
        let pictures = members
            .iter()
            .map(|member| member.picture())
            .collect::<Result<Vec<_>>>()?;
        if last.0 != pictures {
            last = (pictures, asked);
        }
        let since = last.1.elapsed();
        ensure!(since >= QUIET, "something has changed {since:.1?} ago");
        for member in members {
            member.must_be_acknowledged()?;
        }
        Ok(Some(()))
    })
}
