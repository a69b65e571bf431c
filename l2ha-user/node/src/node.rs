//! The node as a whole: brings the kernel to what the configuration says, and keeps it there.

use std::{
    collections::{BTreeSet, HashSet},
    net::IpAddr,
    time::Instant,
};

use anyhow::{Context as _, Result};
use config::{Config, Ospf};
use dataplane::Hook;
use linux::{
    Address,
    ethtool::{self, Offload, Queues},
};
use routing::Routing;

use crate::{
    detours::DetourMaps,
    journal::{MadeAddress, MadePair, MadeRoutes, WantedAddresses},
    ports::Held,
    repair::Kind,
    snapshot::Kernel,
    state::{Node, State, Underlay},
    tunnel,
};

impl Node {
    /// One pass: whatever is not as the configuration says is put right, the rest is not touched.
    pub(crate) async fn reconcile(&mut self) {
        if let Err(error) = self.remove_leftovers().await {
            tracing::error!(
                error = format!("{error:#}"),
                "cannot remove what is no longer wanted"
            );
        }
        if let Err(error) = self.holder.hold(&Held::of(&self.config)) {
            tracing::error!(
                error = format!("{error:#}"),
                "cannot hold the underlay's ports"
            );
        }
        match Kernel::read(&self.netlink).await {
            Ok(kernel) => self.put_right(kernel).await,
            Err(error) => tracing::error!(%error, "cannot look at the kernel; trying again"),
        }
        self.tell_routing();
        if let Err(error) = self.plane.settle() {
            tracing::warn!(
                error = format!("{error:#}"),
                "sessions are found more slowly than they could be"
            );
        }
        self.repairs.start();
        // What is due and still there could not be removed: later again.
        let now = Instant::now();
        for until in self.leaving.values_mut().filter(|until| **until <= now) {
            *until = now + routing::STOP_GRACE;
        }
    }

    /// The part of a pass that works from one look at the kernel.
    async fn put_right(&mut self, mut kernel: Kernel) {
        if let Err(error) = self.look_at_underlay(&kernel).await {
            self.underlay_problem(Some(format!("{error:#}")));
        }
        if let Some(underlay) = self.underlay {
            self.ensure_tunnels(underlay, &mut kernel).await;
            match self.ensure_attached(underlay).await {
                Ok(()) => self.end_takeover(),
                Err(error) => self.underlay_problem(Some(format!("{error:#}"))),
            }
        }
        if let Err(error) = self.ensure_services(&kernel).await {
            tracing::error!(
                error = format!("{error:#}"),
                "cannot put the services' addresses in place"
            );
        }
    }

    /// Whether the program that was attached to the underlay still is. Cheap enough to be asked
    /// between notifications: a bpf_link can be detached without one.
    pub(crate) fn still_attached(&self) -> bool {
        self.attached.is_none() || self.plane.underlay_attached().unwrap_or(false)
    }

    /// Finds the underlay and says what is wrong with it.
    async fn look_at_underlay(&mut self, kernel: &Kernel) -> Result<()> {
        let wanted = &self.config.underlay;
        let Some(link) = kernel.link(&wanted.interface) else {
            self.underlay = None;
            let problem = format!("interface {} is not there", wanted.interface);
            self.underlay_problem(Some(problem));
            return Ok(());
        };
        let missing: Vec<String> = wanted
            .addresses
            .iter()
            .filter(|address| !kernel.holds(link.index, **address))
            .map(IpAddr::to_string)
            .collect();
        let problem = if !link.running {
            Some(format!("interface {} is down", link.name))
        } else if !missing.is_empty() {
            Some(format!(
                "{} lacks its address {}",
                link.name,
                missing.join(", ")
            ))
        } else {
            None
        };
        self.underlay = Some(Underlay {
            index: link.index,
            mtu: link.mtu,
        });
        if problem.is_none() && self.underlay_problem.is_some() {
            self.netlink.forget_silent_neighbours(link.index).await?;
        }
        self.underlay_problem(problem);
        Ok(())
    }

    /// Records the underlay's state; a change is logged, once.
    fn underlay_problem(&mut self, problem: Option<String>) {
        if self.underlay_problem == problem {
            return;
        }
        let interface = &self.config.underlay.interface;
        match (&problem, &self.underlay_problem) {
            (Some(problem), _) => tracing::warn!(interface, "underlay: {problem}"),
            (None, Some(before)) => {
                tracing::warn!(interface, "underlay: works again (was: {before})")
            }
            (None, None) => {}
        }
        self.underlay_problem = problem;
    }

