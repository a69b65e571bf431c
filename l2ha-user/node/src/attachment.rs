//! The program on the underlay: how it is attached, and taken off again when it cuts the node off
//! from its gateways.

use std::net::IpAddr;

use anyhow::{Context as _, Result, bail};
use config::{AttachMode, Config};
use dataplane::{Attached, Hook};
use linux::{Error, Netlink};

use crate::{
    gateways::{GatewayProbe, ReachableGateways},
    repair::Kind,
    session,
    tools::Tools,
    underlay::UnderlayLink,
};

/// The state of the program on the underlay.
#[derive(Debug, Default)]
pub(crate) struct Attachment {
    attached: Option<Attached>,
    /// The interface that it is attached to: index and name.
    at: Option<(u32, String)>,
    /// The gateways that are being probed, for the first time that the program is attached.
    probe: Option<GatewayProbe>,
    /// Whether the gateways were seen to answer behind what is attached: it may be attached again
    /// without probing them.
    proven: bool,
    /// Why native XDP is not tried any more.
    no_xdp: Option<String>,
    /// Why no program is attached any more: it would cut the node off.
    cut_off: Option<String>,
}

impl Attachment {
    /// Nothing is attached yet. Begins to probe the gateways, so that the answers are there when it
    /// is.
    pub(crate) async fn begin(netlink: &Netlink, config: &Config) -> Result<Self, Error> {
        let probe = match netlink.link(&config.underlay.interface).await? {
            Some(link) => start_probe(netlink, link.index, config).await,
            None => None,
        };
        Ok(Self {
            probe,
            ..Self::default()
        })
    }

    pub(crate) fn attached(&self) -> Option<&Attached> {
        self.attached.as_ref()
    }

    /// Why no program is attached any more.
    pub(crate) fn cut_off(&self) -> Option<&str> {
        self.cut_off.as_deref()
    }

    /// Whether the program that was attached still is. Cheap enough to be asked between
    /// notifications: a bpf_link can be detached without one.
    pub(crate) fn still_attached(&self, tools: &Tools) -> bool {
        self.attached.is_none() || tools.plane.underlay_attached().unwrap_or(false)
    }

    /// Begins again with another configuration: what was refused may be tried again and, in another
    /// mode, everything is.
    pub(crate) fn reconfigure(&mut self, mode_changed: bool) {
        if mode_changed {
            *self = Self::default();
        }
        self.cut_off = None;
    }

    /// Tells the data plane its endpoints and attaches the program, unless it is attached. The
    /// sessions are there by now, so that its first packet finds one.
    pub(crate) async fn ensure(
        &mut self,
        config: &Config,
        underlay: UnderlayLink,
        tools: &mut Tools,
    ) -> Result<()> {
        tools.plane.set_endpoints(&session::endpoints(config))?;
        self.follow(config, underlay, tools)?;
        if self.attached.is_some() && self.still_attached(tools) {
            return Ok(());
        }
        self.attach(config, underlay, tools).await
    }

    /// Follows the underlay's interface to its new name, or to another interface, where everything begins
    /// again.
    fn follow(&mut self, config: &Config, underlay: UnderlayLink, tools: &mut Tools) -> Result<()> {
        let interface = &config.underlay.interface;
        let Some((index, name)) = self.at.take_if(|(_, name)| name != interface) else {
            return Ok(());
        };
        if index != underlay.index {
            tracing::info!(
                from = name,
                to = interface,
                "the underlay is another interface now"
            );
            *self = Self::default();
            return Ok(());
        }
        tracing::info!(
            from = name,
            to = interface,
            "the underlay's interface has another name"
        );
        if tools.journal.clsact().contains(&name) {
            tools.journal.add_clsact(interface);
        }
        // The programs are there; what is kept by name is known by the new one afterwards.
        let attached = self.attach_as(interface, underlay, self.mode(config), tools)?;
        self.attached = Some(attached);
        self.at = Some((index, interface.clone()));
        Ok(())
    }

    async fn attach(
        &mut self,
        config: &Config,
        underlay: UnderlayLink,
        tools: &mut Tools,
    ) -> Result<()> {
        if let Some(why) = &self.cut_off {
            bail!(why.clone());
        }
        let interface = &config.underlay.interface;
        tools.repairs.found(
            Kind::Underlay,
            interface,
            "no decapsulation program on the underlay, attaching it",
        );
        if !linux::tc::has_clsact(underlay.index)? {
            tools.journal.add_clsact(interface);
        }
        let mode = self.mode(config);
        let reachable = self.reachable(config, underlay, mode, tools).await;
        let attached = self.attach_as(interface, underlay, mode, tools)?;
        let lost = match &reachable {
            Some(reachable) if !attached.adopted => lost(reachable, &tools.netlink).await,
            _ => Vec::new(),
        };
        let attached = match (lost.is_empty(), reachable) {
            (false, Some(reachable)) => {
                self.roll_back(config, underlay, tools, &attached, &reachable, &lost)
                    .await?
            }
            _ => attached,
        };
        if let Some(why) = &attached.why_not_xdp {
            tracing::warn!(
                interface,
                why,
                "native XDP cannot be had here, using tc ingress"
            );
        }
        tracing::info!(interface, hook = ?attached.hook, adopted = attached.adopted, "attached");
        self.attached = Some(attached);
        self.at = Some((underlay.index, interface.clone()));
        self.proven = true;
        Ok(())
    }

