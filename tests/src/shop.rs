//! Three servers and two clients: one service, whose processes are checked, behind one anycast address.

use std::{sync::Arc, time::Instant};

use anyhow::{Result, ensure};

use crate::{
    cloud::{CloudOptions, Host},
    config::{Link, NodeConfig, join},
    daemon::Daemon,
    lab::{Lab, PATIENCE, wait_for},
    probe::{Probe, ProbeOptions},
    trio::{ANYCAST, SERVER_1},
    web::WebServer,
};

/// The hosts; clients prefer the servers in this order.
const NAMES: [&str; 5] = ["server-1", "server-2", "server-3", "client-1", "client-2"];
/// How many of them are servers.
const SERVERS: usize = 3;
/// Answers in a row by which a server serves for good.
const IN_A_ROW: usize = 20;

/// The running shop.
#[derive(Debug)]
pub struct Shop {
    /// The servers, the preferred one first.
    pub servers: Vec<Seller>,
    /// The clients.
    pub clients: Vec<Arc<Host>>,
}

/// A server and its service.
#[derive(Debug)]
pub struct Seller {
    /// The daemon.
    pub daemon: Arc<Daemon>,
    /// The process of its service.
    pub service: WebServer,
}

impl Shop {
    /// Builds it: the service has these keys, beside name and address. Returns when every server's check passes
    /// and every neighbour is Full.
    ///
    /// # Errors
    ///
    /// When something does not start, or does not become healthy.
    pub fn start(lab: &Lab, keys: &str) -> Result<Self> {
        let (_, hosts) = lab.cloud(CloudOptions::default(), &NAMES)?;
        let configs = hosts.iter().map(|host| NodeConfig::new(lab, host));
        let mut servers = configs.collect::<Result<Vec<_>>>()?;
        let mut clients = servers.split_off(SERVERS);
        for (server, cost) in servers.iter_mut().zip([10, 20, 30]) {
            let link = Link {
                costs: (cost, cost),
                ..Link::default()
            };
            for client in &mut clients {
                join(server, client, link)?;
            }
            let service = format!("name = \"web\"\naddress = \"{ANYCAST}\"\n{keys}\n");
            server.more.push_str(&format!("\n[[services]]\n{service}"));
        }
        for (client, number) in clients.iter_mut().zip(1..) {
            let own = format!("2001:db8::c{number}");
            client.own_addresses.push(own.parse()?);
        }
        let mut daemons = Vec::new();
        let mut shop = Self {
            servers: Vec::new(),
            clients: hosts[SERVERS..].to_vec(),
        };
        for config in servers {
            let service = WebServer::new(lab, &config.host)?;
            service.run()?;
            let daemon = Daemon::start(lab, config)?;
            daemons.push(Arc::clone(&daemon));
            shop.servers.push(Seller { daemon, service });
        }
        for config in clients {
            daemons.push(Daemon::start(lab, config)?);
        }
        wait_for("every neighbour Full", PATIENCE, || {
            for daemon in &daemons {
                let (full, wanted) = (daemon.full_neighbours()?, daemon.config().tunnels.len());
                ensure!(full.len() == wanted, "{full:?} of {wanted}");
            }
            Ok(Some(()))
        })?;
        for server in &shop.servers {
            server.wait_state("passing", false)?;
        }
        Ok(shop)
    }

    /// Both clients begin to fetch from the anycast address; waits until the preferred server answers.
    ///
    /// # Errors
    ///
    /// When it does not.
    #[track_caller]
    pub fn probes(&self) -> Result<Vec<Probe>> {
        let from = Instant::now();
        let start = |client: &Arc<Host>| Probe::start(&client.ns, ANYCAST, ProbeOptions::default());
        let probes: Vec<Probe> = self.clients.iter().map(start).collect::<Result<_>>()?;
        Self::wait_served_by(&probes, SERVER_1, from)?;
        Ok(probes)
    }

    /// Waits until a server serves all clients.
    ///
    /// # Errors
    ///
    /// When it does not.
    #[track_caller]
    pub fn wait_served_by(probes: &[Probe], server: &str, since: Instant) -> Result<()> {
        for probe in probes {
            probe.wait_served_by(server, since, IN_A_ROW, PATIENCE)?;
        }
        Ok(())
    }
}

impl Seller {
    /// Waits until its service is in a state, and the last resort or not.
    ///
    /// # Errors
    ///
    /// With what `l2ha status` says of the service, when it does not come to be so.
    #[track_caller]
    pub fn wait_state(&self, state: &str, last_resort: bool) -> Result<()> {
        wait_for(&format!("a service that is {state}"), PATIENCE, || {
            let status = self.daemon.status()?;
            let service = &status["services"][0];
            let so = service["health"]["state"] == state && service["last_resort"] == last_resort;
            ensure!(so, "{service}");
            Ok(Some(()))
        })
    }
}
