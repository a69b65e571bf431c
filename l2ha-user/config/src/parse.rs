//! From the text of a file without `[cluster]` to a [`Config`].

use std::net::Ipv4Addr;

use toml::de::{DeTable, DeValue};

use crate::{
    bfd_key,
    cluster::CLUSTER,
    cookie_file::Files,
    error::ConfigError,
    membership::MEMBERSHIP,
    ospf, ospf_area, ospf_key,
    report::{Place, Report},
    schema::{
        self, BFD_KEYS, NODE, OSPF, OSPF_AREAS, OSPF_KEYS, SERVICES, TABLES, TUNNELS, Table,
        UNDERLAY,
    },
    section::{Section, find},
    service, syntax, tunnel,
    types::{Config, OspfNetwork, TunnelOspf},
    underlay,
    words::{closest, kind, list},
};

/// Reads the text of a file without `[cluster]`.
pub(crate) fn parse(text: &str, files: &Files) -> Result<Config, Vec<ConfigError>> {
    let report = Report::new(text);
    let (root, broken) = DeTable::parse_recoverable(text);
    if !broken.is_empty() {
        // Values of a broken file are guesses: nothing more is said until it can be read.
        for error in broken {
            let place = Place {
                line: report.line(error.span().map_or(0, |span| span.start)),
                key: String::new(),
            };
            let line = text.lines().nth(place.line - 1).unwrap_or_default();
            let what = syntax::what(line, error.message());
            report.error(&place, what, syntax::remedy(line, error.message()));
        }
        return Err(report.into_errors());
    }
    let config = build(&report, root.get_ref(), text, files);
    match config {
        Some(config) if report.count() == 0 => Ok(config),
        _ => Err(report.into_errors()),
    }
}

fn build(report: &Report, root: &DeTable<'_>, text: &str, files: &Files) -> Option<Config> {
    let meant = unknown_tables(report, root);
    if let Some(value) = find(root, MEMBERSHIP.name) {
        let place = Place {
            line: report.line(value.span().start),
            key: MEMBERSHIP.name.to_owned(),
        };
        report.error(
            &place,
            "there is no cluster that nodes could join",
            "add `[cluster]`, or remove this section",
        );
    }
    // What follows from a misspelt or broken section is not a mistake of its own.
    let is_there = |table: &Table| find(root, table.name).is_some() || meant.contains(&table.name);
    let last_line = text.lines().count().max(1);
    let missing_at = |table| (!is_there(table)).then_some(last_line);
    let node = single(report, root, &NODE, missing_at(&NODE));
    let underlay = single(report, root, &UNDERLAY, missing_at(&UNDERLAY));
    let ospf = single(report, root, &OSPF, None);
    let tunnels = several(report, root, &TUNNELS);
    let services = several(report, root, &SERVICES);
    let ospf_keys = several(report, root, &OSPF_KEYS);
    let bfd_keys = several(report, root, &BFD_KEYS);
    let ospf_areas = several(report, root, &OSPF_AREAS);

    let own_addresses = node.as_ref().map(|section| {
        let has_ospf = is_there(&OSPF);
        underlay::own_addresses(section, has_ospf)
    });
    let own_addresses = own_addresses.unwrap_or_default();
    let node = node.map(|section| underlay::node(&section));
    let underlay = underlay.map(|section| underlay::underlay(&section));
    let ospf = ospf.map(|section| (ospf::ospf(&section), section));
    let context = tunnel::Context {
        files,
        underlay: underlay.as_ref(),
        ospf: match &ospf {
            Some((ospf, _)) => Some(ospf.defaults),
            None => is_there(&OSPF).then_some(TunnelOspf {
                area: Ipv4Addr::UNSPECIFIED,
                network: OspfNetwork::default(),
                priority: ospf::DEFAULT_PRIORITY,
                cost: ospf::DEFAULT_COST,
                bfd: None,
            }),
        },
    };
    let read_tunnels = tunnel::tunnels(&context, &tunnels);
    if let Some((_, section)) = &ospf
        && is_there(&TUNNELS) != tunnels.is_empty()
    {
        tunnel::ospf_has_interfaces(section, &read_tunnels);
    }
    let ipv4 = ospf.as_ref().and_then(|(ospf, _)| ospf.ipv4);
    for own in &own_addresses {
        service::refuse_unrouted(report, own, ipv4);
    }
    let services = service::services(
        report,
        &services,
        is_there(&OSPF),
        ipv4,
        &read_tunnels,
        (&own_addresses, underlay.as_ref()),
    );
    let named = |which: &dyn Fn(&TunnelOspf) -> bool| -> Vec<String> {
        let tunnels = read_tunnels.iter().filter_map(|read| read.tunnel.as_ref());
        tunnels
            .filter(|tunnel| tunnel.ospf.as_ref().is_some_and(which))
            .map(|tunnel| tunnel.name.clone())
            .collect()
    };
    let (with_ospf, with_bfd) = (named(&|_| true), named(&|ospf| ospf.bfd.is_some()));
    let ospf_areas = ospf_area::areas(&ospf_areas, is_there(&OSPF));
    let ospf_keys = ospf_key::keys(&ospf_keys, files, is_there(&OSPF), &with_ospf);
    let bfd_keys = bfd_key::keys(&bfd_keys, files, &with_bfd);
    if report.count() > 0 {
        return None;
    }
    Some(Config {
        node: node??,
        own_addresses: own_addresses.iter().map(|found| found.value).collect(),
        underlay: underlay?.value()?,
        tunnels: read_tunnels
            .into_iter()
            .map(|tunnel| tunnel.tunnel)
            .collect::<Option<_>>()?,
        ospf: match ospf {
            Some((ospf, _)) => Some(ospf.value(&services, &own_addresses)?),
            None => None,
        },
        ospf_areas,
        ospf_keys,
        bfd_keys,
        services,
        membership: None,
    })
}

