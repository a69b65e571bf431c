//! The node's routing: the thread that speaks OSPF, where it is configured, and whether the node is
//! drained.

use anyhow::{Context as _, Result};
use config::Config;
use routing::{Desired, Routing, View};
use tokio::sync::oneshot;

use crate::{
    detours::DetourMaps, gates::Gates, services::Services, tunnels::Tunnels, underlay::UnderlayLink,
};

/// The routing thread, if there is one.
#[derive(Default)]
pub(crate) struct Router {
    routing: Option<Routing>,
    /// Whether the node is the last resort.
    drained: bool,
}

impl Router {
    /// Starts the routing thread if the configuration wants one.
    pub(crate) fn start(&mut self, config: &Config) -> Result<()> {
        let Some(ospf) = &config.ospf else {
            self.drained = false;
            return Ok(());
        };
        let node = &config.node;
        let restart_state = node.run_dir.join(format!("{}.ospf.json", node.name));
        let detours = DetourMaps::open(&node.pins());
        let mut routing =
            Routing::start(ospf.clone(), &restart_state, detours).context("cannot start OSPF")?;
        self.drained |= routing.was_drained();
        if self.drained {
            tracing::warn!("drained: this node is the last resort until `l2ha drain --off`");
            routing.drain(true)?;
        }
        self.routing = Some(routing);
        Ok(())
    }

    /// Whether there is a routing thread.
    pub(crate) fn is_running(&self) -> bool {
        self.routing.is_some()
    }

    /// Whether the node is drained.
    pub(crate) fn drained(&self) -> bool {
        self.drained
    }

    /// Gives the routing thread the interfaces and prefixes that there are now.
    pub(crate) fn sync(
        &self,
        config: &Config,
        tunnels: &Tunnels,
        (services, gates): (&Services, &Gates),
        underlay: Option<UnderlayLink>,
    ) {
        let Some(routing) = &self.routing else {
            return;
        };
        let endpoints = config.tunnels.iter();
        let endpoints = endpoints.flat_map(|tunnel| [tunnel.local, tunnel.remote]);
        routing.sync(Desired {
            ipv4: config.ospf.as_ref().and_then(|ospf| ospf.ipv4),
            interfaces: tunnels.ospf_interfaces(config),
            services: services.prefixes(config, gates),
            home: config.home_area(),
            areas: config.ospf_areas.clone(),
            reserved: services.addresses(config),
            endpoints: endpoints.collect(),
            underlay: underlay.map(|link| link.index),
        });
    }

    /// Kernel routes have changed: perhaps one of ours was removed.
    pub(crate) fn check_routes(&self) {
        if let Some(routing) = &self.routing {
            routing.check_routes();
        }
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

    /// What the routing thread shows.
    pub(crate) async fn show<T>(&self, view: impl FnOnce(oneshot::Sender<T>) -> View) -> Result<T> {
        let routing = self
            .routing
            .as_ref()
            .context("OSPF is not configured: add an [ospf] section")?;
        routing
            .show(view)
            .await
            .ok()
            .context("OSPF has stopped; see the log")
    }

    /// Withdraws everything, waits until the neighbours have moved, and ends the thread.
    pub(crate) async fn stop(&mut self) {
        if let Some(routing) = self.routing.take() {
            routing.stop().await;
        }
    }

    /// Ends the thread for a restart: the neighbours are told, and everything stays in its place.
    pub(crate) async fn stop_for_restart(&mut self) {
        if let Some(routing) = self.routing.take() {
            routing.stop_for_restart().await;
        }
    }
}
