//! `[[ospf_areas]]`.

use std::net::Ipv4Addr;

use ospfv3::{AreaConfig, BACKBONE};

use crate::{
    address, redistribute::LARGEST_METRIC, report::Unique, schema::OSPF, section::Section,
    types::OspfArea,
};

/// Cost of the default route into a stub area where nothing else is said.
const DEFAULT_COST: u32 = 10;

/// Reads `[[ospf_areas]]`.
pub(crate) fn areas(sections: &[Section<'_>], has_ospf: bool) -> Vec<OspfArea> {
    if let Some(first) = sections.first()
        && !has_ospf
    {
        let example = OSPF.key("router_id").map_or("", |key| key.example);
        first.report.error(
            &first.place,
            "these areas are OSPF's, but there is no [ospf]",
            format!("add a line `[ospf]`, and below it `router_id = {example}`"),
        );
    }
    let mut taken = Unique::default();
    let read = sections
        .iter()
        .filter_map(|section| area(section, &mut taken));
    read.collect()
}

fn area(section: &Section<'_>, taken: &mut Unique<Ipv4Addr>) -> Option<OspfArea> {
    let stub = section.boolean("stub");
    let is_stub = stub.as_ref().is_some_and(|found| found.value);
    let backbone = BACKBONE.to_string();
    let meant = |text: &str| address::dotted(text).filter(|id| !is_stub || *id != backbone);
    let text = section.text_or("area", meant);
    let found = text.and_then(|text| Some(text.with(address::area(section, &text, meant)?)));
    if let Some(found) = &found {
        taken.take(section.report, found.clone(), |_| {
            "write the other area, or remove one of the two sections".to_owned()
        });
    }
    if let (Some(area), Some(stub)) = (&found, &stub)
        && area.value == BACKBONE
        && stub.value
    {
        section.report.error(
            &stub.place,
            "0.0.0.0 is the backbone, which cannot be a stub area (RFC 2328 section 3.6)",
            "remove it, or write another `area`",
        );
    }
    let default_cost = section.integer::<u32>("default_cost", 0..=LARGEST_METRIC);
    let no_summary = section.boolean("no_summary");
    let cost = default_cost
        .as_ref()
        .map_or(DEFAULT_COST, |found| found.value);
    let alone = no_summary.as_ref().is_some_and(|found| found.value);
    let idle_cost = default_cost.filter(|found| found.value != DEFAULT_COST);
    let idle = [
        idle_cost.map(|found| found.place),
        no_summary.filter(|_| alone).map(|found| found.place),
    ];
    for place in idle.into_iter().flatten().filter(|_| !is_stub) {
        section.report.error(
            &place,
            "only a stub area gets a default route",
            "remove it, or add `stub = true`",
        );
    }
    Some(OspfArea {
        area: found?.value,
        config: AreaConfig {
            stub: is_stub,
            default_cost: cost,
            no_summary: alone,
        },
    })
}
