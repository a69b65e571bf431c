//! Reads `[membership]`, and what `[node]` says for it.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use toml::de::{DeTable, DeValue};

use crate::{
    address,
    cluster::{CLUSTER, Role},
    duration::{duration, long_duration},
    names,
    report::{Found, Place, Report},
    section::{Section, find},
    words::{kind, list},
};

use super::{
    schema::{GRANT, JOINER, MEMBERSHIP},
    types::{Grant, Membership},
};

/// What can be written for `lease`.
const LEASES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(3600));
/// What can be written for `forget_after`.
const FORGET: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(366 * 86_400));
/// How many patterns there can be.
const MOST_GRANTS: usize = 64;

/// Reads `[membership]`; nothing where there is none, or it has mistakes.
pub(crate) fn read(report: &Report, root: &DeTable<'_>, folder: &Path) -> Option<Membership> {
    let value = find(root, MEMBERSHIP.name)?;
    let place = Place {
        line: report.line(value.span().start),
        key: MEMBERSHIP.name.to_owned(),
    };
    let DeValue::Table(table) = value.get_ref() else {
        let what = format!("must be a section, not {}", kind(value.get_ref()));
        report.error(
            &place,
            what,
            "write `[membership]` on a line of its own, and its keys below",
        );
        return None;
    };
    let before = report.count();
    let section = Section::new(report, &MEMBERSHIP, place, table);
    let cluster = cluster_name(root)?;
    let path = |name: &str| -> Option<PathBuf> {
        let found = section.string(name)?;
        if found.value.is_empty() {
            let remedy = format!("write `{name} = {}`", section.example(name));
            report.error(&found.place, "there is no file name", remedy);
        }
        Some(folder.join(found.value))
    };
    let etcd = endpoints(&section);
    let certificate = both(
        &section,
        "cert_file",
        "key_file",
        path("cert_file"),
        path("key_file"),
    );
    let user = section.string("user").map(|found| found.value.to_owned());
    let user = both(
        &section,
        "user",
        "password_file",
        user,
        path("password_file"),
    );
    let prefix = prefix(&section).unwrap_or_else(|| format!("/l2ha/{cluster}/"));
    let lease = duration(&section, "lease", LEASES.0..=LEASES.1);
    let forget_after = long_duration(&section, "forget_after", FORGET.0..=FORGET.1);
    let state_dir = path("state_dir");
    let grants = grants(&section);
    let (own, own_address) = own(report, root);
    let membership = Membership {
        cluster: cluster.to_owned(),
        etcd,
        prefix,
        ca_file: path("ca_file"),
        certificate,
        user,
        lease: lease.unwrap_or(Duration::from_secs(30)),
        forget_after: forget_after.unwrap_or(Duration::from_secs(7 * 86_400)),
        state_dir: state_dir.unwrap_or_else(|| PathBuf::from("/var/lib/l2ha")),
        grants,
        local: local(root),
        own,
        own_address,
        set_aside: Vec::new(),
        text: String::new(),
    };
    (report.count() == before).then_some(membership)
}

fn cluster_name<'a>(root: &'a DeTable<'_>) -> Option<&'a str> {
    let DeValue::Table(cluster) = find(root, CLUSTER.name)?.get_ref() else {
        return None;
    };
    find(cluster, "name")?.get_ref().as_str()
}

/// The nodes that the file names; those with mistakes are reported elsewhere.
fn local(root: &DeTable<'_>) -> BTreeMap<String, Vec<IpAddr>> {
    let mut local = BTreeMap::new();
    let Some(DeValue::Table(cluster)) = find(root, CLUSTER.name).map(|it| it.get_ref()) else {
        return local;
    };
    for (_, key, _) in Role::ALL {
        let Some(DeValue::Table(nodes)) = find(cluster, key).map(|it| it.get_ref()) else {
            continue;
        };
        for (name, value) in nodes.iter() {
            local.insert(name.get_ref().to_string(), addresses(value.get_ref()));
        }
    }
    local
}

fn addresses(value: &DeValue<'_>) -> Vec<IpAddr> {
    match value {
        DeValue::String(text) => text.parse().into_iter().collect(),
        DeValue::Array(array) => array
            .iter()
            .flat_map(|it| addresses(it.get_ref()))
            .collect(),
        DeValue::Table(table) => ["address", "addresses"]
            .into_iter()
            .filter_map(|key| find(table, key))
            .flat_map(|it| addresses(it.get_ref()))
            .collect(),
        _ => Vec::new(),
    }
}

