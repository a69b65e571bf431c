//! `l2ha explain`: everything that decides about a tunnel, a service or an address, in order, and where it stops.

use std::net::IpAddr;

use anyhow::{Result, bail};
use config::Config;
use control::{
    Explanation, HealthState, InFamily, OspfRoute, Problem, ServiceHealth, ServiceStatus, Step,
    Subject, TunnelStatus, Verdict,
};
use linux::{Netlink, Reachability};
use nix::net::if_::if_indextoname;
use ospfv3::NeighborState;

use crate::problems::Views;

/// What is explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum About {
    /// The tunnel of this name.
    Tunnel(String),
    /// The service of this name.
    Service(String),
    /// An address that is no service of this node.
    Address(IpAddr),
}

impl About {
    /// What somebody means by a word.
    ///
    /// # Errors
    ///
    /// When it is no tunnel, no service and no address; the text has the names that there are.
    pub(crate) fn find(config: &Config, word: &str) -> Result<Self> {
        let service = |wanted: &dyn Fn(&config::Service) -> bool| {
            let found = config.services.iter().find(|it| wanted(it));
            found.map(|it| Self::Service(it.name.clone()))
        };
        if config
            .tunnels
            .iter()
            .any(|it| it.name == word || it.interface == word)
        {
            let tunnel = config
                .tunnels
                .iter()
                .find(|it| it.name == word || it.interface == word);
            return Ok(Self::Tunnel(
                tunnel.map_or_else(String::new, |it| it.name.clone()),
            ));
        }
        if let Some(found) = service(&|it| it.name == word) {
            return Ok(found);
        }
        if let Ok(address) = word.parse::<IpAddr>() {
            if let Some(found) = service(&|it| it.address == address) {
                return Ok(found);
            }
            let remote = config.tunnels.iter().find(|it| it.remote == address);
            return Ok(remote.map_or(Self::Address(address), |it| Self::Tunnel(it.name.clone())));
        }
        let tunnels = config.tunnels.iter().map(|it| it.name.as_str());
        let services = config.services.iter().map(|it| it.name.as_str());
        let names: Vec<&str> = tunnels.chain(services).collect();
        bail!(
            "`{word}` is no tunnel, no service and no address; there are: {}",
            names.join(", ")
        )
    }
}

/// What is known, for all explanations.
pub(crate) struct Known<'a> {
    pub(crate) config: &'a Config,
    pub(crate) views: &'a Views,
    pub(crate) problems: &'a [Problem],
    pub(crate) routes: &'a [InFamily<OspfRoute>],
    pub(crate) netlink: &'a Netlink,
    pub(crate) drained: bool,
}

fn step(what: &str, verdict: Verdict, text: impl Into<String>) -> Step {
    Step {
        what: what.to_owned(),
        verdict,
        text: text.into(),
    }
}

