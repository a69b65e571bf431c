//! Other routing daemons: what they and OSPF both know a way to, only one of them can route.

use crate::{
    facts::Facts,
    finding::{Finding, Severity},
};

pub(crate) fn check(facts: &Facts) -> Vec<Finding> {
    let Some(routing) = &facts.routing else {
        return Vec::new();
    };
    let (table, metric) = (routing.table, routing.metric);
    let who = match routing.running.join(", ") {
        running if running.is_empty() => "another routing daemon".to_owned(),
        running => format!("another routing daemon ({running})"),
    };
    let routes: usize = routing.routes.iter().map(|it| it.count).sum();
    let kinds: Vec<String> = routing
        .routes
        .iter()
        .map(|it| {
            format!(
                "{} of `proto {}` metric {}",
                it.count, it.protocol, it.metric
            )
        })
        .collect();
    let kinds = kinds.join(", ");
    if routing.running.is_empty() && routes == 0 {
        return Vec::new();
    }
    let other_table = "give l2ha a `table` of its own with a rule that leads there, or have the other daemon keep \
                       the prefixes of l2ha out of the kernel";
    let in_the_way = routing.routes.iter().any(|it| it.metric <= metric);
    let finding = if routes == 0 {
        Finding::new(
            Severity::Note,
            "routing-daemon",
            format!("{who} runs here; it has no routes in table {table}, which l2ha uses"),
        )
    } else if in_the_way {
        Finding::new(
            Severity::Warning,
            "routing-daemon",
            format!(
                "{who} has routes in table {table} ({kinds}): where they lead to the same prefixes as those of \
                 l2ha, which have metric {metric}, they win, or l2ha leaves the prefix to them"
            ),
        )
        .remedy(other_table)
    } else {
        Finding::new(
            Severity::Note,
            "routing-daemon",
            format!(
                "{who} has routes in table {table} ({kinds}): for the same prefixes, those of l2ha win with \
                 metric {metric}"
            ),
        )
        .remedy(other_table)
    };
    vec![finding]
}
