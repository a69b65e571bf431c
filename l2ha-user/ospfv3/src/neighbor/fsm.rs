//! The neighbour state machine, RFC 2328 10.1 to 10.3.

use serde::{Deserialize, Serialize};

/// State of a conversation with a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NeighborState {
    /// Nothing heard lately.
    Down,
    /// Configured on a non-broadcast network and silent.
    Attempt,
    /// Heard, but it has not heard us.
    Init,
    /// Each hears the other.
    TwoWay,
    /// Deciding which router is master of the database exchange.
    ExStart,
    /// Describing databases to each other.
    Exchange,
    /// Fetching what the other has and we lack.
    Loading,
    /// Databases are equal: adjacent.
    Full,
}

/// What happens in a conversation. RFC 2328 10.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NeighborEvent {
    /// A Hello came.
    HelloReceived,
    /// Hellos are to be sent to a configured neighbour.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the whole diagram of RFC 2328 10.3")
    )]
    Start,
    /// We are in its Hello; whether an adjacency is wanted.
    TwoWayReceived { adjacency: bool },
    /// Master and first sequence number are agreed.
    NegotiationDone,
    /// Both sides have described everything; whether nothing is left to request.
    ExchangeDone { complete: bool },
    /// A request for, or a delivery of, what cannot be.
    BadLsReq,
    /// Everything requested has come.
    LoadingDone,
    /// Look again at whether an adjacency is wanted.
    AdjOk { adjacency: bool },
    /// A Database Description that breaks the exchange.
    SeqNumberMismatch,
    /// We are not in its Hello.
    OneWay,
    /// Tear it down.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the whole diagram of RFC 2328 10.3")
    )]
    KillNbr,
    /// Nothing heard for the dead interval.
    InactivityTimer,
    /// The link is down.
    LlDown,
}

/// Why a neighbour changed state, for events and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A Hello came.
    HelloReceived,
    /// We are in its Hello.
    TwoWayReceived,
    /// Master and sequence number are agreed.
    NegotiationDone,
    /// Databases are described.
    ExchangeDone,
    /// A bad request or delivery: the exchange starts again.
    BadLsReq,
    /// Everything requested has come.
    LoadingDone,
    /// The need for an adjacency was looked at again.
    AdjOk,
    /// The exchange broke and starts again.
    SeqNumberMismatch,
    /// We are not in its Hello: it restarted, lost us, or is shutting down.
    OneWayReceived,
    /// Torn down by us.
    KillNbr,
    /// Silent for the dead interval, or declared dead from outside.
    InactivityTimer,
    /// The link is down.
    LlDown,
    /// It came back under another Interface ID.
    InterfaceIdChanged,
    /// Declared down from outside, as by BFD.
    DeclaredDead,
}

impl NeighborEvent {
    pub(crate) const fn reason(self) -> Reason {
        match self {
            Self::HelloReceived | Self::Start => Reason::HelloReceived,
            Self::TwoWayReceived { .. } => Reason::TwoWayReceived,
            Self::NegotiationDone => Reason::NegotiationDone,
            Self::ExchangeDone { .. } => Reason::ExchangeDone,
            Self::BadLsReq => Reason::BadLsReq,
            Self::LoadingDone => Reason::LoadingDone,
            Self::AdjOk { .. } => Reason::AdjOk,
            Self::SeqNumberMismatch => Reason::SeqNumberMismatch,
            Self::OneWay => Reason::OneWayReceived,
            Self::KillNbr => Reason::KillNbr,
            Self::InactivityTimer => Reason::InactivityTimer,
            Self::LlDown => Reason::LlDown,
        }
    }
}

/// What to do on a transition, in the order of the declaration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Actions {
    /// Empty the retransmission, summary and request lists and stop their timers.
    pub(crate) clear_lists: bool,
    /// Restart the inactivity timer.
    pub(crate) restart_inactivity: bool,
    /// Remove the neighbour.
    pub(crate) forget: bool,
    /// Claim to be master: new DD sequence number, initial Database Description.
    pub(crate) start_exchange: bool,
    /// List the whole database for the exchange.
    pub(crate) list_database: bool,
}

