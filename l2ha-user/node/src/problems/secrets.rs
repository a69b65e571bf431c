//! Ends of a tunnel that have no secret in common.

use control::{Problem, ProblemId, Severity, Subject};

use super::{facts::TunnelFacts, judge::problem};

/// What is to be said of a peer whose packets are of another secret, where a tunnel has keys of its own: the ends may
/// have gone past each other in a rotation.
pub(crate) fn other_secret(tunnel: &TunnelFacts) -> Option<Problem> {
    let remote = tunnel.status.remote;
    let which = match tunnel.own_keys? {
        true => "neither the present nor the former one here",
        false => "not the one here, which accepts no former one",
    };
    Some(problem(
        ProblemId::SecretMismatch,
        Severity::Degraded,
        Subject::Tunnel(tunnel.status.name.clone()),
        format!("packets from {remote} are of another secret: {which}"),
        format!(
            "one secret (or its key and cookie files) here and at {remote}; the former stays at both while one \
             end uses it"
        ),
    ))
}