impl Known<'_> {
    /// Explains.
    pub(crate) async fn explain(&self, about: &About) -> Explanation {
        let (title, subjects, steps) = match about {
            About::Tunnel(name) => {
                let subject = Subject::Tunnel(name.clone());
                (
                    format!("tunnel {name}"),
                    vec![subject],
                    self.tunnel(name).await,
                )
            }
            About::Service(name) => {
                let subject = Subject::Service(name.clone());
                (
                    format!("service {name}"),
                    vec![subject],
                    self.service(name).await,
                )
            }
            About::Address(address) => {
                let (tunnels, steps) = self.address(*address).await;
                let subjects = tunnels.into_iter().map(Subject::Tunnel).collect();
                (format!("address {address}"), subjects, steps)
            }
        };
        // What is wrong with the node or its underlay concerns everything.
        let concerns = |it: &&Problem| {
            matches!(it.subject, Subject::Node | Subject::Underlay)
                || subjects.contains(&it.subject)
        };
        let problems = self.problems.iter().filter(concerns).cloned().collect();
        Explanation {
            about: title,
            subjects,
            steps,
            problems,
        }
    }

    /// From the underlay's interface to OSPF's adjacency.
    async fn tunnel(&self, name: &str) -> Vec<Step> {
        let Some(tunnel) = self.views.tunnels.iter().find(|it| it.name == name) else {
            return Vec::new();
        };
        let mut steps = vec![self.underlay()];
        steps.extend(self.outer(tunnel).await);
        let in_place = Verdict::fine_if(tunnel.up);
        let mtu = tunnel
            .mtu
            .map_or_else(String::new, |mtu| format!(", mtu {mtu}"));
        let narrow = tunnel.carries.filter(|carries| Some(*carries) < tunnel.mtu);
        let mtu = match narrow {
            Some(carries) => format!("{mtu}, and the way carries {carries}"),
            None => mtu,
        };
        let what = tunnel
            .problem
            .clone()
            .unwrap_or_else(|| "in place".to_owned());
        steps.push(step(
            "interface",
            in_place,
            format!("{}: {what}{mtu}", tunnel.interface),
        ));
        let sent = Verdict::fine_if(tunnel.tx_packets > 0);
        steps.push(step("sent", sent, format!("{} frames", tunnel.tx_packets)));
        steps.push(self.refused(tunnel));
        let heard = match tunnel.heard_ms {
            Some(ms) => format!("{} frames, the last {ms} ms ago", tunnel.rx_packets),
            None => format!("{} frames, none since the start", tunnel.rx_packets),
        };
        steps.push(step(
            "received",
            Verdict::fine_if(tunnel.heard_ms.is_some()),
            heard,
        ));
        steps.extend(self.ospf(tunnel));
        steps
    }

    fn underlay(&self) -> Step {
        let underlay = &self.views.underlay;
        let addresses: Vec<String> = underlay.addresses.iter().map(IpAddr::to_string).collect();
        let hook = underlay.hook.as_deref().unwrap_or("no program");
        let fine =
            underlay.problem.is_none() && underlay.ifindex.is_some() && underlay.hook.is_some();
        let what = underlay
            .problem
            .clone()
            .unwrap_or_else(|| addresses.join(" "));
        let text = format!("{}: {what}, {hook}", underlay.interface);
        step("underlay", Verdict::fine_if(fine), text)
    }

    /// The way of the outer packets: the neighbour that the daemon has found in the underlay's own routes.
    async fn outer(&self, tunnel: &TunnelStatus) -> Vec<Step> {
        let remote = tunnel.remote;
        let (Some(first), Some(underlay)) = (tunnel.next_hop, self.views.underlay.ifindex) else {
            let (verdict, text) = match tunnel.up {
                true => (Verdict::Stops, "none of the underlay's leads to"),
                false => (Verdict::Open, "not looked up for"),
            };
            return vec![step("route", verdict, format!("{text} {remote}"))];
        };
        let via = if first == remote {
            String::new()
        } else {
            format!(" via {first}")
        };
        let device = &self.views.underlay.interface;
        let text = format!("{remote}{via} dev {device}");
        let mut steps = vec![step("route", Verdict::Fine, text)];
        let reachable = self.netlink.reachability(underlay, first).await;
        let (verdict, text) = match reachable {
            Ok(Reachability::Confirmed) => (Verdict::Fine, "answers"),
            Ok(Reachability::NotProbed) => (Verdict::Fine, "needs no answer"),
            Ok(Reachability::Unknown) => (Verdict::Open, "has not been asked lately"),
            Ok(Reachability::Failed) => {
                (Verdict::Stops, "does not answer: it is off, or elsewhere")
            }
            Err(_) => (Verdict::Open, "the kernel does not say"),
        };
        steps.push(step("neighbour", verdict, format!("{first} {text}")));
        steps
    }

    /// What the data plane has refused of the tunnel's packets.
    fn refused(&self, tunnel: &TunnelStatus) -> Step {
        let refused = self.views.counters.refused.get(&tunnel.session_id);
        let counted = refused
            .into_iter()
            .flatten()
            .filter(|(_, count)| **count > 0);
        let counted: Vec<String> = counted
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        let now = self.problems.iter().any(|it| {
            use control::ProblemId as Id;
            it.subject == Subject::Tunnel(tunnel.name.clone())
                && matches!(
                    it.id,
                    Id::CookieRefused
                        | Id::SecretMismatch
                        | Id::SessionUnknown
                        | Id::RemoteMismatch
                        | Id::PortMismatch
                        | Id::FormMismatch
                )
        });
        match counted.is_empty() {
            true if !now => step("refused", Verdict::Fine, "nothing"),
            _ => step(
                "refused",
                Verdict::fine_if(!now),
                format!("since the start: {}", counted.join(", ")),
            ),
        }
    }

    fn ospf(&self, tunnel: &TunnelStatus) -> Vec<Step> {
        let configured = self.config.tunnels.iter().find(|it| it.name == tunnel.name);
        let Some(ospf) = configured.and_then(|it| it.ospf) else {
            return vec![step("ospf", Verdict::Open, "does not run over this tunnel")];
        };
        let state = |state: Option<NeighborState>| match state {
            Some(NeighborState::Full) => (Verdict::Fine, "full".to_owned()),
            Some(state) => (Verdict::Stops, format!("{state:?}")),
            None => (Verdict::Stops, "no neighbour".to_owned()),
        };
        let (verdict, text) = state(tunnel.ospf);
        let mut steps = vec![step("ospf", verdict, format!("area {}: {text}", ospf.area))];
        if self
            .config
            .ospf
            .as_ref()
            .is_some_and(|it| it.ipv4.is_some())
        {
            let (verdict, text) = state(tunnel.ospf_ipv4);
            steps.push(step("ospf ipv4", verdict, text));
        }
        steps.push(match (ospf.bfd.is_some(), tunnel.bfd) {
            (false, _) => step("bfd", Verdict::Open, "off"),
            (true, Some(bfd::State::Up)) => step("bfd", Verdict::Fine, "up"),
            (true, Some(state)) => step("bfd", Verdict::Stops, format!("{state:?}")),
            (true, None) => step(
                "bfd",
                Verdict::Stops,
                "no session: it begins with the adjacency",
            ),
        });
        steps
    }

    /// From the service's check to the neighbours that hear of its address.
    async fn service(&self, name: &str) -> Vec<Step> {
        let Some(service) = self.views.services.iter().find(|it| it.name == name) else {
            return Vec::new();
        };
        let ServiceStatus { address, .. } = service;
        let local = self.netlink.is_local(*address).await;
        let mut steps = vec![match local {
            Ok(true) => step("address", Verdict::Fine, format!("{address} is local")),
            Ok(false) => step(
                "address",
                Verdict::Stops,
                format!("{address} is not on this host"),
            ),
            Err(error) => step("address", Verdict::Open, format!("{error:#}")),
        }];
        steps.push(match &service.health {
            None => step(
                "check",
                Verdict::Open,
                "none: advertised whatever becomes of it",
            ),
            Some(health) => step(
                "check",
                Verdict::fine_if(health.state == HealthState::Passing),
                ServiceHealth::why(health)
                    .unwrap_or_else(|| format!("passes, for {} s", health.since_ms / 1000)),
            ),
        });
        let drained = service.drained || self.drained;
        steps.push(match drained {
            true => step("drain", Verdict::Open, "drained: the last resort"),
            false => step("drain", Verdict::Fine, "not drained"),
        });
        steps.push(step(
            "advertised",
            Verdict::fine_if(service.advertised),
            service.state(),
        ));
        let full = |it: &&TunnelStatus| match address {
            IpAddr::V4(_) => it.ospf_ipv4 == Some(NeighborState::Full),
            IpAddr::V6(_) => it.ospf == Some(NeighborState::Full),
        };
        let hear: Vec<&str> = self
            .views
            .tunnels
            .iter()
            .filter(full)
            .map(|it| it.name.as_str())
            .collect();
        steps.push(match hear.is_empty() {
            false => step("heard by", Verdict::Fine, hear.join(", ")),
            true => step("heard by", Verdict::Stops, "nobody: there is no adjacency"),
        });
        steps
    }

    /// From OSPF's route to the tunnels that it leads over, and the kernel's own decision.
    async fn address(&self, address: IpAddr) -> (Vec<String>, Vec<Step>) {
        let covers = |it: &&InFamily<OspfRoute>| {
            let prefix = it.entry.prefix;
            prefix.addr().is_ipv4() == address.is_ipv4()
                && contains(prefix.addr(), prefix.len(), address)
        };
        let route = self
            .routes
            .iter()
            .filter(covers)
            .max_by_key(|it| it.entry.prefix.len());
        let mut tunnels = Vec::new();
        let mut steps = Vec::new();
        match route {
            None => steps.push(step("ospf", Verdict::Stops, "nobody advertises it")),
            Some(InFamily { entry, .. }) => {
                let routers: Vec<String> = entry.routers.iter().map(ToString::to_string).collect();
                let kept_out = entry.not_installed.map_or_else(String::new, |why| {
                    format!("; not installed: {}", why.text())
                });
                steps.push(step(
                    "ospf",
                    Verdict::fine_if(entry.not_installed.is_none()),
                    format!(
                        "{}, metric {}, from {}{kept_out}",
                        entry.prefix,
                        entry.metric,
                        routers.join(", ")
                    ),
                ));
                for name in entry
                    .nexthops
                    .iter()
                    .filter_map(|hop| hop.interface.as_ref())
                {
                    let tunnel = self.views.tunnels.iter().find(|it| it.interface == *name);
                    tunnels.extend(tunnel.map(|it| it.name.clone()));
                }
            }
        }
        steps.push(match self.netlink.way(address).await {
            Ok(Some(way)) => {
                let device = interface(way.interface);
                let by_tunnel = self.views.tunnels.iter().find(|it| it.interface == device);
                let expected = by_tunnel.is_some_and(|it| tunnels.contains(&it.name));
                let via = way
                    .gateway
                    .map_or_else(String::new, |gateway| format!(" via {gateway}"));
                let verdict = match tunnels.is_empty() {
                    true => Verdict::Open,
                    false => Verdict::fine_if(expected),
                };
                step("kernel", verdict, format!("dev {device}{via}"))
            }
            Ok(None) => step("kernel", Verdict::Open, "this host itself"),
            Err(error) => step("kernel", Verdict::Stops, format!("{error:#}")),
        });
        for name in &tunnels {
            for mut inner in self.tunnel(name).await {
                inner.what = format!("{name}: {}", inner.what);
                steps.push(inner);
            }
        }
        (tunnels, steps)
    }
}

/// Whether a prefix has an address of its family.
fn contains(prefix: IpAddr, length: u8, address: IpAddr) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(it) => u128::from(it.to_bits()) << 96,
        IpAddr::V6(it) => it.to_bits(),
    };
    let differ = bits(prefix) ^ bits(address);
    differ.leading_zeros() >= u32::from(length)
}

/// The name of an interface.
fn interface(index: u32) -> String {
    match if_indextoname(index) {
        Ok(name) => name.to_string_lossy().into_owned(),
        Err(_) => format!("(gone, {index})"),
    }
}

#[cfg(test)]
mod tests;
