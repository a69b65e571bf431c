//! What `[[tunnels]]` says of a neighbour at the edge of the network.

use ospfv3::Edge;

use crate::{
    accept,
    ospf::{self, dotted_id},
    section::Section,
    types::{OspfNetwork, TunnelOspf},
};

/// What is taken from the neighbour, if that is not everything.
pub(crate) fn read(section: &Section<'_>, ospf: Option<TunnelOspf>) -> Option<Edge> {
    let router_id = section.text_or("peer_router_id", dotted_id);
    let router_id = router_id.and_then(|found| ospf::router_id(section.report, &found));
    let prefixes = accept::entries(section, "peer_prefixes");
    let said = section.place_of("peer_router_id");
    if let (None, Some(place)) = (&said, section.place_of("peer_prefixes")) {
        section.report.error(
            &place,
            "it does not say whose prefixes these are",
            "add `peer_router_id = \"10.0.0.9\"`, with the neighbour's Router ID, or remove it",
        );
    }
    if let (Some(place), Some(OspfNetwork::Broadcast)) = (said, ospf.map(|ospf| ospf.network)) {
        section.report.error(
            &place,
            "on a broadcast network there can be several neighbours",
            "remove it, or remove `ospf_network`",
        );
    }
    Some(Edge {
        router_id: router_id?,
        prefixes,
    })
}
