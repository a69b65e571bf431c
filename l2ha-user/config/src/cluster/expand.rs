//! What one node of a cluster gets, as a file without `[cluster]` that means the same.

use std::net::IpAddr;

use toml::de::{DeTable, DeValue};

use crate::{
    accept,
    report::{Place, Report},
    schema::TABLES,
};

use super::{
    derive::Public,
    keys::Keys,
    services::services,
    source::{inline, quoted, single, tables},
    tunnel::{of_cluster, setting, tunnel},
    types::{Cluster, Member, Who},
    writer::{Expansion, Writer},
};

/// Interface in the file of a node whose host is another one.
const ANY_INTERFACE: &str = "eth0";
/// Keys of `[node]` that are not written into its file: the cluster gives them, or they are for joining it.
const NOT_IN_NODE: &[&str] = &["name", "addresses", "role", "services", "address"];
/// Those of them that are of use only where nodes can join.
const OF_JOINERS: &[&str] = &["role", "services", "address"];
/// Keys that the cluster gives, of tables that stand beside it.
const GIVEN: &[(&str, &[&str], &str)] = &[
    (
        "node",
        &["name", "addresses"],
        "remove it: the cluster gives every node its name and address",
    ),
    (
        "underlay",
        &["interface", "addresses"],
        "write it into the node's own table below [cluster.servers], [cluster.clients] or [cluster.gateways]",
    ),
    (
        "ospf",
        &["router_id"],
        "write it into the node's own table below [cluster.servers], [cluster.clients] or [cluster.gateways]",
    ),
];

/// Writes what a member gets; `keys` are what this host has, `who` is what it is if the member is this host.
pub(crate) fn expand<'a>(
    cluster: &Cluster<'a>,
    member: &Member<'a>,
    keys: &Keys,
    root: &'a DeTable<'a>,
    who: Option<&Who>,
) -> Expansion {
    let report = cluster.section.report;
    let mut writer = Writer::new(report);
    let public = Public::new(cluster.name);
    shapes(report, root);
    given_keys(report, root, GIVEN);
    if root.iter().all(|(key, _)| key.get_ref() != "membership") {
        let remedy = "remove it, or add `[membership]`: it is what a node says that joins";
        given_keys(report, root, &[("node", OF_JOINERS, remedy)]);
    }
    let here = member.place.clone();
    writer.line(
        &here,
        &format!(
            "# `{}` of the cluster `{}`, as `l2ha check --expand` writes it.",
            member.name, cluster.name
        ),
    );
    node(&mut writer, member, &public, root);
    underlay(&mut writer, member, root, who);
    ospf(&mut writer, cluster, member, &public, root);
    for peer in cluster.peers(member) {
        tunnel(&mut writer, cluster, (member, peer), keys, &public);
    }
    for table in ["ospf_areas", "tunnels", "ospf_keys", "bfd_keys"] {
        for (index, (place, entries)) in tables(report, root, table).into_iter().enumerate() {
            writer.line(&place, &format!("\n[[{table}]]"));
            writer.entries(&entries, &format!("{table}[{index}]"), &[]);
        }
    }
    services(&mut writer, cluster, member, root);
    writer.out
}

/// `[node]` of the node of this name, as a file of its own.
pub(crate) fn node_text(report: &Report, name: &str, root: &DeTable<'_>) -> Option<String> {
    let mut text = format!("[node]\nname = \"{name}\"\n");
    for (_, entries) in single(report, root, "node") {
        for (key, value) in entries {
            if !NOT_IN_NODE.contains(&key) {
                text.push_str(&format!("{} = {}\n", quoted(key), inline(value.get_ref())));
            }
        }
    }
    (report.count() == 0).then_some(text)
}

/// Reports tables that are no tables, of which nothing could be written.
fn shapes(report: &Report, root: &DeTable<'_>) {
    for table in TABLES {
        let found = root.iter().find(|(key, _)| key.get_ref() == table.name);
        let Some((_, value)) = found else {
            continue;
        };
        let good = match (table.several, value.get_ref()) {
            (false, DeValue::Table(_)) => true,
            (true, DeValue::Array(array)) => array.iter().all(|it| it.get_ref().is_table()),
            _ => false,
        };
        if !good {
            let place = Place {
                line: report.line(value.span().start),
                key: table.name.to_owned(),
            };
            let header = table.header();
            let what = match table.several {
                true => "must be sections of which there can be several",
                false => "must be a section that there is one of",
            };
            report.error(
                &place,
                what,
                format!("write `{header}` on a line of its own, and its keys below"),
            );
        }
    }
}

/// Reports keys that only a file without `[cluster]` has.
fn given_keys(report: &Report, root: &DeTable<'_>, given: &[(&str, &[&str], &str)]) {
    for (table, keys, remedy) in given {
        for (_, entries) in single(report, root, table) {
            for (key, value) in entries {
                if keys.contains(&key) {
                    let place = Place {
                        line: report.line(value.span().start),
                        key: format!("{table}.{key}"),
                    };
                    report.error(
                        &place,
                        "the cluster file is the same on every node",
                        *remedy,
                    );
                }
            }
        }
    }
}