    async fn ensure_tunnels(&mut self, underlay: Underlay, kernel: &mut Kernel) {
        if let Err(error) = self.write_down(kernel) {
            tracing::error!(
                error = format!("{error:#}"),
                "cannot write down what is about to be made"
            );
            return;
        }
        for tunnel in self.config.tunnels.clone() {
            let state = match self.ensure_tunnel(&tunnel, &underlay, kernel).await {
                Ok(up) => State::Up(Box::new(up)),
                Err(error) => State::Failed(format!("{error:#}")),
            };
            let before = self.tunnels.get(&tunnel.name);
            match (&state, before) {
                (State::Failed(now), Some(State::Failed(before))) if now == before => {}
                (State::Failed(error), _) => {
                    tracing::error!(
                        tunnel = tunnel.name,
                        error,
                        "tunnel is not in place; trying again"
                    );
                }
                (State::Up(_), Some(State::Failed(_))) => {
                    tracing::warn!(tunnel = tunnel.name, "tunnel is in place again");
                }
                (State::Up(_), _) => {}
            }
            self.tunnels.insert(tunnel.name, state);
        }
    }

    /// Endpoints and the program on the underlay: last, so that its first packet finds a session.
    async fn ensure_attached(&mut self, underlay: Underlay) -> Result<()> {
        self.plane.set_endpoints(&tunnel::endpoints(&self.config))?;
        if self.attached.is_none() || !self.still_attached() {
            self.attach(underlay).await?;
        }
        self.ensure_merging()
    }

    /// A veth gives what it receives to GRO only when the sending end would not have kept it
    /// whole; received frames are sent into the hidden end. With XDP they were merged before.
    ///
    /// Each queue of the underlay goes on to one of the virtual interface, so that what the NIC has
    /// spread over the processors stays spread.
    fn ensure_merging(&self) -> Result<()> {
        let merged = self
            .attached
            .as_ref()
            .is_some_and(|it| it.hook == Hook::Xdp);
        // A driver that does not say has one.
        let queues = ethtool::channels(&self.config.underlay.interface)
            .map_or(1, |channels| channels.receiving().max(1));
        for tunnel in &self.config.tunnels {
            let hidden = &tunnel.hidden;
            if ethtool::is_on(hidden, Offload::Tso)? != merged {
                ethtool::set(hidden, Offload::Tso, merged)
                    .with_context(|| format!("cannot switch TSO of {hidden}"))?;
            }
            for (end, direction) in [(&tunnel.interface, Queues::Rx), (hidden, Queues::Tx)] {
                ethtool::set_queues(end, direction, queues)
                    .with_context(|| format!("cannot set how many queues {end} has"))?;
            }
        }
        Ok(())
    }

    /// Removes from the maps what an earlier daemon or configuration left there: after everything
    /// else, when no packet needs it any more.
    fn end_takeover(&mut self) {
        let ids: HashSet<u32> = self
            .config
            .tunnels
            .iter()
            .map(|tunnel| tunnel.session_id)
            .collect();
        if self.kept.as_ref() == Some(&ids) {
            return;
        }
        match self.plane.keep_only(&ids) {
            Ok(removed) => {
                if removed > 0 {
                    tracing::info!(removed, "sessions removed that are no longer configured");
                }
                self.kept = Some(ids);
            }
            Err(error) => tracing::error!(
                error = format!("{error:#}"),
                "cannot remove what is left of an earlier configuration"
            ),
        }
    }

    /// Puts the services' addresses on the loopback.
    async fn ensure_services(&mut self, kernel: &Kernel) -> Result<()> {
        if self.config.services.is_empty() {
            self.services.clear();
            return Ok(());
        }
        let loopback = kernel
            .link("lo")
            .context("this namespace has no interface lo")?;
        if !loopback.up {
            self.repairs
                .found(Kind::Service, "lo", "the loopback is down, setting it up");
            self.netlink.set_up(loopback).await?;
        }
        let mut in_place = BTreeSet::new();
        for service in &self.config.services {
            let address = Address {
                interface: loopback.index,
                address: service.address,
                prefix_len: service.prefix_len(),
            };
            if !kernel.has(&address) {
                let what = format!("{} is missing on lo, adding it", service.address);
                self.repairs.found(Kind::Service, &service.name, &what);
                let made = MadeAddress::of(service);
                self.made.update(|list| {
                    list.addresses.insert(made);
                })?;
                self.netlink.add_address(&address).await?;
            }
            in_place.insert(service.name.clone());
        }
        self.services = in_place;
        Ok(())
    }

