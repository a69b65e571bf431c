//! The judgement: what is wrong, as a function of the facts alone.

use std::net::Ipv4Addr;

use control::{HealthState, Problem, ProblemId, ServiceHealth, ServiceStatus, Severity, Subject};

use super::{
    facts::{Facts, NodeFacts, OspfFacts, RoutingFacts},
    members, router_ids, tunnels,
};

/// A problem as the judgement finds it.
pub(crate) fn problem(
    id: ProblemId,
    severity: Severity,
    subject: Subject,
    text: impl Into<String>,
    remedy: impl Into<String>,
) -> Problem {
    Problem {
        id,
        severity,
        subject,
        text: text.into(),
        remedy: remedy.into(),
        since_ms: 0,
    }
}

/// Everything that is wrong, the worst first.
pub(crate) fn judge(facts: &Facts) -> Vec<Problem> {
    let mut problems: Vec<Problem> = underlay(facts).into_iter().collect();
    problems.extend(node(&facts.node));
    problems.extend(facts.node.membership.iter().flat_map(members::check));
    problems.extend(routing(&facts.routing));
    let has_underlay = !problems.iter().any(|it| it.subject == Subject::Underlay);
    let undone = undone(facts);
    let ospf = match &facts.routing {
        RoutingFacts::Runs(ospf) => Some(ospf),
        RoutingFacts::None | RoutingFacts::Ended(_) | RoutingFacts::Silent => None,
    };
    if has_underlay {
        let tunnels = facts.tunnels.iter();
        let mut found: Vec<Problem> = tunnels
            .flat_map(|tunnel| tunnels::check(tunnel, ospf, facts.node.uptime))
            .collect();
        let (of_tunnel, other): (Vec<Problem>, Vec<Problem>) = undone
            .into_iter()
            .partition(|it| matches!(it.subject, Subject::Tunnel(_)));
        found.extend(of_tunnel);
        problems.extend(other);
        if ospf.is_some_and(|ospf| is_alone(facts, ospf)) {
            // No neighbour is left: what is advertised here reaches nobody.
            for problem in &mut found {
                problem.severity = Severity::Failed;
            }
        }
        problems.extend(found);
    } else {
        problems.extend(undone);
    }
    let routing_works = ospf.is_some() && has_underlay;
    let services = facts.services.iter();
    let refused = facts.node.service_refused.as_deref();
    problems.extend(services.filter_map(|it| service(it, routing_works, refused)));
    Problem::sort(&mut problems);
    problems
}

/// Whether OSPF runs over tunnels, and over none of them there is an adjacency.
fn is_alone(facts: &Facts, ospf: &OspfFacts) -> bool {
    let mut tunnels = facts.tunnels.iter().filter(|it| it.ospf).peekable();
    tunnels.peek().is_some() && tunnels.all(|it| !it.is_adjacent(ospf))
}

fn underlay(facts: &Facts) -> Option<Problem> {
    let underlay = &facts.underlay;
    let name = &underlay.interface;
    let found = |id, text: String, remedy: String| {
        Some(problem(
            id,
            Severity::Failed,
            Subject::Underlay,
            text,
            remedy,
        ))
    };
    match (&underlay.problem, underlay.ifindex, &underlay.hook) {
        (Some(text), ..) => found(
            ProblemId::UnderlayUnusable,
            text.clone(),
            "`l2ha doctor` here gives the command; or write in [underlay] what `ip address` shows"
                .to_owned(),
        ),
        (None, None, _) => found(
            ProblemId::UnderlayUnusable,
            format!("interface {name} is not there"),
            "[underlay].interface here: write the name that `ip link` shows".to_owned(),
        ),
        (None, Some(_), None) => found(
            ProblemId::ProgramMissing,
            format!("no decapsulation program on {name}"),
            "the log says why; `l2ha doctor` here says what is in the way".to_owned(),
        ),
        (None, Some(_), Some(_)) => None,
    }
}

fn node(node: &NodeFacts) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut found = |id, text: String, remedy: &str| {
        let degraded = Severity::Degraded;
        problems.push(problem(id, degraded, Subject::Node, text, remedy));
    };
    if let Some(why) = &node.port_taken {
        found(
            ProblemId::PortTaken,
            why.clone(),
            "end that process, or write another `local_port` here and `remote_port` at the peer",
        );
    }
    if let Some(why) = &node.reload_refused {
        found(
            ProblemId::ReloadRefused,
            format!("the changed configuration is not in force: {why}"),
            "correct it here (`l2ha check` shows every mistake), then reload",
        );
    }
    if let Some(why) = &node.state_not_kept {
        found(
            ProblemId::StateNotKept,
            why.clone(),
            "make room in [node].run_dir (`df`, `df -i`) here, or let the daemon write there",
        );
    }
    if node.log_lost {
        found(
            ProblemId::LogLost,
            "the log loses lines: its reader is too slow or stands still".to_owned(),
            "see to what reads standard error here (journald, or the other end of the pipe)",
        );
    }
    problems
}

