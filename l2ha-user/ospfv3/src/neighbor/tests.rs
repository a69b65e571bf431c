//! The whole table of RFC 2328 10.3, then any sequence of events.

use proptest::prelude::*;

use super::fsm::{Actions, NeighborEvent as E, NeighborState as S, transition};

const STATES: [S; 8] = [
    S::Down,
    S::Attempt,
    S::Init,
    S::TwoWay,
    S::ExStart,
    S::Exchange,
    S::Loading,
    S::Full,
];
const EVENTS: [E; 17] = [
    E::HelloReceived,
    E::Start,
    E::TwoWayReceived { adjacency: true },
    E::TwoWayReceived { adjacency: false },
    E::NegotiationDone,
    E::ExchangeDone { complete: true },
    E::ExchangeDone { complete: false },
    E::BadLsReq,
    E::LoadingDone,
    E::AdjOk { adjacency: true },
    E::AdjOk { adjacency: false },
    E::SeqNumberMismatch,
    E::OneWay,
    E::KillNbr,
    E::InactivityTimer,
    E::LlDown,
    E::HelloReceived,
];

/// The next states, one row for each event, one column for each state; `None` is unexpected.
#[test]
fn full_transition_table() {
    use S::*;
    const N: Option<S> = None;
    const fn s(state: S) -> Option<S> {
        Some(state)
    }
    #[rustfmt::skip]
    let table: [[Option<S>; 8]; 17] = [
        // Down     Attempt     Init        TwoWay      ExStart     Exchange    Loading     Full
        [s(Init),   s(Init),    s(Init),    s(TwoWay),  s(ExStart), s(Exchange), s(Loading), s(Full)],
        [s(Attempt), N,         N,          N,          N,          N,          N,          N],
        [N,         N,          s(ExStart), s(TwoWay),  s(ExStart), s(Exchange), s(Loading), s(Full)],
        [N,         N,          s(TwoWay),  s(TwoWay),  s(ExStart), s(Exchange), s(Loading), s(Full)],
        [N,         N,          N,          N,          s(Exchange), N,         N,          N],
        [N,         N,          N,          N,          N,          s(Full),    N,          N],
        [N,         N,          N,          N,          N,          s(Loading), N,          N],
        [N,         N,          N,          N,          N,          s(ExStart), s(ExStart), s(ExStart)],
        [N,         N,          N,          N,          N,          N,          s(Full),    N],
        [s(Down),   s(Attempt), s(Init),    s(ExStart), s(ExStart), s(Exchange), s(Loading), s(Full)],
        [s(Down),   s(Attempt), s(Init),    s(TwoWay),  s(TwoWay),  s(TwoWay),  s(TwoWay),  s(TwoWay)],
        [N,         N,          N,          N,          N,          s(ExStart), s(ExStart), s(ExStart)],
        [N,         N,          s(Init),    s(Init),    s(Init),    s(Init),    s(Init),    s(Init)],
        [s(Down),   s(Down),    s(Down),    s(Down),    s(Down),    s(Down),    s(Down),    s(Down)],
        [s(Down),   s(Down),    s(Down),    s(Down),    s(Down),    s(Down),    s(Down),    s(Down)],
        [s(Down),   s(Down),    s(Down),    s(Down),    s(Down),    s(Down),    s(Down),    s(Down)],
        [s(Init),   s(Init),    s(Init),    s(TwoWay),  s(ExStart), s(Exchange), s(Loading), s(Full)],
    ];
    for (event, row) in EVENTS.iter().zip(table) {
        for (state, expected) in STATES.iter().zip(row) {
            let next = transition(*state, *event).ok().map(|(next, _)| next);
            assert_eq!(next, expected, "{event:?} in {state:?}");
        }
    }
}

/// RFC 2328 10.3: the lists are emptied whenever an adjacency is given up, and only then.
#[test]
fn actions_follow_from_the_states() {
    for state in STATES {
        for event in EVENTS {
            let Ok((next, actions)) = transition(state, event) else {
                continue;
            };
            let gives_up = state >= S::ExStart && (next < S::ExStart || next < state);
            let kills =
                next == S::Down && matches!(event, E::KillNbr | E::InactivityTimer | E::LlDown);
            let clears = gives_up
                || kills
                || (state == S::TwoWay && next == S::Init)
                || (state == S::TwoWay && event == E::OneWay)
                || (event == E::AdjOk { adjacency: false } && state >= S::ExStart);
            let begins = next == S::ExStart && (state != S::ExStart);
            let expected = Actions {
                clear_lists: clears,
                restart_inactivity: matches!(event, E::HelloReceived | E::Start),
                forget: kills,
                start_exchange: begins,
                list_database: event == E::NegotiationDone,
            };
            assert_eq!(actions, expected, "{event:?} in {state:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Full is reached through every step, never by a jump, and always left by a known road.
    #[test]
    fn any_sequence_of_events(events in prop::collection::vec(0..EVENTS.len(), 0..200)) {
        let mut state = S::Down;
        for number in events {
            let event = EVENTS[number];
            let Ok((next, _)) = transition(state, event) else { continue };
            match next {
                S::Full => prop_assert!(matches!(state, S::Full | S::Loading | S::Exchange)),
                S::Loading => prop_assert!(matches!(state, S::Loading | S::Exchange)),
                S::Exchange => prop_assert!(matches!(state, S::Exchange | S::ExStart)),
                S::ExStart => prop_assert!(state >= S::Init),
                _ => {}
            }
            state = next;
        }
    }
}
