//! The node's routing: the thread that speaks OSPF, where it is configured, and whether the node is
//! drained.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use config::Config;
use routing::{Bfd, Desired, Rotations, Routing, View};
use tokio::{
    sync::{
        oneshot::{self, error::TryRecvError},
        watch,
    },
    task::JoinHandle,
    time::timeout,
};

use crate::{
    detours::DetourMaps,
    gates::Gates,
    path_mtu::PathMtus,
    problems::{Routes, RoutingViews},
    services::Services,
    tunnels::Tunnels,
    underlay::UnderlayLink,
};

/// How soon the thread is started again after it has ended; twice as late each time, up to the second.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How long the thread may take to show what it knows, and how long once it has failed to.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_millis(50));

/// The routing thread, if there is one.
#[derive(Default)]
pub(crate) struct Router {
    routing: Option<Routing>,
    /// The thread of BFD, which outlives those of routing.
    bfd: Option<Bfd>,
    /// The end of a thread that is no longer wanted.
    ending: Option<JoinHandle<()>>,
    /// How far rotations of secrets are, as the threads have said last.
    rotations: watch::Sender<Rotations>,
    /// Comes when the routes are where the configuration says.
    moving: Option<oneshot::Receiver<()>>,
    /// Whether the node is the last resort.
    drained: bool,
    /// That it has ended by itself.
    ended: Option<Ended>,
    /// Whether it has not answered in time.
    silent: bool,
}

/// An end that nobody has asked for.
#[derive(Debug)]
struct Ended {
    why: String,
    /// When it is started again, or was.
    again: Instant,
    pause: Duration,
}

impl Router {
    /// Without a routing thread yet. Starts BFD's, while the daemon still may give it real-time priority.
    pub(crate) fn new() -> Self {
        let bfd = Bfd::start()
            .inspect_err(|error| tracing::error!(error = format!("{error:#}"), "no BFD"));
        Self {
            bfd: bfd.ok(),
            ..Self::default()
        }
    }

    /// Goes on with another configuration: a thread that runs takes it, one that is not wanted any more
    /// ends beside everything else.
    pub(crate) fn reconfigure(&mut self, config: &Config) {
        match (&self.routing, &config.ospf) {
            (Some(routing), Some(ospf)) => self.moving = Some(routing.configure(ospf.clone())),
            (Some(_), None) => self.retire(),
            (None, Some(_)) if self.ending.is_some() => {}
            (None, _) => {
                if let Err(error) = self.start(config) {
                    self.has_ended(format!("{error:#}"), Instant::now());
                }
            }
        }
    }

    /// Ends the thread without waiting for it: it withdraws everything first.
    fn retire(&mut self) {
        (self.drained, self.moving) = (false, None);
        if let Some(routing) = self.routing.take() {
            self.ending = Some(tokio::spawn(routing.stop()));
        }
    }

    /// Whether no thread is ending, and no routes are still where an earlier configuration said.
    pub(crate) fn is_settled(&mut self) -> bool {
        let moving = self.moving.as_mut();
        if moving.is_some_and(|it| it.try_recv() != Err(TryRecvError::Empty)) {
            self.moving = None;
        }
        self.moving.is_none() && !self.is_ending()
    }

    fn is_ending(&self) -> bool {
        let ending = self.ending.as_ref();
        ending.is_some_and(|it| !it.is_finished())
    }

    /// Comes when everything that the thread has been told holds, and all routes are in their place.
    pub(crate) fn settled(&self, config: &Config) -> impl Future<Output = ()> + Send + use<> {
        let asked = match (&self.routing, &config.ospf) {
            (Some(routing), Some(ospf)) => Some(routing.configure(ospf.clone())),
            _ => None,
        };
        async move {
            if let Some(asked) = asked {
                let _ = asked.await;
            }
        }
    }

    /// Starts the routing thread if the configuration wants one.
    pub(crate) fn start(&mut self, config: &Config) -> Result<()> {
        let Some(ospf) = &config.ospf else {
            self.drained = false;
            self.ended = None;
            return Ok(());
        };
        let node = &config.node;
        let restart_state = node.run_dir.join(format!("{}.ospf.json", node.name));
        let detours = DetourMaps::open(&node.pins());
        let bfd = self.bfd.as_ref();
        let rotations = self.rotations.clone();
        let mut routing = Routing::start(ospf.clone(), &restart_state, detours, bfd, rotations)
            .context("cannot start OSPF")?;
        self.drained |= routing.was_drained();
        if self.drained {
            tracing::warn!("drained: this node is the last resort until `l2ha drain --off`");
            routing.drain(true);
        }
        self.routing = Some(routing);
        Ok(())
    }

    /// Starts the thread again if it has ended by itself, later each time. Whether it has been started.
    pub(crate) fn look_after(&mut self, config: &Config) -> bool {
        let now = Instant::now();
        if let Some(why) = self.routing.as_ref().and_then(Routing::ended) {
            self.routing = None;
            self.has_ended(why, now);
        }
        if self.ending.is_some() && !self.is_ending() {
            self.ending = None;
        }
        if self.routing.is_some() || self.ending.is_some() || config.ospf.is_none() {
            return false;
        }
        if self.ended.as_ref().is_some_and(|ended| now < ended.again) {
            return false;
        }
        match self.start(config) {
            Ok(()) => {
                tracing::warn!("OSPF is started again");
                true
            }
            Err(error) => {
                self.has_ended(format!("{error:#}"), now);
                false
            }
        }
    }

