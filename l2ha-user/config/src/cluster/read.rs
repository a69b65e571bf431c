//! Reads `[cluster]`.

use std::{net::IpAddr, ops::RangeInclusive};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    accept,
    address::{self, Shown},
    bfd, names,
    ospf::{self, COSTS},
    report::{Found, Place, Report, Unique},
    section::Section,
    tunnel::MTUS,
    words::{closest, kind, list},
};

use super::{
    joiners::Joiners,
    schema::{CLUSTER, MEMBER, PAIR},
    types::{Cluster, Member, Pair, Role, UNDERLAY_MTUS},
};

/// Reads `[cluster]`, and those who joined it; nothing where its name or its nodes are not there.
pub(crate) fn read<'a>(
    report: &'a Report,
    value: &'a Spanned<DeValue<'a>>,
    joiners: &'a Joiners<'a>,
) -> Option<Cluster<'a>> {
    let place = Place {
        line: report.line(value.span().start),
        key: CLUSTER.name.to_owned(),
    };
    let DeValue::Table(table) = value.get_ref() else {
        report.error(
            &place,
            format!("must be a section, not {}", kind(value.get_ref())),
            "write `[cluster]` on a line of its own, and its keys below",
        );
        return None;
    };
    let section = Section::new(report, &CLUSTER, place, table);
    let name = section.string("name");
    let name = name.filter(|found| match names::node_problem(found.value) {
        Some(problem) => {
            let good = names::corrected(found.value, names::LONGEST_NAME, names::node_problem);
            let good = good.unwrap_or_else(|| "shop".to_owned());
            report.error(&found.place, problem, format!("write `name = \"{good}\"`"));
            false
        }
        None => true,
    });
    let _ = section.integer::<u16>("mtu", UNDERLAY_MTUS);
    let _ = bfd::bfd(&section);
    let full = section.choice("links", &[("roles", false), ("full", true)]);
    let authentication = section.boolean("authentication");
    let mut members = Vec::new();
    let mut taken = Taken::default();
    for (role, key, _) in Role::ALL {
        members.extend(read_members(&section, key, role, &mut taken));
    }
    // Behind the others, so that of two that do not fit together it is the one who joined.
    let joined = joiners.section();
    for (role, key, _) in Role::ALL {
        let mut those = read_members(&joined, key, role, &mut taken);
        for member in &mut those {
            member.joined = joiners.get(member.name);
        }
        members.extend(those);
    }
    let has_servers = members
        .iter()
        .any(|member: &Member<'_>| member.role == Role::Server);
    if !has_servers && !joiners.is_open() && report.count() == 0 {
        report.error(
            &section.place,
            "the cluster has no server",
            "add a section `[cluster.servers]`, and below it a line for each, as `server-1 = \"10.0.0.1\"`",
        );
    }
    let pairs = read_pairs(&section, &members);
    Some(Cluster {
        name: name?.value,
        full: full.unwrap_or(false),
        authentication: authentication.is_none_or(|found| found.value),
        section,
        members,
        pairs,
        joined_as: joiners.own().map(|own| (own, joiners.refusal(own))),
    })
}

/// What one node only may have.
#[derive(Default)]
struct Taken {
    names: Unique<String>,
    addresses: Unique<IpAddr>,
}

/// The tables of a key whose keys are names.
fn named<'a>(section: &Section<'a>, key: &str) -> Vec<(Found<&'a str>, &'a Spanned<DeValue<'a>>)> {
    let Some(found) = section.value(key) else {
        return Vec::new();
    };
    let table: &'a DeTable<'a> = match found.value.get_ref() {
        DeValue::Table(table) => table,
        other => {
            let what = format!("must be a section, not {}", kind(other));
            let remedy =
                format!("write `[cluster.{key}]` on a line of its own, and a line for each below");
            section.report.error(&found.place, what, remedy);
            return Vec::new();
        }
    };
    let mut entries: Vec<_> = table.iter().collect();
    // In the order of the file, which is that of preference.
    entries.sort_by_key(|(name, _)| name.span().start);
    let named = entries.into_iter().map(|(name, value)| {
        let place = Place {
            line: section.report.line(name.span().start),
            key: format!("{}.{key}.{}", section.place.key, name.get_ref()),
        };
        let value_of: &'a str = name.get_ref();
        (
            Found {
                value: value_of,
                place,
            },
            value,
        )
    });
    named.collect()
}

