//! Routers that have one Router ID: said at both of them, and at a neighbour of both.

use std::fmt::Display;

use control::{Problem, ProblemId, Severity, Subject};

use super::{
    facts::{OspfFacts, TunnelFacts},
    judge::problem,
};

/// So many are named of what may be many.
const FEW: usize = 2;

/// What is so over a tunnel: the router there has this node's Router ID, or that of another neighbour.
pub(crate) fn over(tunnel: &TunnelFacts, ospf: &OspfFacts) -> Option<Problem> {
    let remote = tunnel.status.remote;
    let interface = &tunnel.status.interface;
    let found = |text, remedy: String| {
        let subject = Subject::Tunnel(tunnel.status.name.clone());
        let id = ProblemId::RouterIdDoubled;
        problem(id, Severity::Failed, subject, text, remedy)
    };
    let mut twins = ospf.twins.iter();
    if let Some(twin) = twins.find(|it| it.interface.as_ref() == Some(interface)) {
        return Some(found(
            format!(
                "{remote} ({}) has the Router ID of this node, {}",
                few(&twin.addresses),
                ospf.router_id
            ),
            format!("`router_id` in [ospf]: another one here or at {remote}"),
        ));
    }
    let is_here = |(name, _): &&(String, _)| name == interface;
    ospf.doubled_router_ids.iter().find_map(|doubled| {
        let here = doubled.neighbors.iter().find(is_here)?;
        let others = doubled.neighbors.iter().filter(|it| *it != here);
        let others: Vec<String> = others
            .map(|(name, address)| format!("{address} on {name}"))
            .collect();
        Some(found(
            format!(
                "{remote} ({}) and {} have one Router ID, {}",
                here.1,
                few(&others),
                doubled.router_id
            ),
            format!("`router_id` in [ospf] at {remote} or at the other: another one"),
        ))
    })
}

/// Another router has this node's Router ID, and is somewhere behind the neighbours.
pub(crate) fn behind(ospf: &OspfFacts) -> Option<Problem> {
    let twin = ospf.twins.iter().find(|it| it.interface.is_none())?;
    let mut text = format!(
        "another router has the Router ID of this node, {}",
        ospf.router_id
    );
    if !twin.neighbors.is_empty() {
        text += &format!("; it is next to {}", few(&twin.neighbors));
    }
    if !twin.addresses.is_empty() {
        text += &format!("; it has {}", few(&twin.addresses));
    }
    Some(problem(
        ProblemId::RouterIdDoubled,
        Severity::Failed,
        Subject::Node,
        text,
        "`router_id` in [ospf]: another one here or there",
    ))
}

/// The first of them, and how many more there are.
fn few(all: &[impl Display]) -> String {
    let named: Vec<String> = all.iter().take(FEW).map(ToString::to_string).collect();
    let named = named.join(", ");
    match all.len().saturating_sub(FEW) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}