fn endpoints(section: &Section<'_>) -> Vec<String> {
    let good = |text: &str| text.starts_with("https://") || text.starts_with("http://");
    let Some(strings) = section.strings("etcd", good) else {
        return Vec::new();
    };
    if strings.empty {
        let remedy = format!("write `etcd = {}`", section.example("etcd"));
        section.report.error(&strings.place, "is empty", remedy);
    }
    let mut endpoints = Vec::new();
    for found in strings.good {
        let rest = found
            .value
            .strip_prefix("https://")
            .or_else(|| found.value.strip_prefix("http://"));
        let port = rest.and_then(|rest| rest.rsplit_once(':'));
        let sound = port.is_some_and(|(host, port)| {
            !host.is_empty()
                && !host.contains('/')
                && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
        if sound {
            endpoints.push(found.value.to_owned());
        } else {
            section.report.error(
                &found.place,
                format!("`{}` is no URL of etcd", found.value),
                "write scheme, host and port, as `https://10.0.0.5:2379`",
            );
        }
    }
    endpoints
}

/// Two keys of which neither is of use alone.
fn both<A, B>(
    section: &Section<'_>,
    first: &str,
    second: &str,
    one: Option<A>,
    other: Option<B>,
) -> Option<(A, B)> {
    let (there, missing) = match (one, other) {
        (Some(one), Some(other)) => return Some((one, other)),
        (None, None) => return None,
        (Some(_), None) => (first, second),
        (None, Some(_)) => (second, first),
    };
    if let Some(place) = section.place_of(there) {
        section.report.error(
            &place,
            format!("`{there}` is of no use without `{missing}`"),
            format!(
                "add `{missing} = {}`, or remove it",
                section.example(missing)
            ),
        );
    }
    None
}

fn prefix(section: &Section<'_>) -> Option<String> {
    let found = section.string("prefix")?;
    let plain = |c: char| c.is_ascii_graphic();
    if found.value.is_empty() || found.value.len() > 128 || !found.value.chars().all(plain) {
        let remedy = format!("write `prefix = {}`", section.example("prefix"));
        section
            .report
            .error(&found.place, "must be 1 to 128 visible characters", remedy);
        return None;
    }
    Some(format!("{}/", found.value.trim_end_matches('/')))
}

fn grants(section: &Section<'_>) -> Vec<Grant> {
    let Some(found) = section.value("grants") else {
        return Vec::new();
    };
    let report = section.report;
    let DeValue::Table(table) = found.value.get_ref() else {
        let what = format!("must be a section, not {}", kind(found.value.get_ref()));
        let remedy = "write `[membership.grants]` on a line of its own, and a line for each below";
        report.error(&found.place, what, remedy);
        return Vec::new();
    };
    let mut entries: Vec<_> = table.iter().collect();
    // The first that fits counts.
    entries.sort_by_key(|(names, _)| names.span().start);
    if let Some((over, _)) = entries.get(MOST_GRANTS) {
        let place = Place {
            line: report.line(over.span().start),
            key: found.place.key.clone(),
        };
        report.error(
            &place,
            format!("there can be {MOST_GRANTS} at most"),
            "let one pattern stand for several",
        );
    }
    let mut grants = Vec::new();
    for (names, value) in entries {
        let text = names.get_ref();
        let place = Place {
            line: report.line(names.span().start),
            key: format!("{}.{text}", found.place.key),
        };
        let stem = text.replace('*', "");
        let problem = match stem.is_empty() {
            true => None,
            false => names::node_problem(&stem),
        };
        if let Some(problem) = problem {
            report.error(
                &place,
                problem,
                "write names of nodes, with `*` for any characters, as `\"web-*\"`",
            );
            continue;
        }
        let DeValue::Table(table) = value.get_ref() else {
            let what = format!("must be a table, not {}", kind(value.get_ref()));
            report.error(
                &place,
                what,
                format!("write `\"{text}\" = {{ role = \"server\" }}`"),
            );
            continue;
        };
        let own = Section::new(report, &GRANT, place, table);
        let Some(role) = role(&own) else {
            continue;
        };
        let services = services(&own, role);
        grants.push(Grant {
            names: text.to_string(),
            role,
            services,
        });
    }
    grants
}

/// The role that a table names.
fn role(section: &Section<'_>) -> Option<Role> {
    let roles = Role::ALL.map(|(role, _, _)| (role.name(), role));
    section.choice("role", &roles)
}

/// The services that a table names, which only a server has.
fn services(section: &Section<'_>, role: Role) -> Vec<String> {
    let Some(found) = section.strings("services", |name| names::label_problem(name).is_none())
    else {
        return Vec::new();
    };
    if role != Role::Server && !found.empty {
        section.report.error(
            &found.place,
            format!("{} has no services", role.shown()),
            "remove it, or write `role = \"server\"`",
        );
    }
    found.good.iter().map(|it| it.value.to_owned()).collect()
}

/// What `[node]` says that this one is.
fn own(report: &Report, root: &DeTable<'_>) -> (Option<(Role, Vec<String>)>, Option<IpAddr>) {
    let Some(value) = find(root, JOINER.name) else {
        return (None, None);
    };
    let DeValue::Table(table) = value.get_ref() else {
        return (None, None);
    };
    let place = Place {
        line: report.line(value.span().start),
        key: JOINER.name.to_owned(),
    };
    // Unknown keys are told where the section itself is read.
    let section = Section::known(report, &JOINER, place, table);
    let shown = address::Shown {
        key: "address",
        array: false,
        example: "10.0.0.1",
        of: "this node",
    };
    let address = section.string("address");
    let address: Option<Found<IpAddr>> = address.and_then(|it| address::host(report, &it, &shown));
    let address = address.map(|found| found.value);
    if section.place_of("role").is_none() {
        if let Some(place) = section.place_of("services") {
            let roles = Role::ALL.map(|(role, _, _)| role.name());
            let what = "services are those of a server";
            report.error(&place, what, format!("add `role`, one of {}", list(&roles)));
        }
        return (None, address);
    }
    let own = role(&section).map(|role| (role, services(&section, role)));
    (own, address)
}
