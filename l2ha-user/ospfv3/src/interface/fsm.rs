//! The interface state machine, RFC 2328 9.3.

use serde::Serialize;

use crate::config::InterfaceKind;

/// State of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InterfaceState {
    /// No protocol traffic.
    Down,
    /// Only its prefixes are advertised.
    Loopback,
    /// Operational on a point-to-point link.
    PointToPoint,
}

/// What happens to an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InterfaceEvent {
    /// The link is operational.
    Up(InterfaceKind),
    /// It is looped back.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the whole diagram of RFC 2328 9.3")
    )]
    LoopIndication,
    /// It is not looped back any more.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the whole diagram of RFC 2328 9.3")
    )]
    UnloopIndication,
    /// It is not operational.
    Down,
}

/// The state after an event, or nothing if the state does not expect it.
///
/// ```text
///   Down --Up--> PointToPoint      any --Down--> Down
///    ^ \--Up(loopback)--\          any --LoopIndication--> Loopback
///    |                   v
///    +----Unloop---- Loopback
/// ```
pub(crate) const fn transition(
    state: InterfaceState,
    event: InterfaceEvent,
) -> Option<InterfaceState> {
    use InterfaceEvent as E;
    use InterfaceState as S;
    match (state, event) {
        (S::Down, E::Up(InterfaceKind::PointToPoint)) => Some(S::PointToPoint),
        (S::Down, E::Up(InterfaceKind::Loopback)) => Some(S::Loopback),
        (_, E::Down) => Some(S::Down),
        (_, E::LoopIndication) => Some(S::Loopback),
        (S::Loopback, E::UnloopIndication) => Some(S::Down),
        (S::Loopback | S::PointToPoint, E::Up(_))
        | (S::Down | S::PointToPoint, E::UnloopIndication) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::InterfaceEvent as E;
    use super::InterfaceState as S;
    use super::*;

    #[test]
    fn full_transition_table() {
        let p2p = E::Up(InterfaceKind::PointToPoint);
        let lo = E::Up(InterfaceKind::Loopback);
        #[rustfmt::skip]
        let table = [
            (S::Down, p2p, Some(S::PointToPoint)),
            (S::Down, lo, Some(S::Loopback)),
            (S::Down, E::LoopIndication, Some(S::Loopback)),
            (S::Down, E::UnloopIndication, None),
            (S::Down, E::Down, Some(S::Down)),
            (S::Loopback, p2p, None),
            (S::Loopback, lo, None),
            (S::Loopback, E::LoopIndication, Some(S::Loopback)),
            (S::Loopback, E::UnloopIndication, Some(S::Down)),
            (S::Loopback, E::Down, Some(S::Down)),
            (S::PointToPoint, p2p, None),
            (S::PointToPoint, lo, None),
            (S::PointToPoint, E::LoopIndication, Some(S::Loopback)),
            (S::PointToPoint, E::UnloopIndication, None),
            (S::PointToPoint, E::Down, Some(S::Down)),
        ];
        for (state, event, expected) in table {
            assert_eq!(transition(state, event), expected, "{state:?} {event:?}");
        }
    }
}
