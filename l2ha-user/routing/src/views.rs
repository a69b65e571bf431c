//! What the routing thread shows.

use std::{collections::BTreeMap, net::Ipv4Addr};

use control::{InFamily, OspfInstance, OspfInterface, OspfNexthop, OspfRoute};
use ospfv3::{AreaConfig, NeighborState, Speaker};

use crate::{
    admission::Admission,
    flaps::Flaps,
    instances::{Instance, Instances},
    refusals::Refusals,
};

/// A list of every instance.
pub(crate) fn list<T>(
    instances: &Instances,
    entries: impl Fn(&Instance) -> Vec<T>,
) -> Vec<InFamily<T>> {
    let of = |instance: &Instance| {
        let family = instance.family;
        let entries = entries(instance).into_iter();
        entries.map(move |entry| InFamily { family, entry })
    };
    instances.iter().flat_map(of).collect()
}

/// The interfaces, each with the adjacencies that were lost and what was refused there.
pub(crate) fn interfaces(
    instance: &Instance,
    refusals: &Refusals,
    flaps: &Flaps,
) -> Vec<OspfInterface> {
    let interfaces = instance.speaker.interfaces().into_iter();
    interfaces
        .map(|view| OspfInterface {
            adjacencies_lost: flaps.of(view.id, instance.family),
            refused: refusals.of(view.id, instance.family),
            view,
        })
        .collect()
}

/// The routes as OSPF computed them, with the names of the interfaces.
pub(crate) fn routes<'a>(
    speaker: &Speaker,
    admission: &Admission,
    name: impl Fn(u32) -> Option<&'a str>,
) -> Vec<OspfRoute> {
    let routes = speaker.routes().iter();
    routes
        .map(|(prefix, route)| OspfRoute {
            prefix: *prefix,
            metric: route.metric,
            kind: route.kind,
            nexthops: route
                .nexthops
                .iter()
                .map(|hop| OspfNexthop {
                    interface: name(hop.interface).map(str::to_owned),
                    address: hop.address,
                })
                .collect(),
            routers: route.routers.clone(),
            not_installed: admission.judge(*prefix, route),
        })
        .collect()
}

/// What status shows of an instance.
pub(crate) fn instance(instance: &Instance) -> OspfInstance {
    let speaker = &instance.speaker;
    let neighbors = speaker.neighbors();
    let full = neighbors.iter().filter(|n| n.state == NeighborState::Full);
    OspfInstance {
        instance_id: instance.id,
        areas: areas(speaker),
        area_border: speaker.is_area_border(),
        redistributed: speaker.externals().len(),
        neighbors_full: full.count(),
        routes: speaker.routes().len(),
        graceful_restart: speaker.restart(),
        counters: speaker.counters().clone(),
    }
}

/// The areas and what kind each is.
fn areas(speaker: &Speaker) -> BTreeMap<Ipv4Addr, String> {
    let kind = |config: AreaConfig| match (config.stub, config.no_summary) {
        (false, _) => "regular",
        (true, false) => "stub",
        (true, true) => "stub, no summaries",
    };
    let areas = speaker.areas().into_iter();
    areas
        .map(|view| (view.area, kind(view.config).to_owned()))
        .collect()
}
