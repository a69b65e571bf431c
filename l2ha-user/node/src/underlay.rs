//! The interface that carries the pseudowires: whether it is there, and what is wrong with it.

use std::net::IpAddr;

use anyhow::Result;
use control::UnderlayStatus;
use dataplane::Attached;
use linux::Netlink;

use crate::snapshot::Snapshot;

/// The interface as it was last seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnderlayLink {
    /// Interface index.
    pub(crate) index: u32,
    /// MTU in bytes.
    pub(crate) mtu: u32,
}

/// The underlay's state.
#[derive(Debug, Default)]
pub(crate) struct Underlay {
    link: Option<UnderlayLink>,
    /// For status, and to log it once.
    problem: Option<String>,
}

impl Underlay {
    /// The interface, if it is there.
    pub(crate) fn link(&self) -> Option<UnderlayLink> {
        self.link
    }

    /// Finds the interface and records what is wrong with it.
    pub(crate) async fn check(
        &mut self,
        config: &config::Underlay,
        kernel: &Snapshot,
        netlink: &Netlink,
    ) -> Result<()> {
        let Some(link) = kernel.link(&config.interface) else {
            self.link = None;
            let problem = format!("interface {} is not there", config.interface);
            self.set_problem(config, Some(problem));
            return Ok(());
        };
        let missing: Vec<String> = config
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
        self.link = Some(UnderlayLink {
            index: link.index,
            mtu: link.mtu,
        });
        if problem.is_none() && self.problem.is_some() {
            netlink.forget_silent_neighbours(link.index).await?;
        }
        self.set_problem(config, problem);
        Ok(())
    }

    /// The interface is another daemon's.
    pub(crate) fn leave(&mut self) {
        self.link = None;
    }

    /// Records what is wrong, if anything; a change is logged, once.
    pub(crate) fn set_problem(&mut self, config: &config::Underlay, problem: Option<String>) {
        if self.problem == problem {
            return;
        }
        let interface = &config.interface;
        match (&problem, &self.problem) {
            (Some(problem), _) => tracing::warn!(interface, "underlay: {problem}"),
            (None, Some(before)) => {
                tracing::warn!(interface, "underlay: works again (was: {before})")
            }
            (None, None) => {}
        }
        self.problem = problem;
    }

    /// For `l2ha status`; `attached` is the program on the interface.
    pub(crate) fn status(
        &self,
        config: &config::Underlay,
        attached: Option<&Attached>,
    ) -> UnderlayStatus {
        UnderlayStatus {
            interface: config.interface.clone(),
            ifindex: self.link.map(|link| link.index),
            addresses: config.addresses.clone(),
            mtu: self.link.map(|link| link.mtu),
            hook: attached.map(|attached| attached.hook.name().to_owned()),
            why_not_xdp: attached.and_then(|attached| attached.why_not_xdp.clone()),
            problem: self.problem.clone(),
        }
    }
}
