//! `[[services]]` of one node.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    report::Place,
    words::{closest, list},
};

use super::{
    source::{inline, tables},
    types::{Cluster, Member, Role},
    writer::Writer,
};

/// Writes those that the member has, each with the metric of its place among the servers.
pub(crate) fn services(
    writer: &mut Writer<'_>,
    cluster: &Cluster<'_>,
    member: &Member<'_>,
    root: &DeTable<'_>,
) {
    let servers: Vec<&str> = cluster
        .members
        .iter()
        .filter(|member| member.role == Role::Server && member.joined.is_none())
        .map(|member| member.name)
        .collect();
    let all = tables(writer.report, root, "services");
    for (index, (place, entries)) in all.into_iter().enumerate() {
        let get = |name: &str| {
            entries
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| *value)
        };
        let key = |name: &str| Place {
            line: get(name).map_or(place.line, |value| writer.report.line(value.span().start)),
            key: format!("services[{index}].{name}"),
        };
        let named = match get("servers").map(Spanned::get_ref) {
            None => servers.clone(),
            Some(DeValue::Array(array))
                if array.iter().all(|it| it.get_ref().is_str()) && !array.is_empty() =>
            {
                array
                    .iter()
                    .filter_map(|it| it.get_ref().as_str())
                    .collect()
            }
            Some(_) => {
                writer.report.error(
                    &key("servers"),
                    "must be names of servers, in the order of preference",
                    format!(
                        "write `servers = [{}]`, or remove it for all of them",
                        quoted_list(&servers)
                    ),
                );
                continue;
            }
        };
        let mut wrong = false;
        for (at, name) in named.iter().enumerate() {
            let problem = if named[..at].contains(name) {
                Some((
                    format!("`{name}` is there twice"),
                    "remove one of the two".to_owned(),
                ))
            } else if servers.contains(name) {
                None
            } else if let Some(other) = cluster.member(name) {
                Some((
                    format!("`{name}` is {}", other.role.shown()),
                    "move its line below [cluster.servers], or remove it here".to_owned(),
                ))
            } else {
                let remedy = match closest(name, &servers) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("name some of {}", list(&servers)),
                };
                Some((format!("`{name}` is no server of this cluster"), remedy))
            };
            if let Some((what, remedy)) = problem {
                writer.report.error(&key("servers"), what, remedy);
                wrong = true;
            }
        }
        let share = match get("share").map(Spanned::get_ref) {
            None => false,
            Some(DeValue::Boolean(share)) => *share,
            Some(_) => {
                let remedy = "write `share = true` for all servers at once, or remove it";
                writer
                    .report
                    .error(&key("share"), "must be `true` or `false`", remedy);
                wrong = true;
                false
            }
        };
        let rank = match member.joined {
            None => named.iter().position(|name| *name == member.name),
            // All of those who joined share what the others leave: they come and go.
            Some(joiner) => {
                let name = get("name").and_then(|name| name.get_ref().as_str());
                let has = name.is_some_and(|name| joiner.services.iter().any(|it| it == name));
                has.then_some(named.len())
            }
        };
        let Some(rank) = rank.filter(|_| !wrong) else {
            continue;
        };
        writer.line(&place, "\n[[services]]");
        let ranked = !share && rank > 0;
        let metric = get("metric").and_then(|value| inline(value.get_ref()).parse::<u64>().ok());
        let written = get("metric").is_some();
        let without: &[&str] = match ranked && (metric.is_some() || !written) {
            true => &["servers", "share", "metric"],
            false => &["servers", "share"],
        };
        writer.entries(&entries, &format!("services[{index}]"), without);
        if without.contains(&"metric") {
            let metric = metric.unwrap_or(0) + rank as u64;
            writer.line(&key("metric"), &format!("metric = {metric}"));
        }
    }
}

fn quoted_list(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    quoted.join(", ")
}
