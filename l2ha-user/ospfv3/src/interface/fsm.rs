//! The interface state machine, RFC 2328 9.1 to 9.3.

use serde::{Deserialize, Serialize};

use crate::config::InterfaceKind;

/// State of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InterfaceState {
    /// No protocol traffic.
    Down,
    /// Only its prefixes are advertised.
    Loopback,
    /// Listening for the Designated Router before taking part in the election.
    Waiting,
    /// Operational on a point-to-point link.
    PointToPoint,
    /// On a link with a Designated Router, and neither it nor its Backup.
    DrOther,
    /// Backup Designated Router.
    Backup,
    /// Designated Router.
    Dr,
}

/// What happens to an interface. RFC 2328 9.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InterfaceEvent {
    /// The link is operational; whether we may become Designated Router.
    Up { kind: InterfaceKind, eligible: bool },
    /// The Wait Timer has fired.
    WaitTimer,
    /// A neighbour is Backup, or is Designated Router without one: waiting is over early.
    BackupSeen,
    /// Something that the election depends on.
    NeighborChange,
    /// The election made us this.
    Elected(Role),
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

/// What an election can make of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Neither.
    Other,
    /// Backup Designated Router.
    Backup,
    /// Designated Router.
    Designated,
}

/// What an event leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A state, possibly the same.
    State(InterfaceState),
    /// An election (RFC 2328 9.4), which will say.
    Election,
}

/// What follows from an event, or nothing if the state does not expect it.
///
/// ```text
///   Down --Up--> PointToPoint                any --Down--> Down
///    |\---Up--> Loopback                     any --LoopIndication--> Loopback --Unloop--> Down
///    |\---Up, not eligible--> DrOther
///     \---Up--> Waiting --WaitTimer, BackupSeen--> election --> DrOther, Backup or Dr
///               DrOther, Backup, Dr --NeighborChange--> election
/// ```
pub(crate) const fn transition(state: InterfaceState, event: InterfaceEvent) -> Option<Next> {
    use InterfaceEvent as E;
    use InterfaceKind as K;
    use InterfaceState as S;
    match (state, event) {
        (S::Down, E::Up { kind, eligible }) => Some(Next::State(match (kind, eligible) {
            (K::PointToPoint, _) => S::PointToPoint,
            (K::Loopback, _) => S::Loopback,
            (K::Broadcast, true) => S::Waiting,
            (K::Broadcast, false) => S::DrOther,
        })),
        (S::Waiting, E::WaitTimer | E::BackupSeen)
        | (S::DrOther | S::Backup | S::Dr, E::NeighborChange) => Some(Next::Election),
        (S::Waiting | S::DrOther | S::Backup | S::Dr, E::Elected(role)) => {
            Some(Next::State(match role {
                Role::Other => S::DrOther,
                Role::Backup => S::Backup,
                Role::Designated => S::Dr,
            }))
        }
        (_, E::Down) => Some(Next::State(S::Down)),
        (_, E::LoopIndication) => Some(Next::State(S::Loopback)),
        (S::Loopback, E::UnloopIndication) => Some(Next::State(S::Down)),
        (
            _,
            E::Up { .. }
            | E::WaitTimer
            | E::BackupSeen
            | E::NeighborChange
            | E::Elected(_)
            | E::UnloopIndication,
        ) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::InterfaceEvent as E;
    use super::InterfaceState as S;
    use super::*;

    const STATES: [S; 7] = [
        S::Down,
        S::Loopback,
        S::Waiting,
        S::PointToPoint,
        S::DrOther,
        S::Backup,
        S::Dr,
    ];

    const fn up(kind: InterfaceKind, eligible: bool) -> E {
        E::Up { kind, eligible }
    }

    #[test]
    fn full_transition_table() {
        const N: Option<Next> = None;
        const ELECT: Option<Next> = Some(Next::Election);
        const fn s(state: S) -> Option<Next> {
            Some(Next::State(state))
        }
        let (lo, down) = (s(S::Loopback), s(S::Down));
        let elected = |role: S| [N, N, s(role), N, s(role), s(role), s(role)];
        let only_down = |next: S| [s(next), N, N, N, N, N, N];
        #[rustfmt::skip]
        let table = [
            // Down, Loopback, Waiting, PointToPoint, DrOther, Backup, Dr
            (up(InterfaceKind::PointToPoint, true), only_down(S::PointToPoint)),
            (up(InterfaceKind::PointToPoint, false), only_down(S::PointToPoint)),
            (up(InterfaceKind::Loopback, true), only_down(S::Loopback)),
            (up(InterfaceKind::Broadcast, true), only_down(S::Waiting)),
            (up(InterfaceKind::Broadcast, false), only_down(S::DrOther)),
            (E::WaitTimer, [N, N, ELECT, N, N, N, N]),
            (E::BackupSeen, [N, N, ELECT, N, N, N, N]),
            (E::NeighborChange, [N, N, N, N, ELECT, ELECT, ELECT]),
            (E::Elected(Role::Other), elected(S::DrOther)),
            (E::Elected(Role::Backup), elected(S::Backup)),
            (E::Elected(Role::Designated), elected(S::Dr)),
            (E::LoopIndication, [lo, lo, lo, lo, lo, lo, lo]),
            (E::UnloopIndication, [N, down, N, N, N, N, N]),
            (E::Down, [down, down, down, down, down, down, down]),
        ];
        for (event, row) in table {
            for (state, expected) in STATES.into_iter().zip(row) {
                assert_eq!(transition(state, event), expected, "{event:?} in {state:?}");
            }
        }
    }
}