fn read_members<'a>(
    section: &Section<'a>,
    key: &'static str,
    role: Role,
    taken: &mut Taken,
) -> Vec<Member<'a>> {
    let report = section.report;
    let mut members = Vec::new();
    for (name, value) in named(section, key) {
        if let Some(problem) = names::node_problem(name.value) {
            let good = names::corrected(name.value, names::LONGEST_NAME, names::node_problem);
            let good = good.unwrap_or_else(|| "server-1".to_owned());
            report.error(&name.place, problem, format!("call it `{good}`"));
            continue;
        }
        let free = taken
            .names
            .take(report, name.with(name.value.to_owned()), |_| {
                "a node is a server, a client or a gateway: remove one of the two".to_owned()
            });
        let (texts, own) = match value.get_ref() {
            DeValue::String(text) => (vec![name.with(text.as_ref())], None),
            DeValue::Array(array) => {
                let texts = array.iter().filter_map(|element| match element.get_ref() {
                    DeValue::String(text) => Some(name.with(text.as_ref())),
                    other => {
                        let what = format!("must be an address, not {}", kind(other));
                        report.error(
                            &name.place,
                            what,
                            format!("write `{} = \"10.0.0.1\"`", name.value),
                        );
                        None
                    }
                });
                (texts.collect(), None)
            }
            DeValue::Table(table) => {
                let own = Section::new(report, &MEMBER, name.place.clone(), table);
                check_settings(&own, UNDERLAY_MTUS);
                check_prefixes(&own, role);
                let mut texts: Vec<Found<&str>> = own.string("address").into_iter().collect();
                let list =
                    own.strings("addresses", |text| text.parse().is_ok_and(address::is_host));
                texts.extend(list.into_iter().flat_map(|list| list.good));
                if texts.is_empty() && report.count() == 0 {
                    report.error(
                        &name.place,
                        "this node has no address",
                        format!(
                            "write `{} = {{ address = \"10.0.0.1\" }}`, with its own",
                            name.value
                        ),
                    );
                }
                (texts, Some(own))
            }
            other => {
                report.error(
                    &name.place,
                    format!("must be an address, not {}", kind(other)),
                    format!("write `{} = \"10.0.0.1\"`, with its own", name.value),
                );
                (Vec::new(), None)
            }
        };
        let addresses = member_addresses(report, &name, &texts, taken);
        if free && !addresses.is_empty() {
            members.push(Member {
                name: name.value,
                role,
                place: name.place,
                addresses,
                own,
                joined: None,
            });
        }
    }
    members
}

/// The addresses of a node: at most one of each family, and no other node's.
fn member_addresses(
    report: &Report,
    name: &Found<&str>,
    texts: &[Found<&str>],
    taken: &mut Taken,
) -> Vec<IpAddr> {
    let shown = Shown {
        key: name.value,
        array: false,
        example: "10.0.0.1",
        of: "this node",
    };
    let mut addresses: Vec<IpAddr> = Vec::new();
    for text in texts {
        let Some(found) = address::host(report, text, &shown) else {
            continue;
        };
        let address = found.value;
        if let Some(first) = addresses
            .iter()
            .find(|other| other.is_ipv4() == address.is_ipv4())
        {
            report.error(
                &found.place,
                format!("`{address}` is a second address of its family, beside `{first}`"),
                "keep one of each family",
            );
            continue;
        }
        taken.addresses.take(report, found, |_| {
            "write each node's own address".to_owned()
        });
        addresses.push(address);
    }
    addresses
}

