//! What the routing thread shows, as JSON. Every entry of a list names its family.

use std::collections::BTreeMap;

use ospfv3::{AreaConfig, NeighborState, Speaker};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    flaps::Flaps,
    instances::{Instance, Instances},
    refusals::Refusals,
};

/// A list of every instance.
pub(crate) fn list<T: Serialize>(
    instances: &Instances,
    entries: impl Fn(&Speaker) -> Vec<T>,
) -> serde_json::Result<Value> {
    let mut all = Vec::new();
    for instance in instances.iter() {
        for entry in entries(&instance.speaker) {
            let mut entry = serde_json::to_value(entry)?;
            if let Value::Object(fields) = &mut entry {
                fields.insert("family".to_owned(), json!(instance.family));
            }
            all.push(entry);
        }
    }
    Ok(Value::Array(all))
}

/// The interfaces, each with the adjacencies that were lost and what was refused there.
pub(crate) fn interfaces(
    instances: &Instances,
    refusals: &Refusals,
    flaps: &Flaps,
) -> serde_json::Result<Value> {
    let mut all = Vec::new();
    for instance in instances.iter() {
        for interface in instance.speaker.interfaces() {
            let refused = refusals.of(interface.id, instance.family);
            let lost = flaps.of(interface.id, instance.family);
            let mut entry = serde_json::to_value(interface)?;
            if let Value::Object(fields) = &mut entry {
                fields.insert("family".to_owned(), json!(instance.family));
                fields.insert("adjacencies_lost".to_owned(), json!(lost));
                fields.insert("refused".to_owned(), refused.into());
            }
            all.push(entry);
        }
    }
    Ok(Value::Array(all))
}

/// The routes as OSPF computed them, with the names of the interfaces.
pub(crate) fn routes<'a>(speaker: &Speaker, name: impl Fn(u32) -> Option<&'a str>) -> Vec<Value> {
    speaker
        .routes()
        .iter()
        .map(|(prefix, route)| {
            let nexthops: Vec<_> = route
                .nexthops
                .iter()
                .map(|hop| json!({ "interface": name(hop.interface), "address": hop.address }))
                .collect();
            json!({
                "prefix": prefix.to_string(),
                "metric": route.metric,
                "kind": route.kind,
                "nexthops": nexthops,
                "routers": route.routers,
            })
        })
        .collect()
}

/// What status shows of an instance.
pub(crate) fn instance(instance: &Instance) -> serde_json::Map<String, Value> {
    let speaker = &instance.speaker;
    let neighbors = speaker.neighbors();
    let full = neighbors.iter().filter(|n| n.state == NeighborState::Full);
    let shown = json!({
        "instance_id": instance.id,
        "areas": areas(speaker),
        "area_border": speaker.is_area_border(),
        "redistributed": speaker.externals().len(),
        "neighbors_full": full.count(),
        "routes": speaker.routes().len(),
        "graceful_restart": speaker.restart(),
        "counters": speaker.counters(),
    });
    match shown {
        Value::Object(fields) => fields,
        _ => serde_json::Map::new(),
    }
}

/// The areas and what kind each is.
fn areas(speaker: &Speaker) -> BTreeMap<String, &'static str> {
    let kind = |config: AreaConfig| match (config.stub, config.no_summary) {
        (false, _) => "regular",
        (true, false) => "stub",
        (true, true) => "stub, no summaries",
    };
    let areas = speaker.areas().into_iter();
    areas
        .map(|view| (view.area.to_string(), kind(view.config)))
        .collect()
}
