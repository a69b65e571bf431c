//! What the speakers report, in the log.

use ospfv3::{Event, Family};

use crate::graceful;

/// Logs what a speaker reports.
pub(crate) fn log(family: Family, event: &Event) {
    match event {
        Event::NeighborChanged {
            peer,
            from,
            to,
            reason,
        } => {
            let (interface, router_id) = (peer.interface, peer.router_id);
            tracing::info!(interface, %router_id, ?from, ?to, ?reason, %family, "neighbour");
        }
        Event::InterfaceChanged {
            interface,
            from,
            to,
        } => {
            tracing::info!(interface, ?from, ?to, %family, "OSPF interface");
        }
        Event::RoutesChanged => tracing::debug!(%family, "routes computed"),
        // Counted by the speaker; a peer could fill the log with these.
        Event::Refused {
            interface,
            source,
            reason,
            mismatch,
        } => {
            tracing::debug!(interface, %source, ?reason, ?mismatch, %family, "OSPF packet refused");
        }
        Event::LastKeyExpired { interface, sa_id } => {
            tracing::warn!(
                interface,
                sa_id,
                "the time of the last OSPF key is over; it is used on, because no key would be \
                 worse. Add a key to [[ospf_keys]] here and at the neighbours"
            );
        }
        Event::HelpBegun { .. }
        | Event::HelpRefused { .. }
        | Event::HelpEnded { .. }
        | Event::RestartEnded { .. } => graceful::log(family, event),
        Event::SelfOriginatedReceived { lsa, sequence } => {
            tracing::debug!(?lsa, sequence, %family, "our own LSA received");
        }
    }
}
