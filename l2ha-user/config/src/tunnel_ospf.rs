//! What `[[tunnels]]` says of OSPF.

use crate::{
    address, bfd,
    ospf::COSTS,
    section::Section,
    types::{OspfNetwork, TunnelOspf},
};

/// The keys that are about OSPF alone.
const KEYS: &[&str] = &[
    "area",
    "cost",
    "bfd",
    "peer_router_id",
    "peer_prefixes",
    "ospf_network",
    "ospf_priority",
    "ospf_key_file",
    "bfd_key_file",
];
/// The names of the kinds of interfaces.
const NETWORKS: &[(&str, OspfNetwork)] = &[
    ("point-to-point", OspfNetwork::PointToPoint),
    ("broadcast", OspfNetwork::Broadcast),
];

/// How OSPF runs over the tunnel, and whether it was switched off; `default` is what `[ospf]` says
/// for all, if it is there.
pub(crate) fn read(
    default: Option<TunnelOspf>,
    section: &Section<'_>,
) -> (Option<TunnelOspf>, bool) {
    let wanted = section.boolean("ospf");
    let area = section.text_or("area", address::dotted);
    let area = area.and_then(|found| address::area(section, &found, address::dotted));
    let cost = section.integer::<u16>("cost", COSTS);
    let bfd = bfd::bfd(section);
    let network = section.choice("ospf_network", NETWORKS);
    let priority = section.integer::<u8>("ospf_priority", 0..=255);
    let given = KEYS.iter().filter_map(|key| section.place_of(key));
    let no_ospf = "there is no [ospf]";
    let add = "add a line `[ospf]`, and below it `router_id = \"10.0.0.1\"`, or remove this key";
    match (default, &wanted) {
        (None, Some(found)) if found.value => section.report.error(&found.place, no_ospf, add),
        (None, _) => {
            for place in given {
                section.report.error(&place, no_ospf, add);
            }
        }
        (Some(_), Some(found)) if !found.value => {
            for place in given {
                section.report.error(
                    &place,
                    format!(
                        "OSPF does not run over this tunnel (line {})",
                        found.place.line
                    ),
                    "remove it, or write `ospf = true`",
                );
            }
            return (None, true);
        }
        (Some(default), _) => {
            let ospf = TunnelOspf {
                area: area.unwrap_or(default.area),
                network: network.unwrap_or_default(),
                priority: priority.map_or(default.priority, |found| found.value),
                cost: cost.map_or(default.cost, |found| found.value),
                bfd: bfd.unwrap_or(default.bfd),
            };
            return (Some(ospf), false);
        }
    }
    (None, false)
}
