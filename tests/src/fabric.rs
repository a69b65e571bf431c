//! Routers of several areas: ours, FRR's and BIRD's, each set up from the same description.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    bird::Bird,
    cloud::Host,
    config::{NodeConfig, router_id},
    daemon::Daemon,
    frr::Frr,
    lab::{Lab, PATIENCE, wait_for},
    routing::{External, OspfLink, RouterConfig, differences},
    trio::{Member, Speaker},
};

/// A router before it is started.
#[derive(Debug)]
pub struct Router {
    /// Its pseudowires.
    pub config: NodeConfig,
    /// What speaks OSPF on it.
    pub speaker: Speaker,
    /// The area of its own address.
    pub home: Ipv4Addr,
    /// The areas of its tunnels, by name; those not named are in the backbone.
    pub areas: Vec<(String, Ipv4Addr)>,
    /// Which areas are stub areas.
    pub stub_areas: Vec<Ipv4Addr>,
    /// On broadcast networks, its priority.
    pub priority: Option<u8>,
    /// A prefix that it brings in from outside.
    pub external: Option<External>,
    /// An address on its tunnels, with prefix length.
    pub segment: Option<String>,
}

impl Router {
    /// A router in the backbone.
    ///
    /// # Errors
    ///
    /// When the lab's folders cannot be made.
    pub fn new(lab: &Lab, host: &Arc<Host>, speaker: Speaker) -> Result<Self> {
        let config = match speaker {
            Speaker::L2ha => NodeConfig::new(lab, host)?,
            Speaker::Frr | Speaker::Bird => NodeConfig::tunnels_only(lab, host)?,
        };
        Ok(Self {
            config,
            speaker,
            home: Ipv4Addr::UNSPECIFIED,
            areas: Vec::new(),
            stub_areas: Vec::new(),
            priority: None,
            external: None,
            segment: None,
        })
    }

    /// The address only it has: 2001:db8::n.
    pub fn address(host: &Host) -> Ipv6Addr {
        let [.., number] = host.v4.octets();
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number.into())
    }

    fn area_of(&self, tunnel: &str) -> Ipv4Addr {
        let area = self.areas.iter().find(|(name, _)| name == tunnel);
        area.map_or(Ipv4Addr::UNSPECIFIED, |(_, area)| *area)
    }

    /// Starts it; its host forwards.
    ///
    /// # Errors
    ///
    /// When something of it does not start.
    pub fn start(mut self, lab: &Lab) -> Result<Member> {
        let host = Arc::clone(&self.config.host);
        host.ns.sysctl("net/ipv6/conf/all/forwarding", "1")?;
        let own = Self::address(&host);
        if !self.stub_areas.is_empty() {
            // FRR takes the host's own default route for better than any of OSPF's. The tunnels
            // do not need it: they are of IPv4.
            host.ns.run(["ip", "-6", "route", "del", "default"])?;
        }
        if let Some(external) = &self.external {
            // Protocol `boot`, which is a static route to us and a kernel route to FRR. BIRD has it
            // in its own configuration.
            if self.speaker != Speaker::Bird {
                let prefix = &external.prefix;
                host.ns
                    .run(["ip", "-6", "route", "add", prefix, "dev", "lo"])?;
            }
        }
        if self.speaker == Speaker::L2ha {
            self.write_ours(own);
        } else {
            host.ns
                .run(["ip", "addr", "add", &format!("{own}/128"), "dev", "lo"])?;
        }
        if let Some(segment) = &self.segment {
            for tunnel in &mut self.config.tunnels {
                tunnel.addresses = vec![segment.clone()];
            }
        }
        let daemon = Daemon::start(lab, self.config.clone())?;
        let links = self.config.tunnels.iter().map(|tunnel| OspfLink {
            area: self.area_of(&tunnel.name),
            priority: self.priority,
            ..OspfLink::new(&tunnel.interface, tunnel.cost)
        });
        let mut router = RouterConfig::new(router_id(&host), links.collect());
        router.stubs.push(own);
        router.home = self.home;
        router.stub_areas.clone_from(&self.stub_areas);
        router.external.clone_from(&self.external);
        let frr = (self.speaker == Speaker::Frr)
            .then(|| Frr::start(lab, &host, &router))
            .transpose()?;
        let bird = (self.speaker == Speaker::Bird)
            .then(|| Bird::start(lab, &host, &router))
            .transpose()?;
        Ok(Member::bare(host, daemon, frr, bird))
    }

    /// What the others get in their own configuration, in ours.
    fn write_ours(&mut self, own: Ipv6Addr) {
        self.config.own_addresses.push(own.into());
        for at in 0..self.config.tunnels.len() {
            let area = self.area_of(&self.config.tunnels[at].name);
            let more = &mut self.config.tunnels[at].more;
            more.push(format!("area = \"{area}\""));
            if let Some(priority) = self.priority {
                more.push("ospf_network = \"broadcast\"".into());
                more.push(format!("ospf_priority = {priority}"));
            }
        }
        for area in &self.stub_areas {
            let section = format!("\n[[ospf_areas]]\narea = \"{area}\"\nstub = true\n");
            self.config.more.push_str(&section);
        }
        if let Some(ospf) = &mut self.config.ospf {
            ospf.more.push(format!("area = \"{}\"", self.home));
            if let Some(external) = &self.external {
                let kind = if external.type1 { 1 } else { 2 };
                ospf.more.push("redistribute = [\"static\"]".into());
                ospf.more
                    .push(format!("redistribute_metric = {}", external.metric));
                ospf.more.push(format!("redistribute_type = {kind}"));
            }
        }
    }
}