/// The state does not expect the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} in state {state:?}")]
pub(crate) struct Unexpected {
    pub(crate) state: NeighborState,
    pub(crate) event: NeighborEvent,
}

const NOTHING: Actions = Actions {
    clear_lists: false,
    restart_inactivity: false,
    forget: false,
    start_exchange: false,
    list_database: false,
};
const HEARD: Actions = Actions {
    restart_inactivity: true,
    ..NOTHING
};
const CLEAR: Actions = Actions {
    clear_lists: true,
    ..NOTHING
};
const FORGET: Actions = Actions {
    clear_lists: true,
    forget: true,
    ..NOTHING
};
const START_EXCHANGE: Actions = Actions {
    start_exchange: true,
    ..NOTHING
};
const RESTART_EXCHANGE: Actions = Actions {
    clear_lists: true,
    start_exchange: true,
    ..NOTHING
};
const LIST_DATABASE: Actions = Actions {
    list_database: true,
    ..NOTHING
};

/// The state after an event and what to do.
///
/// ```text
///   Down --Start--> Attempt
///     \--Hello--> Init <--Hello-- Attempt
///                  | TwoWayReceived
///                  v
///   TwoWay <--> ExStart --NegotiationDone--> Exchange --ExchangeDone--> Loading --> Full
///                  ^-------- SeqNumberMismatch, BadLSReq ----------------------------'
///   TwoWay or above --OneWay--> Init          any --KillNbr, LLDown, Inactivity--> Down
/// ```
pub(crate) const fn transition(
    state: NeighborState,
    event: NeighborEvent,
) -> Result<(NeighborState, Actions), Unexpected> {
    use NeighborEvent as E;
    use NeighborState as S;
    Ok(match (state, event) {
        (S::Down, E::Start) => (S::Attempt, HEARD),
        (S::Down | S::Attempt, E::HelloReceived) => (S::Init, HEARD),
        (_, E::HelloReceived) => (state, HEARD),

        (S::Init, E::TwoWayReceived { adjacency: true }) => (S::ExStart, START_EXCHANGE),
        (S::Init, E::TwoWayReceived { adjacency: false }) => (S::TwoWay, NOTHING),
        (S::TwoWay | S::ExStart | S::Exchange | S::Loading | S::Full, E::TwoWayReceived { .. }) => {
            (state, NOTHING)
        }

        (S::ExStart, E::NegotiationDone) => (S::Exchange, LIST_DATABASE),
        (S::Exchange, E::ExchangeDone { complete: true }) => (S::Full, NOTHING),
        (S::Exchange, E::ExchangeDone { complete: false }) => (S::Loading, NOTHING),
        (S::Loading, E::LoadingDone) => (S::Full, NOTHING),

        (S::TwoWay, E::AdjOk { adjacency: true }) => (S::ExStart, START_EXCHANGE),
        (S::ExStart | S::Exchange | S::Loading | S::Full, E::AdjOk { adjacency: false }) => {
            (S::TwoWay, CLEAR)
        }
        (_, E::AdjOk { .. }) => (state, NOTHING),

        (S::Exchange | S::Loading | S::Full, E::SeqNumberMismatch | E::BadLsReq) => {
            (S::ExStart, RESTART_EXCHANGE)
        }

        (S::TwoWay | S::ExStart | S::Exchange | S::Loading | S::Full, E::OneWay) => {
            (S::Init, CLEAR)
        }
        (S::Init, E::OneWay) => (S::Init, NOTHING),

        (_, E::KillNbr | E::LlDown | E::InactivityTimer) => (S::Down, FORGET),

        (
            _,
            E::Start
            | E::TwoWayReceived { .. }
            | E::NegotiationDone
            | E::ExchangeDone { .. }
            | E::BadLsReq
            | E::LoadingDone
            | E::SeqNumberMismatch
            | E::OneWay,
        ) => return Err(Unexpected { state, event }),
    })
}