    fn has_ended(&mut self, why: String, now: Instant) {
        let (first, longest) = AGAIN;
        let before = self.ended.take();
        // One that has run for a while begins anew.
        let before = before.filter(|it| now < it.again + longest);
        let pause = before.map_or(first, |it| (it.pause * 2).min(longest));
        tracing::error!(
            seconds = pause.as_secs(),
            "OSPF has ended, starting it again: {why}"
        );
        self.ended = Some(Ended {
            why,
            again: now + pause,
            pause,
        });
    }

    /// How far rotations of secrets are, as it changes.
    pub(crate) fn rotation_news(&self) -> watch::Receiver<Rotations> {
        self.rotations.subscribe()
    }

    /// How far they are now.
    pub(crate) fn rotations(&self) -> Rotations {
        self.rotations.borrow().clone()
    }

    /// Everything that the thread shows for the judgement.
    pub(crate) async fn views(&mut self) -> RoutingViews {
        let Some(routing) = &self.routing else {
            let ended = self.ended.as_ref();
            return ended.map_or(RoutingViews::None, |it| RoutingViews::Ended(it.why.clone()));
        };
        let all = async {
            tokio::join!(
                routing.show(View::Summary),
                routing.show(View::Interfaces),
                routing.show(View::Neighbors),
                routing.show(View::Bfd),
            )
        };
        let (first, later) = PATIENCE;
        let patience = if self.silent { later } else { first };
        let views = timeout(patience, all).await;
        self.silent = views.is_err();
        match views {
            Ok((Ok(summary), Ok(interfaces), Ok(neighbors), Ok(bfd))) => {
                RoutingViews::Runs(Box::new(Routes {
                    summary,
                    interfaces,
                    neighbors,
                    bfd,
                }))
            }
            // It is about to be started again.
            Ok(_) => RoutingViews::Ended(routing.ended().unwrap_or_default()),
            Err(_) => RoutingViews::Silent,
        }
    }

    /// Whether there is a routing thread, if only one that withdraws everything.
    pub(crate) fn is_running(&self) -> bool {
        self.routing.is_some() || self.is_ending()
    }

    /// Whether the node is drained.
    pub(crate) fn drained(&self) -> bool {
        self.drained
    }

    /// Writes down again what OSPF must remember. Returns why that cannot be done, if it cannot.
    pub(crate) fn keep_state(&mut self) -> Option<&str> {
        self.routing.as_mut()?.keep_state()
    }

    /// Gives the routing thread the interfaces and prefixes that there are now.
    pub(crate) fn sync(
        &self,
        config: &Config,
        (tunnels, paths): (&Tunnels, &PathMtus),
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
            interfaces: tunnels.ospf_interfaces(config, |tunnel| paths.mtu(tunnel)),
            services: services.prefixes(config, gates),
            home: config.home_area(),
            areas: config.ospf_areas.clone(),
            sources: services.sources(),
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

    /// Others have changed something of their own on this host.
    pub(crate) fn look_around(&self) {
        if let Some(routing) = &self.routing {
            routing.look_around();
        }
    }

    /// Makes the node the last resort, or ends that. Whether that is a change.
    pub(crate) fn drain(&mut self, on: bool) -> Result<bool> {
        let routing = self
            .routing
            .as_mut()
            .context("OSPF does not run, so there is nothing to drain; see `l2ha status`")?;
        routing.drain(on);
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
        let routing = self.routing.as_ref().context(match &self.ended {
            Some(ended) => format!("OSPF has ended: {}", ended.why),
            None => "OSPF is not configured: add an [ospf] section".to_owned(),
        })?;
        routing
            .show(view)
            .await
            .ok()
            .context("OSPF has ended; see `l2ha status`")
    }

    /// Withdraws everything, waits until the neighbours have moved, and ends the thread.
    pub(crate) async fn stop(&mut self) {
        self.ended = None;
        if let Some(routing) = self.routing.take() {
            routing.stop().await;
        }
        if let Some(ending) = self.ending.take() {
            let _ = ending.await;
        }
    }

    /// Ends the thread for a restart: the neighbours are told, and everything stays in its place.
    pub(crate) async fn stop_for_restart(&mut self) {
        if let Some(routing) = self.routing.take() {
            routing.stop_for_restart().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_25_routing_that_ends_again_and_again_is_started_ever_later() {
        let mut router = Router::default();
        let mut now = Instant::now();
        let mut pauses = Vec::new();
        for _ in 0..8 {
            router.has_ended("no memory".to_owned(), now);
            let ended = router.ended.as_ref().unwrap();
            pauses.push(ended.pause.as_secs());
            // It ends as soon as it is started.
            now = ended.again;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        // After a while in which it ran it begins anew.
        router.has_ended("no memory".to_owned(), now + Duration::from_secs(61));
        assert_eq!(router.ended.unwrap().pause, Duration::from_secs(1));
    }
}