    /// Removes what was made for an earlier configuration.
    async fn remove_leftovers(&mut self) -> Result<()> {
        let list = self.made.list.clone();
        let interfaces: HashSet<&str> = self
            .config
            .tunnels
            .iter()
            .map(|tunnel| tunnel.interface.as_str())
            .collect();
        let pairs: Vec<MadePair> = list
            .pairs
            .iter()
            .filter(|pair| !interfaces.contains(pair.visible.as_str()))
            .cloned()
            .collect();
        // Sessions go at the end of the pass: one that moves to another id shall lose nothing.
        let names: HashSet<&str> = self
            .config
            .tunnels
            .iter()
            .map(|tunnel| tunnel.name.as_str())
            .collect();
        self.tunnels.retain(|name, _| names.contains(name.as_str()));
        for pair in &pairs {
            self.repairs.found(
                Kind::Leftover,
                &pair.visible,
                "virtual interface is no longer configured, removing it",
            );
        }
        self.remove_pairs(&pairs).await?;
        let addresses = self.unwanted_addresses();
        for address in &addresses {
            self.repairs.found(
                Kind::Leftover,
                &address.interface,
                &format!("{} is no longer configured, removing it", address.address),
            );
        }
        self.remove_addresses(&addresses).await?;
        let routes = self.config.ospf.as_ref().map(|ospf| MadeRoutes {
            table: ospf.table,
            priority: ospf.route_metric,
        });
        for place in &list.routes {
            if Some(place) != routes.as_ref() {
                routing::remove_routes(&self.netlink, place.table, place.priority).await?;
                self.made.update(|list| {
                    list.routes.remove(place);
                })?;
            }
        }
        if let Some(routes) = routes {
            self.made.update(|list| {
                list.routes.insert(routes);
            })?;
        }
        Ok(())
    }

    /// The addresses that are to be removed now. Those of services are withdrawn first, and stay while
    /// neighbours still send to them.
    fn unwanted_addresses(&mut self) -> Vec<MadeAddress> {
        let wanted = WantedAddresses::of(&self.config);
        self.leaving.retain(|address, _| !wanted.has(address));
        let now = Instant::now();
        let unwanted = self.made.list.addresses.iter();
        let unwanted = unwanted.filter(|address| !wanted.has(address));
        let due = unwanted.filter(|address| {
            if self.routing.is_none() || !address.is_service() {
                return true;
            }
            let until = self.leaving.entry((*address).clone()).or_insert_with(|| {
                tracing::info!(address = %address.address, "no longer a service: withdrawn");
                now + routing::STOP_GRACE
            });
            *until <= now
        });
        due.cloned().collect()
    }