/// Waits until all have the same LSAs in the database of an area (none: that of the AS), among them
/// one of each of these types; returns how many there are.
///
/// # Errors
///
/// With the differences, when that takes too long.
#[track_caller]
pub fn wait_same(members: &[&Member], area: Option<Ipv4Addr>, types: &[u16]) -> Result<usize> {
    let what = area.map_or("the AS".to_owned(), |area| format!("area {area}"));
    wait_for(&format!("one database of {what}"), PATIENCE, || {
        let mut first = None;
        for member in members {
            let mut lsas = member.database()?;
            // Area scope is 0x2000, AS scope 0x4000.
            let scope = if area.is_some() { 0x2000 } else { 0x4000 };
            lsas.retain(|lsa| lsa.area == area && lsa.ls_type & 0x6000 == scope);
            for wanted in types {
                ensure!(
                    lsas.iter().any(|lsa| lsa.ls_type == *wanted),
                    "{} has no LSA of type {wanted:#06x} in {what}: {lsas:x?}",
                    member.host.name
                );
            }
            let (name, reference) = first.get_or_insert_with(|| (&member.host.name, lsas.clone()));
            let different = differences(reference, &lsas);
            ensure!(
                different.is_empty(),
                "{what}: {name} (left) and {} (right): {different:#?}",
                member.host.name
            );
        }
        Ok(first.map(|(_, lsas)| lsas.len()))
    })
}

/// Waits until a router is Full with these and no other.
///
/// # Errors
///
/// With those it is Full with, when that takes too long.
#[track_caller]
pub fn wait_full(member: &Member, peers: &[&Member]) -> Result<()> {
    wait_for("every neighbour Full", PATIENCE, || {
        member
            .must_be_full(peers, Member::full_neighbours)
            .map(Some)
    })
}

/// Whether the kernel's best route to a destination leads over a device and is a routing daemon's.
///
/// # Errors
///
/// With the routes there are.
pub fn has_route(host: &Host, destination: &str, device: &str) -> Result<()> {
    has_paths(host, destination, &[device.to_owned()])
}

/// Whether the kernel's best route to a destination leads over all of these devices, sorted, and is a routing
/// daemon's.
///
/// # Errors
///
/// With the routes there are.
pub fn has_paths(host: &Host, destination: &str, wanted: &[String]) -> Result<()> {
    let routes = host.ns.ip_json(&["-6", "route", "show", destination])?;
    let list = routes.as_array().context("no list of routes")?;
    // FRR and we mark theirs `ospf`, BIRD `bird`.
    let daemons = ["ospf", "bird"];
    let theirs = list.iter().filter(|route| {
        let protocol = route["protocol"].as_str().unwrap_or_default();
        daemons.contains(&protocol)
    });
    let mut found: Vec<_> = theirs.map(devices).collect();
    found.iter_mut().for_each(|devices| devices.sort_unstable());
    ensure!(
        found == [wanted],
        "{}: the routes to {destination} are {routes}, not over {wanted:?}",
        host.name
    );
    Ok(())
}

/// The interfaces that a route in the output of `ip -json route` leads to.
#[must_use]
pub fn devices(route: &serde_json::Value) -> Vec<&str> {
    let several = route["nexthops"].as_array();
    let hops = several.map_or(std::slice::from_ref(route), Vec::as_slice);
    hops.iter().filter_map(|hop| hop["dev"].as_str()).collect()
}

/// Waits until the kernel has no route of a routing daemon's to a destination.
///
/// # Errors
///
/// With the routes there are, when that takes too long.
#[track_caller]
pub fn wait_unrouted(host: &Host, destination: &str) -> Result<()> {
    let what = format!("no route to {destination} on {}", host.name);
    wait_for(&what, PATIENCE, || {
        let routes = host.ns.ip_json(&["-6", "route", "show", destination])?;
        let text = routes.to_string();
        let routed = text.contains("\"ospf\"") || text.contains("\"bird\"");
        ensure!(!routed, "{text}");
        Ok(Some(()))
    })
}
