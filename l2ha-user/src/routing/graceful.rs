//! Graceful restart (RFC 5187), ours and that of neighbours.

use ospfv3::{Event, HelpEnd, RestartEnd};

/// What the speaker says about it, in the log.
pub(super) fn log(event: &Event) {
    match event {
        Event::HelpBegun {
            interface,
            router_id,
            seconds,
            reason,
        } => tracing::info!(
            interface, %router_id, seconds, %reason,
            "a neighbour restarts gracefully: it stays adjacent meanwhile"
        ),
        Event::HelpRefused {
            interface,
            router_id,
            why,
        } => tracing::info!(interface, %router_id, %why, "no help with a neighbour's restart"),
        Event::HelpEnded {
            interface,
            router_id,
            why: why @ HelpEnd::Completed,
        } => tracing::info!(interface, %router_id, %why, "help with a neighbour's restart ends"),
        Event::HelpEnded {
            interface,
            router_id,
            why,
        } => tracing::warn!(interface, %router_id, %why, "help with a neighbour's restart ends"),
        Event::RestartEnded {
            why: why @ RestartEnd::Completed,
        } => tracing::info!(%why, "our graceful restart is over"),
        Event::RestartEnded { why } => tracing::warn!(%why, "our graceful restart is over"),
        _ => {}
    }
}
