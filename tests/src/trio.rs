//! Two servers and a client: the smallest network in which an anycast address outlives a server.
//!
//! Every host runs `l2ha`, which carries the pseudowires. What speaks OSPF over them differs: `l2ha`
//! itself, or FRR or BIRD on top of it.

mod member;
mod options;

use std::{sync::Arc, time::Instant};

use anyhow::{Result, ensure};

pub(crate) use self::member::FullNeighbours;
pub use self::{
    member::{Member, wait_quiet},
    options::{
        ANYCAST, ANYCAST4, CLIENT, CLIENT4, Ipv4Links, SERVER_1, SERVER_2, Speaker, TrioOptions,
    },
};
use crate::{
    beats::Beats,
    cloud::{Cloud, CloudOptions},
    cluster::{ClusterNode, cluster_file},
    config::{Link, NodeConfig, Outer, join, router_id},
    lab::{Lab, PATIENCE, wait_for},
    probe::{Probe, ProbeOptions},
};

/// Id of the key with which packets are signed.
const KEY_ID: u16 = 7;
/// Its secret.
const KEY: &str = "a-key-for-the-lab";

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
        for server in [first, second] {
            if let Some(check) = options.check {
                let service = format!("name = \"web\"\naddress = \"{ANYCAST}\"\n");
                let check = format!("check = {{ {check} }}\n");
                server
                    .more
                    .push_str(&format!("\n[[services]]\n{service}{check}"));
            } else if options.servers == Speaker::L2ha {
                server.services.push(("web".into(), ANYCAST));
            }
            if options.servers == Speaker::L2ha && options.ipv4.is_some() {
                let service = format!("name = \"v4\"\naddress = \"{ANYCAST4}\"\n");
                server.more.push_str(&format!("\n[[services]]\n{service}"));
            }
        }
        if options.client == Speaker::L2ha {
            client.own_addresses.push(CLIENT.into());
            if options.ipv4.is_some() {
                client.own_addresses.push(CLIENT4.into());
            }
        }
        if options.ipv4 == Some(Ipv4Links::Numbered) {
            number(&mut configs);
        }
        if let Some(algorithm) = options.signed {
            for node in &mut configs {
                node.key = Some((KEY_ID, KEY.into()));
                node.key_algorithm = algorithm;
            }
        }
        for node in &mut configs {
            node.bfd_algorithm = options.bfd_algorithm;
            if let Some(ospf) = &mut node.ospf {
                ospf.bfd = options.bfd.map(|(ms, times)| format!("{ms}x{times}"));
            }
        }
        if options.cluster {
            let mut service = format!("[[services]]\nname = \"web\"\naddress = \"{ANYCAST}\"\n");
            if let Some(check) = options.check {
                service.push_str(&format!("check = {{ {check} }}\n"));
            }
            let [first, second, client] = [0, 1, 2].map(|at| ClusterNode::new(&hosts[at]));
            let file = cluster_file(lab, &[first, second], &[client], &[], &service)?;
            for node in &mut configs {
                node.join_cluster(&file);
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
