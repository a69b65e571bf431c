//! Prefixes from outside of the AS.

use std::collections::BTreeSet;
use std::time::Duration;

use ospfv3::wire::{LsaBody, LsaType};
use ospfv3::{DbId, ExternalPrefix, PathKind, Prefix, StubPrefix};

use crate::areas::{area, build, lsas, metric};
use crate::net::{Net, local, own_prefix, router_id};

fn outside(number: u16) -> Prefix {
    let addr = std::net::Ipv6Addr::new(0x2001, 0xdb8, 0xe000, number, 0, 0, 0, 0);
    Prefix::new(addr, 64).unwrap()
}

fn external(number: u16, metric: u32, type2: bool) -> ExternalPrefix {
    ExternalPrefix {
        prefix: outside(number),
        metric,
        type2,
        tag: None,
    }
}

fn set(net: &mut Net, node: usize, externals: Vec<ExternalPrefix>) {
    let now = net.now;
    net.with(node, |speaker| speaker.set_externals(now, externals));
}

#[test]
fn types_and_metrics() {
    // 1 - 0 - 2
    let mut net = Net::build(1, 3, &[(0, 1, 10), (0, 2, 20)]);
    net.run(Duration::from_secs(6));
    set(
        &mut net,
        1,
        vec![
            external(1, 5, false),
            external(2, 5, true),
            external(3, 7, true),
        ],
    );
    set(
        &mut net,
        2,
        vec![
            external(1, 1, true),
            external(2, 4, true),
            external(3, 7, true),
        ],
    );
    net.run(Duration::from_secs(3));
    let route = |net: &Net, number| {
        let route = net.node(0).routes().get(&outside(number))?;
        assert_eq!(route.kind, PathKind::External);
        Some((route.metric, route.type2_metric, route.routers.clone()))
    };
    // Type 1 before type 2; the lesser type 2 metric; and if equal, the nearer router.
    assert_eq!(route(&net, 1), Some((15, None, vec![router_id(1)])));
    assert_eq!(route(&net, 2), Some((20, Some(4), vec![router_id(2)])));
    assert_eq!(route(&net, 3), Some((10, Some(7), vec![router_id(1)])));
    // A boundary router does not go elsewhere for what it has itself.
    assert!(!net.node(1).routes().contains_key(&outside(2)));
    // Withdrawn at once, and the other is there.
    set(&mut net, 1, Vec::new());
    net.run_ms(200);
    assert_eq!(route(&net, 1), Some((20, Some(1), vec![router_id(2)])));
    assert_eq!(net.node(1).routes()[&outside(2)].metric, 30);
    net.stop(2);
    net.run_ms(200);
    assert_eq!(route(&net, 1), None);
}

#[test]
fn the_e_bit_the_tag_and_the_ids() {
    let mut net = Net::build(1, 2, &[(0, 1, 10)]);
    net.run(Duration::from_secs(6));
    let mut tagged = external(1, 5, false);
    tagged.tag = Some(0xcafe_f00d);
    set(&mut net, 1, vec![tagged, external(2, 6, true)]);
    net.run(Duration::from_secs(3));
    let e_bit = |net: &Net| {
        let routers = lsas(net, 0, DbId::Area(area(0)), LsaType::ROUTER);
        let of_1 = routers
            .into_iter()
            .find(|lsa| lsa.advertising_router == router_id(1));
        matches!(of_1.unwrap().body, LsaBody::Router(body) if body.bits.external)
    };
    assert!(e_bit(&net));
    let all = lsas(&net, 0, DbId::As, LsaType::AS_EXTERNAL);
    let ids: BTreeSet<_> = all.iter().map(|lsa| lsa.link_state_id).collect();
    assert_eq!(ids.len(), 2);
    let LsaBody::AsExternal(body) = &all[0].body else {
        panic!("{all:?}")
    };
    assert_eq!(
        (body.tag, body.type2, body.forwarding),
        (Some(0xcafe_f00d), false, None)
    );
    set(&mut net, 1, vec![external(2, 6, true)]);
    net.run(Duration::from_secs(3));
    let left = lsas(&net, 0, DbId::As, LsaType::AS_EXTERNAL);
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].link_state_id, all[1].link_state_id, "the id stays");
    set(&mut net, 1, Vec::new());
    net.run(Duration::from_secs(3));
    assert!(!e_bit(&net));
}

