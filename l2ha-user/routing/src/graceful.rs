//! Graceful restart (RFC 5187), ours and that of neighbours.

use std::time::Duration;

use config::Ospf;
use ospfv3::{Event, Family, GracefulRestart, HelpEnd, RestartEnd, wire::GraceReason};

use crate::restart_state::Ending;

/// What a planned restart is announced with; nothing if the configuration wants none.
pub(crate) fn planned(config: &Ospf) -> Option<GracefulRestart> {
    announced(config, GraceReason::SoftwareRestart)
}

/// What the restart that this start ends is announced with: nothing after a clean stop, and at the
/// first start since the machine was booted.
pub(crate) fn resumed(config: &Ospf, before: Option<Ending>) -> Option<GracefulRestart> {
    match before? {
        Ending::Stopped => None,
        Ending::Restarting => planned(config),
        // RFC 3623 2.1: unplanned.
        Ending::None => announced(config, GraceReason::Unknown),
    }
}

fn announced(config: &Ospf, reason: GraceReason) -> Option<GracefulRestart> {
    let period = config.graceful_restart;
    (period > 0).then_some(GracefulRestart { period, reason })
}

/// How long the routes of an earlier daemon are good, although they have not been computed yet.
pub(crate) fn keep_for(config: &Ospf, restart: Option<GracefulRestart>) -> Duration {
    let dead = config.dead_interval;
    let seconds = restart.map_or(dead, |restart| restart.period.max(dead));
    Duration::from_secs(seconds.into())
}

/// What the speaker says about it, in the log.
pub(crate) fn log(family: Family, event: &Event, interface: &str) {
    match event {
        Event::HelpBegun {
            peer,
            seconds,
            reason,
        } => tracing::info!(
            interface, router_id = %peer.router_id, seconds, %reason, %family,
            "a neighbour restarts gracefully: it stays adjacent meanwhile"
        ),
        Event::HelpRefused { peer, why } => {
            tracing::info!(interface, router_id = %peer.router_id, %why, %family, "no help with a neighbour's restart")
        }
        Event::HelpEnded {
            peer,
            why: why @ HelpEnd::Completed,
        } => {
            tracing::info!(interface, router_id = %peer.router_id, %why, %family, "help with a neighbour's restart ends")
        }
        Event::HelpEnded { peer, why } => {
            tracing::warn!(interface, router_id = %peer.router_id, %why, %family, "help with a neighbour's restart ends")
        }
        Event::RestartEnded {
            why: why @ RestartEnd::Completed,
        } => tracing::info!(%why, %family, "our graceful restart is over"),
        Event::RestartEnded { why } => {
            tracing::warn!(%why, %family, "our graceful restart is over")
        }
        _ => {}
    }
}