/// Reports settings of nodes and pairs that could not be: each node sees the mistakes of all.
fn check_settings(section: &Section<'_>, mtus: RangeInclusive<i128>) {
    for (key, range) in [
        ("cost", COSTS),
        ("ttl", 1..=255),
        ("port", 1..=65_535),
        ("mtu", mtus),
    ] {
        if section.knows(key) {
            let _ = section.integer::<u16>(key, range);
        }
    }
    match section.is_text("dscp") {
        true => drop(section.choice("dscp", &[("copy", ())])),
        false => drop(section.integer::<u8>("dscp", 0..=63)),
    }
    let words: [(&str, &[(&str, ())]); 3] = [
        ("encapsulation", &[("udp", ()), ("ip", ())]),
        ("source_port", &[("fixed", ()), ("flow", ())]),
        ("ecn", &[("none", ()), ("copy", ())]),
    ];
    for (key, words) in words {
        let _ = section.choice(key, words);
    }
    let _ = section.boolean("udp_checksum");
    let _ = bfd::bfd(section);
    if let Some(found) = section.text_or("area", address::dotted) {
        let _ = address::area(section, &found, address::dotted);
    }
    if section.knows("router_id") {
        let id = section.text_or("router_id", ospf::dotted_id);
        let _ = id.map(|found| ospf::router_id(section.report, &found));
    }
}

/// Reports prefixes that could not be, or are those of a node that leads to no other network.
fn check_prefixes(section: &Section<'_>, role: Role) {
    let prefixes = accept::entries(section, "prefixes");
    if let Some(place) = section.place_of("prefixes")
        && role != Role::Gateway
    {
        section.report.error(
            &place,
            format!("{} carries no other network's packets", role.shown()),
            "move the node's line below [cluster.gateways], or remove this",
        );
    }
    for accept in prefixes {
        if accept.prefix.len() == 0 {
            section.report.error(
                &section.place,
                "`prefixes` has a default route",
                "write the prefixes of the networks behind this gateway",
            );
        }
    }
}

fn read_pairs<'a>(section: &Section<'a>, members: &[Member<'a>]) -> Vec<Pair<'a>> {
    let report = section.report;
    let names: Vec<&str> = members.iter().map(|member| member.name).collect();
    let mut taken: Unique<String> = Unique::default();
    let mut pairs = Vec::new();
    for (name, value) in named(section, "pairs") {
        let ends: Vec<&str> = name.value.split_whitespace().collect();
        let [one, other] = ends[..] else {
            report.error(
                &name.place,
                format!("`{}` does not name two nodes", name.value),
                "write both names with a blank between them, as `\"server-1 client-1\" = { cost = 20 }`",
            );
            continue;
        };
        let unknown = [one, other].into_iter().find(|end| !names.contains(end));
        if let Some(end) = unknown {
            let remedy = match closest(end, &names) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("name two of {}", list(&names)),
            };
            report.error(
                &name.place,
                format!("`{end}` is no node of this cluster"),
                remedy,
            );
            continue;
        }
        if one == other {
            let remedy = "name two nodes";
            report.error(&name.place, "a node has no tunnel to itself", remedy);
            continue;
        }
        let both = format!("{} {}", one.min(other), one.max(other));
        if !taken.take(report, name.with(both), |_| {
            "keep one of the two".to_owned()
        }) {
            continue;
        }
        let DeValue::Table(table) = value.get_ref() else {
            let what = format!("must be a table, not {}", kind(value.get_ref()));
            report.error(
                &name.place,
                what,
                format!("write `\"{}\" = {{ cost = 20 }}`", name.value),
            );
            continue;
        };
        let own = Section::new(report, &PAIR, name.place.clone(), table);
        check_settings(&own, MTUS);
        pairs.push(Pair {
            ends: [one, other],
            own,
        });
    }
    pairs
}