    /// When the next pass is due by itself.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.leaving.values().min().copied()
    }

    /// Takes addresses away that the daemon had put on interfaces.
    async fn remove_addresses(&mut self, addresses: &[MadeAddress]) -> Result<()> {
        if addresses.is_empty() {
            return Ok(());
        }
        let kernel = Kernel::read(&self.netlink).await?;
        for made in addresses {
            if let Some(link) = kernel.link(&made.interface) {
                self.netlink
                    .delete_address(&Address {
                        interface: link.index,
                        address: made.address,
                        prefix_len: made.prefix_len,
                    })
                    .await?;
            }
        }
        self.made.update(|list| {
            for made in addresses {
                list.addresses.remove(made);
            }
        })?;
        self.leaving.retain(|made, _| !addresses.contains(made));
        Ok(())
    }

    /// Tells the routing thread which interfaces and prefixes there are.
    fn tell_routing(&mut self) {
        let Some(routing) = &self.routing else {
            return;
        };
        let interfaces = self.config.tunnels.iter().filter_map(|tunnel| {
            let ospf = tunnel.ospf?;
            match self.tunnels.get(&tunnel.name)? {
                State::Up(up) => Some(routing::Interface {
                    name: tunnel.interface.clone(),
                    index: up.interface,
                    link_local: up.link_local,
                    mtu: u16::try_from(up.mtu).unwrap_or(u16::MAX),
                    area: ospf.area,
                    network: ospf.network,
                    priority: ospf.priority,
                    cost: ospf.cost,
                    bfd: ospf.bfd,
                    bfd_keys: self.config.bfd_keys(&tunnel.name),
                    keys: self.config.key_chain(&tunnel.name),
                    prefixes: up.prefixes.clone(),
                }),
                State::Failed(_) => None,
            }
        });
        let services = self
            .config
            .services
            .iter()
            .filter(|service| self.services.contains(&service.name))
            .map(|service| routing::HostPrefix {
                address: service.address,
                metric: service.metric,
            });
        let endpoints = self.config.tunnels.iter();
        let endpoints = endpoints.flat_map(|tunnel| [tunnel.local, tunnel.remote]);
        routing.sync(routing::Desired {
            ipv4: self.config.ospf.as_ref().and_then(|ospf| ospf.ipv4),
            interfaces: interfaces.collect(),
            services: services.collect(),
            home: self.config.home_area(),
            areas: self.config.ospf_areas.clone(),
            reserved: self
                .config
                .services
                .iter()
                .map(|service| service.address)
                .chain(self.leaving.keys().map(|made| made.address))
                .collect(),
            endpoints: endpoints.collect(),
            underlay: self.underlay.map(|underlay| underlay.index),
        });
    }

    /// Starts the routing thread if the configuration wants one.
    pub(crate) fn start_routing(&mut self) -> Result<()> {
        self.routing = match &self.config.ospf {
            Some(ospf) => {
                let node = &self.config.node;
                let memory = node.run_dir.join(format!("{}.ospf.json", node.name));
                let detours = DetourMaps::open(&node.pins());
                let routing = Routing::start(ospf.clone(), &memory, detours);
                let mut routing = routing.context("cannot start OSPF")?;
                self.drained |= routing.was_drained();
                if self.drained {
                    tracing::warn!(
                        "drained: this node is the last resort until `l2ha drain --off`"
                    );
                    routing.drain(true)?;
                }
                Some(routing)
            }
            None => {
                self.drained = false;
                None
            }
        };
        Ok(())
    }

    /// Makes the node the last resort, or ends that. Whether that is a change.
    pub(crate) fn drain(&mut self, on: bool) -> Result<bool> {
        let routing = self
            .routing
            .as_mut()
            .context("OSPF is not configured, so there is nothing to drain")?;
        routing.drain(on)?;
        let changed = self.drained != on;
        self.drained = on;
        if changed {
            tracing::warn!(
                "{}",
                if on {
                    "drained: others serve what they can in place of this node"
                } else {
                    "no longer drained: this node serves again"
                }
            );
        }
        Ok(changed)
    }

    /// Takes a new configuration. Nothing has been changed when this fails.
    pub(crate) async fn reload(&mut self, config: Config) -> Result<()> {
        anyhow::ensure!(
            config.node == self.config.node
                && config.underlay.interface == self.config.underlay.interface,
            "[node] and [underlay].interface cannot change while running: restart the daemon"
        );
        // Whether IPv4 is routed can change without IPv6 hearing of it.
        let without_ipv4 = |config: &Config| {
            let ospf = config.ospf.clone();
            ospf.map(|ospf| Ospf { ipv4: None, ..ospf })
        };
        let ospf_changed = without_ipv4(&config) != without_ipv4(&self.config);
        let mode_changed = config.underlay.mode != self.config.underlay.mode;
        self.config = config;
        if ospf_changed {
            tracing::warn!("[ospf] has changed: starting OSPF anew, adjacencies come up again");
            if let Some(routing) = self.routing.take() {
                routing.stop().await;
            }
            self.start_routing()?;
        }
        if mode_changed {
            self.attached = None;
            self.proven = false;
            self.no_xdp = None;
        }
        self.cut_off = None;
        self.reconcile().await;
        Ok(())
    }

    /// The end before a restart: the neighbours are told, and everything stays in its place.
    pub(crate) async fn leave(mut self) {
        if let Some(routing) = self.routing.take() {
            routing.leave().await;
        }
    }

    /// The clean stop: withdraw, let the neighbours move, then remove everything that was made.
    pub(crate) async fn stop(mut self) -> Result<()> {
        if let Some(routing) = self.routing.take() {
            routing.stop().await;
        }
        let list = self.made.list.clone();
        let addresses: Vec<MadeAddress> = list.addresses.iter().cloned().collect();
        self.remove_addresses(&addresses).await?;
        self.plane.unload().context("cannot remove the programs")?;
        let kernel = Kernel::read(&self.netlink).await?;
        for link in list.clsact.iter().filter_map(|name| kernel.link(name)) {
            self.netlink.remove_unused_clsact(link.index).await?;
        }
        let pairs: Vec<MadePair> = list.pairs.iter().cloned().collect();
        self.remove_pairs(&pairs).await?;
        self.made.forget();
        Ok(())
    }
}