    fn mode(&self, config: &Config) -> AttachMode {
        match config.underlay.mode {
            AttachMode::Auto if self.no_xdp.is_some() => AttachMode::Tc,
            mode => mode,
        }
    }

    fn attach_as(
        &self,
        interface: &str,
        underlay: UnderlayLink,
        mode: AttachMode,
        tools: &mut Tools,
    ) -> Result<Attached> {
        let mut attached = tools
            .plane
            .attach_underlay(underlay.index, interface, mode)
            .with_context(|| format!("cannot attach to {interface}"))?;
        if attached.why_not_xdp.is_none() {
            attached.why_not_xdp.clone_from(&self.no_xdp);
        }
        Ok(attached)
    }

    /// The gateways that answer before the program is attached; none are waited for where one of
    /// ours is attached already, or was.
    async fn reachable(
        &mut self,
        config: &Config,
        underlay: UnderlayLink,
        mode: AttachMode,
        tools: &Tools,
    ) -> Option<ReachableGateways> {
        let probe = self.probe.take();
        let interface = &config.underlay.interface;
        let is_there = tools.plane.would_adopt(underlay.index, interface, mode);
        // When the kernel does not answer, attaching will tell.
        if self.proven || is_there.unwrap_or(false) {
            return None;
        }
        let probe = match probe {
            Some(probe) => Some(probe),
            None => start_probe(&tools.netlink, underlay.index, config).await,
        };
        probe?
            .reachable(&tools.netlink)
            .await
            .inspect_err(cannot_watch)
            .ok()
    }

    /// Takes the program off again, and uses tc instead where that is allowed and was not tried.
    async fn roll_back(
        &mut self,
        config: &Config,
        underlay: UnderlayLink,
        tools: &mut Tools,
        attached: &Attached,
        reachable: &ReachableGateways,
        unreachable: &[IpAddr],
    ) -> Result<Attached> {
        let interface = &config.underlay.interface;
        tools
            .plane
            .detach_underlay()
            .with_context(|| format!("cannot take the program off {interface} again"))?;
        tools.repairs.count(Kind::RolledBack);
        let back = lost(reachable, &tools.netlink).await.is_empty();
        let hook = attached.hook.name();
        let unreachable: Vec<String> = unreachable.iter().map(IpAddr::to_string).collect();
        let unreachable = unreachable.join(", ");
        let then = if back {
            "answers again without it"
        } else {
            "does not answer without it either"
        };
        let mut why = format!(
            "{unreachable} stopped answering when the program was attached to {interface} \
             ({hook}), and {then}"
        );
        let may_use_tc = attached.hook == Hook::Xdp && config.underlay.mode == AttachMode::Auto;
        if may_use_tc {
            tracing::error!(
                interface,
                remedy = "see `l2ha doctor --try`, update the NIC's driver, or write mode = \"tc\" \
                          in [underlay]",
                "rolled back: {why}; using tc ingress"
            );
            self.no_xdp = Some(format!("rolled back: {why}"));
            let attached = self.attach_as(interface, underlay, AttachMode::Tc, tools)?;
            // A gateway that does not answer anyway cannot be cut off.
            if !back || lost(reachable, &tools.netlink).await.is_empty() {
                return Ok(attached);
            }
            tools.plane.detach_underlay()?;
            tools.repairs.count(Kind::RolledBack);
            why.push_str("; with tc it is the same");
        }
        let remedy = match config.underlay.mode {
            AttachMode::Xdp => {
                "write mode = \"auto\" or \"tc\" in [underlay], or update the NIC's driver"
            }
            AttachMode::Auto | AttachMode::Tc => {
                "see with `l2ha doctor` what else is on this interface"
            }
        };
        tracing::error!(interface, remedy, "rolled back: {why}");
        let why = format!("rolled back: {why}; {remedy}");
        self.cut_off = Some(why.clone());
        bail!(why)
    }
}

/// Begins to probe the gateways of an interface, if the kernel lets us.
async fn start_probe(netlink: &Netlink, interface: u32, config: &Config) -> Option<GatewayProbe> {
    GatewayProbe::start(netlink, interface, config)
        .await
        .inspect_err(cannot_watch)
        .ok()
}

fn cannot_watch(error: &Error) {
    tracing::warn!(%error, "cannot watch whether attaching cuts the gateway off");
}

/// The gateways that have stopped answering.
async fn lost(reachable: &ReachableGateways, netlink: &Netlink) -> Vec<IpAddr> {
    reachable
        .lost(netlink)
        .await
        .inspect_err(|error| {
            tracing::warn!(%error, "cannot see whether attaching has cut the gateway off");
        })
        .unwrap_or_default()
}