/// One problem, however much is undone: each has a line in the log. What follows from it at its tunnel comes after it.
fn undone(facts: &Facts) -> Option<Problem> {
    let (about, what) = facts.node.undone.first()?;
    let is_tunnel = facts.tunnels.iter().any(|it| it.status.name == *about);
    let is_service = facts.services.iter().any(|it| it.name == *about);
    let (subject, who) = match (is_tunnel, is_service) {
        (true, _) => (Subject::Tunnel(about.clone()), String::new()),
        (false, true) => (Subject::Service(about.clone()), String::new()),
        (false, false) => (Subject::Node, format!("{about}: ")),
    };
    Some(problem(
        ProblemId::RepairUndone,
        Severity::Degraded,
        subject,
        format!("{who}somebody undoes what is put right here: {what}"),
        "find what changes it on this host (`ip monitor`): another tool, a script, cron",
    ))
}

fn routing(routing: &RoutingFacts) -> Vec<Problem> {
    let (id, severity, text, remedy) = match routing {
        RoutingFacts::None => return Vec::new(),
        RoutingFacts::Ended(why) => (
            ProblemId::RoutingEnded,
            Severity::Failed,
            format!("OSPF has ended, and is started again: {why}"),
            "if it goes on: the log has the first error; `l2ha doctor` here",
        ),
        RoutingFacts::Silent => (
            ProblemId::RoutingSilent,
            Severity::Failed,
            "the routing thread does not answer".to_owned(),
            "look whether this host is overloaded; if it goes on, restart the daemon",
        ),
        RoutingFacts::Runs(ospf) => return running(ospf),
    };
    vec![problem(id, severity, Subject::Node, text, remedy)]
}

fn running(ospf: &OspfFacts) -> Vec<Problem> {
    let mut problems: Vec<Problem> = router_ids::behind(ospf).into_iter().collect();
    let degraded = Severity::Degraded;
    if ospf.routes_refused {
        problems.push(problem(
            ProblemId::RouteRefused,
            degraded,
            Subject::Node,
            "the kernel refuses routes that OSPF has computed",
            "the log has the kernel's answer; [ospf] `table` and `route_metric` here",
        ));
    }
    // One problem, however many there are: `l2ha ospf routes` has all.
    if let [first, others @ ..] = &ospf.kept_out[..] {
        let router = first.routers.first();
        let router = router.map_or_else(|| "a router".to_owned(), Ipv4Addr::to_string);
        let others = if others.is_empty() {
            ""
        } else {
            ", and others"
        };
        problems.push(problem(
            ProblemId::RouteNotInstalled,
            degraded,
            Subject::Node,
            format!(
                "{router} advertises {}{others}: not installed, {}",
                first.prefix,
                first.reason.text()
            ),
            format!("`l2ha ospf routes` here shows all; take it back at {router}"),
        ));
    }
    problems
}

fn service(service: &ServiceStatus, routing_works: bool, refused: Option<&str>) -> Option<Problem> {
    let ServiceStatus { name, address, .. } = service;
    let found = |id, severity, text: String, remedy: String| {
        let subject = Subject::Service(name.clone());
        Some(problem(id, severity, subject, text, remedy))
    };
    let health = service.health.as_ref();
    let state = health.map_or(HealthState::Passing, |health| health.state);
    match (state, health.and_then(ServiceHealth::why)) {
        (HealthState::Failed, why) => found(
            ProblemId::ServiceFailed,
            Severity::Failed,
            format!(
                "{}, {}",
                if service.advertised {
                    "last resort"
                } else {
                    "withdrawn"
                },
                why.unwrap_or_default()
            ),
            format!("start what serves {address} here, or correct `check` of this service"),
        ),
        (HealthState::Waiting, why) => found(
            ProblemId::ServiceWaiting,
            Severity::Degraded,
            format!("not advertised, {}", why.unwrap_or_default()),
            format!("it is advertised after `rise` passes; else start what serves {address} here"),
        ),
        (HealthState::Passing, _) if !service.advertised && routing_works => found(
            ProblemId::ServiceNotAdvertised,
            Severity::Failed,
            match refused {
                Some(why) => format!("{address} is not advertised: {why}"),
                None => {
                    format!("{address} is not advertised: it is not on lo, or has no local route")
                }
            },
            format!("see who takes it away here: `ip address show lo`, `ip route get {address}`"),
        ),
        (HealthState::Passing, _) => None,
    }
}

#[cfg(test)]
mod tests;