#[test]
fn an_interface_prefix_is_no_external_one() {
    let mut net = Net::build(1, 2, &[(0, 1, 10)]);
    net.run(Duration::from_secs(6));
    set(&mut net, 1, vec![external(1, 5, false)]);
    let stub = StubPrefix {
        prefix: outside(1),
        metric: 3,
        local: false,
    };
    net.set_prefixes(1, vec![local(own_prefix(1)), stub]);
    net.run(Duration::from_secs(3));
    assert!(lsas(&net, 0, DbId::As, LsaType::AS_EXTERNAL).is_empty());
    assert_eq!(net.node(0).routes()[&outside(1)].kind, PathKind::IntraArea);
}

#[test]
fn across_areas_by_inter_area_router_lsas() {
    // 0 - 1 - 2 - 3: area 1, backbone, area 2; 0 is the boundary router.
    let mut net = build(5, 4, &[(0, 1, 10, 1), (1, 2, 20, 0), (2, 3, 30, 2)]);
    net.run(Duration::from_secs(8));
    set(
        &mut net,
        0,
        vec![external(1, 5, false), external(2, 5, true)],
    );
    net.run(Duration::from_secs(8));
    for (node, cost) in [(1, 15), (2, 35), (3, 65)] {
        assert_eq!(
            metric(&net, node, outside(1)),
            Some(cost),
            "{}",
            net.describe()
        );
    }
    let route = &net.node(3).routes()[&outside(2)];
    assert_eq!((route.metric, route.type2_metric), (60, Some(5)));
    let told = |net: &Net, node, number, by: usize| -> Vec<(std::net::Ipv4Addr, u32)> {
        lsas(
            net,
            node,
            DbId::Area(area(number)),
            LsaType::INTER_AREA_ROUTER,
        )
        .into_iter()
        .filter(|lsa| lsa.advertising_router == router_id(by))
        .filter_map(|lsa| match lsa.body {
            LsaBody::InterAreaRouter(body) => Some((body.destination, body.metric)),
            _ => None,
        })
        .collect()
    };
    assert_eq!(told(&net, 2, 0, 1), [(router_id(0), 10)]);
    assert_eq!(told(&net, 3, 2, 2), [(router_id(0), 30)]);
    assert_eq!(told(&net, 0, 1, 1), [], "not back to where it is");
    // No boundary router any more: the way to it is no longer told.
    set(&mut net, 0, Vec::new());
    net.run(Duration::from_secs(3));
    assert_eq!(told(&net, 2, 0, 1), []);
    assert_eq!(told(&net, 3, 2, 2), []);
    assert_eq!(metric(&net, 3, outside(1)), None);
}

#[test]
fn a_thousand_come_and_go() {
    let mut net = build(6, 3, &[(0, 1, 10, 1), (1, 2, 20, 0)]);
    net.run(Duration::from_secs(8));
    let many: Vec<_> = (0..1000).map(|number| external(number, 5, true)).collect();
    set(&mut net, 0, many.clone());
    net.run(Duration::from_secs(3));
    assert_eq!(lsas(&net, 2, DbId::As, LsaType::AS_EXTERNAL).len(), 1000);
    assert_eq!(net.node(2).routes().len(), 1002);
    set(&mut net, 0, many[..10].to_vec());
    net.run(Duration::from_secs(3));
    assert_eq!(lsas(&net, 2, DbId::As, LsaType::AS_EXTERNAL).len(), 10);
    assert_eq!(metric(&net, 2, outside(9)), Some(30));
    assert_eq!(metric(&net, 2, outside(10)), None);
}
