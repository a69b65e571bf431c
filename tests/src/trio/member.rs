//! One host of the trio: what runs on it, and what that says.

use std::{
    net::Ipv4Addr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::options::{ANYCAST, ANYCAST4, CLIENT, CLIENT4, Speaker, TrioOptions};
use crate::{
    beats::Echo,
    bird::Bird,
    cloud::Host,
    config::{NodeConfig, router_id},
    daemon::Daemon,
    frr::Frr,
    http::HttpServer,
    lab::{Lab, PATIENCE, wait_for},
    routing::{LsaKey, OspfLink, RouterConfig},
    web::WebServer,
};

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
    /// Its Router ID.
    router_id: Ipv4Addr,
    /// The web server whose life decides whether this server's address is advertised.
    pub service: Option<WebServer>,
    echoes: [Option<Echo>; 2],
}

impl Member {
    pub(super) fn start(
        lab: &Lab,
        config: NodeConfig,
        speaker: Speaker,
        options: TrioOptions,
    ) -> Result<Self> {
        let host = Arc::clone(&config.host);
        let is_server = host.name.starts_with("server");
        let daemon = Daemon::start(lab, config.clone())?;
        let router_id = match config.cluster {
            // Derived from its name.
            Some(_) => daemon.router_id()?,
            None => router_id(&host),
        };
        let links = config
            .tunnels
            .iter()
            .map(|tunnel| OspfLink::new(&tunnel.interface, tunnel.cost));
        let mut router = RouterConfig::new(router_id, links.collect());
        let own = if is_server { ANYCAST } else { CLIENT };
        router.stubs.push(own);
        router.key.clone_from(&config.key);
        router.key_algorithm = config.key_algorithm;
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
        let checked = is_server && options.check.is_some();
        let service = checked.then(|| WebServer::new(lab, &host)).transpose()?;
        if let Some(service) = &service {
            service.run()?;
        }
        let web = (is_server && options.web && !checked)
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
            router_id,
            web,
            service,
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
            router_id: router_id(&host),
            host,
            daemon,
            frr,
            bird,
            web: None,
            service: None,
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
        let mut wanted: Vec<Ipv4Addr> = peers.iter().map(|peer| peer.router_id).collect();
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
