//! Attaching the program to the underlay with open eyes: what is in its way is said before, and
//! what cuts the node off is taken away again.

use std::{collections::BTreeSet, net::IpAddr};

use anyhow::{Context as _, Result, bail};
use config::{self, Config};
use dataplane::{AttachMode, Attached, Hook};
use doctor::{Facts, Subject};
use linux::{Error, Netlink};

use crate::{
    gateways::{Answered, Reach},
    repair::Kind,
    state::{Node, Underlay},
};

/// Begins to ask who answers on the way out of an interface.
pub(crate) async fn ask(netlink: &Netlink, interface: u32, config: &Config) -> Option<Reach> {
    let remotes: BTreeSet<IpAddr> = config.tunnels.iter().map(|tunnel| tunnel.remote).collect();
    Reach::ask(netlink, interface, &remotes)
        .await
        .inspect_err(cannot_watch)
        .ok()
}

fn cannot_watch(error: &Error) {
    tracing::warn!(%error, "cannot watch whether attaching cuts the gateway off");
}

impl Node {
    /// The checks of `l2ha doctor`, said in the log.
    pub(crate) fn examine(&mut self) {
        let (facts, unknown) = Facts::collect(&Subject::of(&self.config));
        for sentence in unknown {
            tracing::debug!("doctor: cannot learn {sentence}");
        }
        self.findings = doctor::examine(&facts);
        doctor::log(&self.findings);
    }

    /// Attaches the program that decapsulates.
    pub(crate) async fn attach(&mut self, underlay: Underlay) -> Result<()> {
        if let Some(why) = &self.cut_off {
            bail!(why.clone());
        }
        let interface = self.config.underlay.interface.clone();
        self.repairs.found(
            Kind::Underlay,
            &interface,
            "no decapsulation program on the underlay, attaching it",
        );
        if !self.netlink.has_clsact(underlay.index).await? {
            let name = interface.clone();
            self.made.update(|list| {
                list.clsact.insert(name);
            })?;
        }
        let mode = self.mode();
        let reach = self.answered(underlay, mode).await;
        let attached = self.attach_as(underlay, mode)?;
        let lost = match &reach {
            Some(reach) if !attached.adopted => self.lost(reach).await,
            _ => Vec::new(),
        };
        let attached = match (lost.is_empty(), reach) {
            (false, Some(reach)) => self.roll_back(underlay, &attached, &reach, &lost).await?,
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
        self.proven = true;
        Ok(())
    }

    fn mode(&self) -> AttachMode {
        match self.config.underlay.mode {
            config::AttachMode::Auto if self.no_xdp.is_some() => AttachMode::Tc,
            config::AttachMode::Auto => AttachMode::Auto,
            config::AttachMode::Xdp => AttachMode::Xdp,
            config::AttachMode::Tc => AttachMode::Tc,
        }
    }

    fn attach_as(&mut self, underlay: Underlay, mode: AttachMode) -> Result<Attached> {
        let interface = &self.config.underlay.interface;
        let mut attached = self
            .plane
            .attach_underlay(underlay.index, interface, mode)
            .with_context(|| format!("cannot attach to {interface}"))?;
        if attached.why_not_xdp.is_none() {
            attached.why_not_xdp.clone_from(&self.no_xdp);
        }
        Ok(attached)
    }

    /// Who answers before the program is attached; nobody is waited for where one of ours is there
    /// already, or was.
    async fn answered(&mut self, underlay: Underlay, mode: AttachMode) -> Option<Answered> {
        let reach = self.reach.take();
        let interface = &self.config.underlay.interface;
        let is_there = self.plane.would_adopt(underlay.index, interface, mode);
        // When the kernel does not answer, attaching will tell.
        if self.proven || is_there.unwrap_or(false) {
            return None;
        }
        let reach = match reach {
            Some(reach) => Some(reach),
            None => ask(&self.netlink, underlay.index, &self.config).await,
        };
        match reach?.answered(&self.netlink).await {
            Ok(answered) => Some(answered),
            Err(error) => {
                cannot_watch(&error);
                None
            }
        }
    }

    async fn lost(&self, reach: &Answered) -> Vec<IpAddr> {
        match reach.lost(&self.netlink).await {
            Ok(lost) => lost,
            Err(error) => {
                tracing::warn!(%error, "cannot see whether attaching has cut the gateway off");
                Vec::new()
            }
        }
    }

    /// Takes the program off again, and uses tc instead where that is allowed and was not it.
    async fn roll_back(
        &mut self,
        underlay: Underlay,
        attached: &Attached,
        reach: &Answered,
        lost: &[IpAddr],
    ) -> Result<Attached> {
        let interface = self.config.underlay.interface.clone();
        self.plane
            .detach_underlay()
            .with_context(|| format!("cannot take the program off {interface} again"))?;
        self.repairs.count(Kind::RolledBack);
        let back = self.lost(reach).await.is_empty();
        let hook = attached.hook.name();
        let lost: Vec<String> = lost.iter().map(IpAddr::to_string).collect();
        let lost = lost.join(", ");
        let then = if back {
            "answers again without it"
        } else {
            "does not answer without it either"
        };
        let mut why = format!(
            "{lost} stopped answering when the program was attached to {interface} ({hook}), and \
             {then}"
        );
        let may_use_tc =
            attached.hook == Hook::Xdp && self.config.underlay.mode == config::AttachMode::Auto;
        if may_use_tc {
            tracing::error!(
                interface,
                remedy = "see `l2ha doctor --try`, update the NIC's driver, or write mode = \"tc\" \
                          in [underlay]",
                "rolled back: {why}; using tc ingress"
            );
            self.no_xdp = Some(format!("rolled back: {why}"));
            let attached = self.attach_as(underlay, AttachMode::Tc)?;
            // One that is silent anyway cannot be cut off.
            let lost = if back {
                self.lost(reach).await
            } else {
                Vec::new()
            };
            if lost.is_empty() {
                return Ok(attached);
            }
            self.plane.detach_underlay()?;
            self.repairs.count(Kind::RolledBack);
            why.push_str("; with tc it is the same");
        }
        let remedy = match self.config.underlay.mode {
            config::AttachMode::Xdp => {
                "write mode = \"auto\" or \"tc\" in [underlay], or update the NIC's driver"
            }
            config::AttachMode::Auto | config::AttachMode::Tc => {
                "see with `l2ha doctor` what else is on this interface"
            }
        };
        tracing::error!(interface, remedy, "rolled back: {why}");
        let why = format!("rolled back: {why}; {remedy}");
        self.cut_off = Some(why.clone());
        bail!(why)
    }
}