fn node<'a>(writer: &mut Writer<'a>, member: &Member<'_>, public: &Public, root: &DeTable<'_>) {
    let own = format!("\"{}\"", public.address(member.name));
    let ipv4 = setting(member, "ipv4");
    let addresses = match &ipv4 {
        Some((text, _)) => format!("[{own}, {text}]"),
        None => format!("[{own}]"),
    };
    let place = ipv4.map_or_else(|| member.place.clone(), |(_, place)| place);
    writer.line(&member.place, "\n[node]");
    writer.line(&member.place, &format!("name = \"{}\"", member.name));
    writer.line(&place, &format!("addresses = {addresses}"));
    for (_, entries) in single(writer.report, root, "node") {
        writer.entries(&entries, "node", NOT_IN_NODE);
    }
}

fn underlay(writer: &mut Writer<'_>, member: &Member<'_>, root: &DeTable<'_>, who: Option<&Who>) {
    let here = member.place.clone();
    writer.line(&here, "\n[underlay]");
    let found = who.and_then(|who| {
        let mut host = who.addresses.iter();
        host.find(|(_, address)| member.addresses.contains(address))
    });
    match (setting(member, "interface"), found, who) {
        (Some((text, place)), _, _) => writer.line(&place, &format!("interface = {text}")),
        (None, Some((name, _)), _) => writer.line(&here, &format!("interface = \"{name}\"")),
        (None, None, None) => writer.line(
            &here,
            &format!("interface = \"{ANY_INTERFACE}\" # the one that has the address"),
        ),
        (None, None, Some(_)) => {
            let addresses: Vec<String> = member.addresses.iter().map(IpAddr::to_string).collect();
            writer.report.error(
                &here,
                format!("this host does not have the address of `{}`, {}", member.name, addresses.join(" or ")),
                format!(
                    "where the network translates addresses, write `{} = {{ address = \"{}\", interface = \"eth0\", local_addresses = [\"ADDRESS\"] }}`, with what this host has",
                    member.name, addresses[0]
                ),
            );
        }
    }
    match setting(member, "local_addresses") {
        Some((text, place)) => writer.line(&place, &format!("addresses = {text}")),
        None => {
            let addresses: Vec<String> = member
                .addresses
                .iter()
                .map(|it| format!("\"{it}\""))
                .collect();
            writer.line(&here, &format!("addresses = [{}]", addresses.join(", ")));
        }
    }
    let mode = setting(member, "mode");
    if let Some((text, place)) = &mode {
        writer.line(place, &format!("mode = {text}"));
    }
    let without: &[&str] = match mode {
        Some(_) => &["interface", "addresses", "mode"],
        None => &["interface", "addresses"],
    };
    for (_, entries) in single(writer.report, root, "underlay") {
        writer.entries(&entries, "underlay", without);
    }
}

fn ospf(
    writer: &mut Writer<'_>,
    cluster: &Cluster<'_>,
    member: &Member<'_>,
    public: &Public,
    root: &DeTable<'_>,
) {
    writer.line(&member.place, "\n[ospf]");
    match setting(member, "router_id") {
        Some((text, place)) => writer.line(&place, &format!("router_id = {text}")),
        None => writer.line(
            &member.place,
            &format!("router_id = \"{}\"", public.router_id(member.name)),
        ),
    }
    let tables = single(writer.report, root, "ospf");
    let entries = tables.iter().flat_map(|(_, entries)| entries);
    let [says_bfd, says_ipv4] =
        ["bfd", "ipv4"].map(|wanted| entries.clone().any(|(key, _)| *key == wanted));
    if !says_bfd {
        let (text, place) =
            of_cluster(cluster, "bfd").unwrap_or(("\"50x3\"".to_owned(), member.place.clone()));
        writer.line(&place, &format!("bfd = {text}"));
    }
    if !says_ipv4 && has_ipv4(cluster, root) {
        // At every node alike: one that has none of it is on the way to others.
        writer.line(&member.place, "ipv4 = true");
    }
    let networks = setting(member, "prefixes");
    let without: &[&str] = match &networks {
        Some((text, place)) => {
            writer.line(place, "redistribute = [\"connected\", \"static\"]");
            writer.line(place, &format!("redistribute_only = {text}"));
            &["router_id", "redistribute", "redistribute_only"]
        }
        None => &["router_id"],
    };
    for (_, entries) in tables {
        writer.entries(&entries, "ospf", without);
    }
}

/// Whether anything in the cluster is reached by IPv4.
fn has_ipv4(cluster: &Cluster<'_>, root: &DeTable<'_>) -> bool {
    let services = root.iter().find(|(key, _)| key.get_ref() == "services");
    let services = services.and_then(|(_, value)| value.get_ref().as_array());
    let mut addresses = services.into_iter().flatten().filter_map(|service| {
        let address = service.get_ref().get("address")?.get_ref().as_str()?;
        address.parse::<IpAddr>().ok()
    });
    let of_member = |member: &Member<'_>| {
        let prefixes = member.own.iter();
        let mut prefixes = prefixes.flat_map(|own| accept::entries(own, "prefixes"));
        setting(member, "ipv4").is_some() || prefixes.any(|it| it.prefix.addr().is_ipv4())
    };
    addresses.any(|address| address.is_ipv4()) || cluster.members.iter().any(of_member)
}
