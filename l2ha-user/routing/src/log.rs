//! What the speakers report, in the log: a line for a neighbour that has come or gone; the rest for those who look
//! for a fault.

use ospfv3::{Event, Family, NeighborState, Reason};

use crate::graceful;

/// Logs what a speaker reports; `name` is the name of the interface that it is about.
pub(crate) fn log(family: Family, event: &Event, name: Option<&str>) {
    let interface = name.unwrap_or("lo");
    match event {
        Event::NeighborChanged {
            peer,
            to: NeighborState::Full,
            ..
        } => {
            let router_id = peer.router_id;
            tracing::info!(interface, %family, "neighbour {router_id}: full");
        }
        // Torn down here: the interface went, by a reload as a rule, or the node stops.
        Event::NeighborChanged {
            peer,
            from: NeighborState::Full,
            reason: reason @ (Reason::KillNbr | Reason::LlDown),
            ..
        } => {
            let router_id = peer.router_id;
            tracing::info!(interface, ?reason, %family, "neighbour {router_id}: no longer");
        }
        Event::NeighborChanged {
            peer,
            from: NeighborState::Full,
            to,
            reason,
        } => {
            let router_id = peer.router_id;
            tracing::warn!(interface, ?to, ?reason, %family, "neighbour {router_id}: lost");
        }
        Event::NeighborChanged {
            peer,
            from,
            to,
            reason,
        } => {
            let router_id = peer.router_id;
            tracing::debug!(interface, %router_id, ?from, ?to, ?reason, %family, "neighbour");
        }
        Event::InterfaceChanged { from, to, .. } => {
            tracing::debug!(interface, ?from, ?to, %family, "OSPF interface");
        }
        Event::RoutesChanged => tracing::debug!(%family, "routes computed"),
        // Counted by the speaker; a peer could fill the log with these.
        Event::Refused {
            source,
            reason,
            mismatch,
            ..
        } => {
            tracing::debug!(interface, %source, ?reason, ?mismatch, %family, "OSPF packet refused");
        }
        Event::LastKeyExpired { sa_id, .. } => {
            tracing::warn!(
                interface,
                sa_id,
                "the time of the last OSPF key is over; it is used on, because no key would be \
                 worse. Add a key to [[ospf_keys]] here and at the neighbours"
            );
        }
        Event::RotationChanged { peer, rotation } => {
            let router_id = peer.router_id;
            let (accepts, uses) = (rotation.accepts_present, rotation.uses_present);
            tracing::info!(
                interface, accepts, uses, %family,
                "neighbour {router_id}: the present secret"
            );
        }
        Event::HelpBegun { .. }
        | Event::HelpRefused { .. }
        | Event::HelpEnded { .. }
        | Event::RestartEnded { .. } => graceful::log(family, event, interface),
        Event::SelfOriginatedReceived { lsa, sequence, .. } => {
            tracing::debug!(?lsa, sequence, %family, "our own LSA received");
        }
        // Said once it is sure.
        Event::RouterIdDoubled {
            router_id,
            links,
            sign,
        } => tracing::debug!(%router_id, ?links, ?sign, %family, "perhaps two routers"),
    }
}

/// Which interface an event is about, if it is about one.
pub(crate) fn interface_of(event: &Event) -> Option<u32> {
    match event {
        Event::NeighborChanged { peer, .. }
        | Event::RotationChanged { peer, .. }
        | Event::HelpBegun { peer, .. }
        | Event::HelpRefused { peer, .. }
        | Event::HelpEnded { peer, .. } => Some(peer.interface),
        Event::InterfaceChanged { interface, .. }
        | Event::Refused { interface, .. }
        | Event::LastKeyExpired { interface, .. } => Some(*interface),
        Event::RoutesChanged
        | Event::RestartEnded { .. }
        | Event::RouterIdDoubled { .. }
        | Event::SelfOriginatedReceived { .. } => None,
    }
}
