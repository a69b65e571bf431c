//! Stub areas.

use std::net::Ipv6Addr;
use std::time::Duration;

use ospfv3::wire::{LsaBody, LsaType};
use ospfv3::{AreaConfig, DbId, Event, ExternalPrefix, NeighborState, Prefix, Refusal};

use crate::areas::{area, draw, lsas, metric};
use crate::net::{Net, own_prefix, router_id};

fn outside() -> Prefix {
    Prefix::new("2001:db8:e::".parse::<Ipv6Addr>().unwrap(), 48).unwrap()
}

/// 0 - 1 - 2: area 1, which is a stub, and the backbone, where 2 leads outside.
fn stub(config: AreaConfig) -> Net {
    let mut net = draw(1, 3, &[(0, 1, 10, 1), (1, 2, 20, 0)]);
    net.kinds.insert(area(1), config);
    for node in 0..3 {
        net.start(node);
    }
    let now = net.now;
    let external = ExternalPrefix {
        prefix: outside(),
        metric: 5,
        type2: false,
        tag: None,
    };
    net.with(2, |speaker| speaker.set_externals(now, vec![external]));
    net.run(Duration::from_secs(10));
    net
}

const STUB: AreaConfig = AreaConfig {
    stub: true,
    default_cost: 7,
    no_summary: false,
};

#[test]
fn a_default_route_instead_of_externals() {
    let net = stub(STUB);
    assert_eq!(metric(&net, 1, outside()), Some(25), "{}", net.describe());
    assert_eq!(metric(&net, 0, outside()), None);
    assert_eq!(metric(&net, 0, Prefix::DEFAULT), Some(17));
    assert_eq!(metric(&net, 0, own_prefix(2)), Some(30));
    assert!(lsas(&net, 0, DbId::As, LsaType::AS_EXTERNAL).is_empty());
    let scope = DbId::Area(area(1));
    assert!(lsas(&net, 0, scope, LsaType::INTER_AREA_ROUTER).is_empty());
    let e_options = lsas(&net, 0, scope, LsaType::ROUTER)
        .into_iter()
        .any(|lsa| {
            matches!(lsa.body, LsaBody::Router(body)
            if body.options.contains(ospfv3::wire::Options::E) || body.bits.external)
        });
    assert!(!e_options, "no E bit in a stub area");
    assert_eq!(metric(&net, 1, Prefix::DEFAULT), None, "not for ourselves");
    assert_eq!(
        metric(&net, 2, Prefix::DEFAULT),
        None,
        "not for the backbone"
    );
}

#[test]
fn nothing_but_the_default_route() {
    let mut net = stub(AreaConfig {
        no_summary: true,
        ..STUB
    });
    assert_eq!(net.node(0).routes().len(), 1, "{}", net.describe());
    assert_eq!(metric(&net, 0, Prefix::DEFAULT), Some(17));
    assert_eq!(metric(&net, 2, own_prefix(0)), Some(30));
    let now = net.now;
    net.with(1, |speaker| speaker.set_area(now, area(1), STUB));
    net.run(Duration::from_secs(2));
    assert_eq!(metric(&net, 0, own_prefix(2)), Some(30));
    let changed = net.events.iter().filter(|(at, ..)| *at >= now);
    let fell = changed.filter(|(_, _, event)| matches!(event, Event::NeighborChanged { .. }));
    assert_eq!(fell.count(), 0, "no adjacency falls for that");
}

#[test]
fn both_must_agree_what_area_it_is() {
    let mut net = stub(STUB);
    let now = net.now;
    net.with(0, |speaker| {
        speaker.set_area(now, area(1), AreaConfig::default())
    });
    net.run(Duration::from_secs(8));
    assert!(net.node(0).neighbors().is_empty(), "{}", net.describe());
    let refused = &net.node(0).counters().refused;
    assert!(refused[&Refusal::AreaTypeMismatch] > 0);
    net.with(0, |speaker| {
        let now = now + Duration::from_secs(8);
        speaker.set_area(now, area(1), STUB);
    });
    net.run(Duration::from_secs(8));
    assert_eq!(net.node(0).neighbors()[0].state, NeighborState::Full);
    assert_eq!(metric(&net, 0, Prefix::DEFAULT), Some(17));
}

#[test]
fn a_boundary_router_inside_is_not_heard() {
    let mut net = stub(STUB);
    let now = net.now;
    let external = ExternalPrefix {
        prefix: Prefix::new("2001:db8:f::".parse::<Ipv6Addr>().unwrap(), 48).unwrap(),
        metric: 1,
        type2: true,
        tag: None,
    };
    net.with(0, |speaker| speaker.set_externals(now, vec![external]));
    net.run(Duration::from_secs(6));
    assert!(lsas(&net, 0, DbId::As, LsaType::AS_EXTERNAL).is_empty());
    assert_eq!(metric(&net, 2, external.prefix), None);
}

#[test]
fn the_backbone_is_never_a_stub() {
    let mut net = draw(1, 2, &[(0, 1, 10, 0)]);
    net.kinds.insert(area(0), STUB);
    for node in 0..2 {
        net.start(node);
    }
    net.run(Duration::from_secs(6));
    let options = net.node(0).neighbors()[0].options;
    assert!(options.contains(ospfv3::wire::Options::E));
    assert_eq!(net.node(0).neighbors()[0].router_id, router_id(1));
}