/// Reports what is not one of the file's tables; returns the ones that were probably meant.
pub(crate) fn unknown_tables(report: &Report, root: &DeTable<'_>) -> Vec<&'static str> {
    let mut meant = Vec::new();
    let mut names: Vec<&str> = TABLES.iter().map(|table| table.name).collect();
    names.extend([CLUSTER.name, MEMBERSHIP.name]);
    for (key, value) in root.iter() {
        let name: &str = key.get_ref();
        if names.contains(&name) {
            continue;
        }
        let place = Place {
            line: report.line(key.span().start),
            key: name.to_owned(),
        };
        let home = TABLES.iter().find(|table| table.key(name).is_some());
        let remedy = match (value.get_ref(), home, closest(name, &names)) {
            (DeValue::Table(_) | DeValue::Array(_), _, Some(known)) => {
                let mut tables = TABLES.iter().chain([&CLUSTER, &MEMBERSHIP]);
                let table = tables.find(|table| table.name == known);
                meant.push(known);
                format!(
                    "did you mean `{}`?",
                    table.map(Table::header).unwrap_or_default()
                )
            }
            (_, Some(home), _) => format!("move it below the line `{}`", home.header()),
            _ => format!("remove it; there are {}", list(&names)),
        };
        let what = match value.get_ref() {
            DeValue::Table(_) | DeValue::Array(_) => format!("there is no section `{name}`"),
            _ => format!("`{name}` stands outside of every section"),
        };
        report.error(&place, what, remedy);
    }
    meant
}

/// A table that there is one of; `required_from` is where a missing one is reported.
pub(crate) fn single<'a>(
    report: &'a Report,
    root: &'a DeTable<'a>,
    schema: &'static Table,
    required_from: Option<usize>,
) -> Option<Section<'a>> {
    let place = |line| Place {
        line,
        key: schema.name.to_owned(),
    };
    let header = schema.header();
    let Some(value) = find(root, schema.name) else {
        if let Some(line) = required_from {
            let keys = schema
                .keys
                .iter()
                .filter(|key| key.absent == schema::Absent::Refused);
            let keys: Vec<String> = keys
                .map(|key| format!("`{} = {}`", key.name, key.example))
                .collect();
            let remedy = format!("add a line `{header}`, and below it {}", keys.join(" and "));
            report.error(&place(line), "this section is missing", remedy);
        }
        return None;
    };
    let place = place(report.line(value.span().start));
    match value.get_ref() {
        DeValue::Table(table) => Some(Section::new(report, schema, place, table)),
        DeValue::Array(array)
            if array.iter().all(|element| element.get_ref().is_table()) && !array.is_empty() =>
        {
            let name = schema.name;
            report.error(
                &place,
                format!("there can be only one {header}"),
                format!("write `{header}` instead of `[[{name}]]`, once"),
            );
            None
        }
        other => {
            let what = format!("must be a section, not {}", kind(other));
            report.error(
                &place,
                what,
                format!("write `{header}` on a line of its own, and its keys below"),
            );
            None
        }
    }
}

/// A table that there are several of.
fn several<'a>(
    report: &'a Report,
    root: &'a DeTable<'a>,
    schema: &'static Table,
) -> Vec<Section<'a>> {
    let Some(value) = find(root, schema.name) else {
        return Vec::new();
    };
    let header = schema.header();
    let name = schema.name;
    let whole = Place {
        line: report.line(value.span().start),
        key: name.to_owned(),
    };
    let DeValue::Array(array) = value.get_ref() else {
        let (what, remedy) = match value.get_ref() {
            DeValue::Table(_) => (
                format!("`[{name}]` is one section, but there can be several"),
                format!("write `{header}`, with two brackets"),
            ),
            other => (
                format!("must be sections, not {}", kind(other)),
                format!("write `{header}` on a line of its own, and its keys below"),
            ),
        };
        report.error(&whole, what, remedy);
        return Vec::new();
    };
    let mut sections = Vec::new();
    for (index, element) in array.iter().enumerate() {
        let place = Place {
            line: report.line(element.span().start),
            key: format!("{name}[{index}]"),
        };
        match element.get_ref() {
            DeValue::Table(table) => sections.push(Section::new(report, schema, place, table)),
            other => report.error(
                &place,
                format!("must be a section, not {}", kind(other)),
                format!("write `{header}` on a line of its own, and its keys below"),
            ),
        }
    }
    sections
}
