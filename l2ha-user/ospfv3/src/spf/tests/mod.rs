//! The calculation on databases written by hand. Router `n` is 0.0.0.n and its Interface IDs are
//! tens of `n`; node 1 is the root.

mod incremental;
mod world;

use super::*;
use std::collections::BTreeMap;

use crate::lsdb::DbId;
use crate::wire::*;
use world::*;

#[test]
fn a_line() {
    let world = World::line();
    assert_eq!(
        world.route("2001:db8::2/128"),
        Some((10, vec![via(10, 2, 20)]))
    );
    assert_eq!(
        world.route("2001:db8::3/128"),
        Some((20, vec![via(10, 2, 20)]))
    );
}

#[test]
fn a_link_needs_the_way_back_with_the_same_interface_ids() {
    let mut world = World::line();
    world.router(3, &[]);
    assert_eq!(world.route("2001:db8::3/128"), None, "no way back");
    world.router(3, &[p2p(10, 31, 2, 21)]);
    assert_eq!(world.route("2001:db8::3/128"), None, "another interface");
}

#[test]
fn a_last_resort_needs_no_word_of_the_neighbour() {
    let mut world = World::line();
    world.router(2, &[p2p(10, 20, 9, 10), p2p(10, 21, 3, 30)]);
    assert_eq!(world.route("2001:db8::2/128"), None, "no way back");
    world.one_way = true;
    let through_2 = |cost| Some((cost, vec![via(10, 2, 20)]));
    assert_eq!(world.route("2001:db8::2/128"), through_2(10));
    assert_eq!(world.route("2001:db8::3/128"), through_2(20));
}

#[test]
fn without_r_reached_but_not_crossed_without_v6_not_there() {
    let mut world = World::line();
    let links = [p2p(10, 20, 1, 10), p2p(10, 21, 3, 30)];
    world.router_as(
        2,
        0,
        NORMAL.without(Options::R),
        RouterBits::default(),
        &links,
    );
    assert!(world.route("2001:db8::2/128").is_some());
    assert_eq!(world.route("2001:db8::3/128"), None);
    world.router_as(
        2,
        0,
        NORMAL.without(Options::V6),
        RouterBits::default(),
        &links,
    );
    assert_eq!(world.route("2001:db8::2/128"), None);
}

#[test]
fn several_router_lsas_are_one_router() {
    let mut world = World::line();
    world.router_as(2, 0, NORMAL, RouterBits::default(), &[p2p(10, 20, 1, 10)]);
    assert_eq!(world.route("2001:db8::3/128"), None);
    world.router_as(2, 7, NORMAL, RouterBits::default(), &[p2p(10, 21, 3, 30)]);
    assert!(world.route("2001:db8::3/128").is_some());
}

#[test]
fn a_transit_network_behind_a_router() {
    // 1 - 2, and 2, 3, 4 on an Ethernet whose Designated Router is 3.
    let mut world = World::default();
    world.root(10, 10, 2, 20);
    world.router(2, &[p2p(10, 20, 1, 10), transit(5, 21, 3, 30)]);
    world.router(3, &[transit(7, 30, 3, 30)]);
    world.router(4, &[transit(9, 40, 3, 30)]);
    world.network(3, 30, &[2, 3, 4]);
    for router in [2, 3, 4] {
        world.host(router);
    }
    let ethernet = [("2001:db8:1::/64", 0, PrefixOptions::default())];
    world.prefixes(3, (LsaType::NETWORK, 30), &ethernet);
    let hop = vec![via(10, 2, 20)];
    assert_eq!(world.route("2001:db8:1::/64"), Some((15, hop.clone())));
    assert_eq!(
        world.route("2001:db8::3/128"),
        Some((15, hop.clone())),
        "from a network costs 0"
    );
    assert_eq!(world.route("2001:db8::4/128"), Some((15, hop)));
    world.network(3, 30, &[2, 3]);
    assert_eq!(
        world.route("2001:db8::4/128"),
        None,
        "not attached any more"
    );
    world.network(3, 30, &[3, 4]);
    assert_eq!(world.route("2001:db8:1::/64"), None, "no way back to 2");
}

#[test]
fn a_transit_network_of_our_own() {
    let mut world = World::default();
    let link = transit(10, 10, 3, 30);
    world.links.push(RootLink {
        interface: 10,
        link,
        address: None,
    });
    world.router(2, &[transit(5, 21, 3, 30)]);
    world.router(3, &[transit(7, 30, 3, 30)]);
    world.network(3, 30, &[1, 2, 3]);
    world.host(2);
    world.host(3);
    assert_eq!(
        world.route("2001:db8::2/128"),
        Some((10, vec![via(10, 2, 21)])),
        "its Link-LSA"
    );
    assert_eq!(
        world.route("2001:db8::3/128"),
        Some((10, vec![via(10, 3, 30)]))
    );
}

#[test]
fn equal_paths_are_shared_and_bounded() {
    let mut world = World::default();
    for (own, its) in [(10, 20), (11, 21), (12, 22)] {
        world.root(10, own, 2, its);
    }
    world.router(
        2,
        &[p2p(10, 20, 1, 10), p2p(10, 21, 1, 11), p2p(10, 22, 1, 12)],
    );
    world.host(2);
    let hops = vec![via(10, 2, 20), via(11, 2, 21), via(12, 2, 22)];
    assert_eq!(
        world.route("2001:db8::2/128"),
        Some((10, hops)),
        "parallel links"
    );
}

#[test]
fn anycast_takes_the_nearest_and_shares_between_equals() {
    let mut world = World::default();
    world.root(10, 10, 2, 20);
    world.root(10, 11, 3, 30);
    world.router(2, &[p2p(10, 20, 1, 10)]);
    world.router(3, &[p2p(10, 30, 1, 11)]);
    let here = |metric| [("2001:db8:a::1/128", metric, PrefixOptions::LA)];
    world.prefixes(2, (LsaType::ROUTER, 0), &here(0));
    world.prefixes(3, (LsaType::ROUTER, 0), &here(0));
    let both = vec![via(10, 2, 20), via(11, 3, 30)];
    assert_eq!(world.route("2001:db8:a::1/128"), Some((10, both)));
    assert_eq!(
        world.routes()[&prefix("2001:db8:a::1/128")].routers,
        [id(2), id(3)]
    );
    world.prefixes(3, (LsaType::ROUTER, 0), &here(1));
    assert_eq!(
        world.route("2001:db8:a::1/128"),
        Some((10, vec![via(10, 2, 20)]))
    );
}

#[test]
fn what_is_not_for_unicast_or_not_its_own_is_skipped() {
    let mut world = World::line();
    world.prefixes(
        3,
        (LsaType::ROUTER, 0),
        &[
            ("2001:db8:2::/64", 1, PrefixOptions::NU),
            ("fe80::/64", 1, PrefixOptions::default()),
            ("2001:db8:3::/64", 3, PrefixOptions::default()),
        ],
    );
    assert_eq!(world.route("2001:db8:2::/64"), None);
    assert_eq!(world.route("fe80::/64"), None);
    assert_eq!(
        world.route("2001:db8:3::/64"),
        Some((23, vec![via(10, 2, 20)]))
    );
    // 3 speaks for 2.
    let body = IntraAreaPrefix {
        referenced_type: LsaType::ROUTER,
        referenced_id: 0,
        referenced_router: id(2),
        prefixes: vec![PrefixEntry {
            prefix: prefix("2001:db8:4::/64"),
            options: PrefixOptions::default(),
            metric: 0,
        }],
    };
    world.add(
        LsaType::INTRA_AREA_PREFIX,
        99,
        3,
        LsaBody::IntraAreaPrefix(body),
    );
    assert_eq!(world.route("2001:db8:4::/64"), None);
}

fn summary(world: &mut World, adv: u32, lsid: u32, text: &str, metric: u32) {
    let body = InterAreaPrefix {
        metric,
        prefix: prefix(text),
        options: PrefixOptions::default(),
    };
    world.add(
        LsaType::INTER_AREA_PREFIX,
        lsid,
        adv,
        LsaBody::InterAreaPrefix(body),
    );
}

#[test]
fn through_another_area() {
    let mut world = World::line();
    summary(&mut world, 3, 1, "2001:db8:5::/48", 7);
    assert_eq!(
        world.route("2001:db8:5::/48"),
        None,
        "3 is no border router"
    );
    let border = RouterBits {
        border: true,
        ..RouterBits::default()
    };
    world.router_as(3, 0, NORMAL, border, &[p2p(10, 30, 2, 21)]);
    assert_eq!(
        world.route("2001:db8:5::/48"),
        Some((27, vec![via(10, 2, 20)]))
    );
    summary(&mut world, 3, 2, "2001:db8:6::/48", 0x00ff_ffff);
    assert_eq!(world.route("2001:db8:6::/48"), None, "LSInfinity");
    summary(&mut world, 3, 3, "2001:db8::2/128", 0);
    let route = world.routes().remove(&prefix("2001:db8::2/128")).unwrap();
    assert_eq!(route.kind, PathKind::IntraArea, "within the area wins");
}

fn external(
    world: &mut World,
    adv: u32,
    text: &str,
    type2: bool,
    metric: u32,
    forwarding: Option<&str>,
) {
    let body = AsExternal {
        type2,
        metric,
        prefix: prefix(text),
        options: PrefixOptions::default(),
        forwarding: forwarding.map(|text| text.parse().unwrap()),
        tag: None,
        referenced: None,
    };
    let lsid = world.databases[&DbId::As].iter().count() as u32;
    world.add(LsaType::AS_EXTERNAL, lsid, adv, LsaBody::AsExternal(body));
}

#[test]
fn out_of_the_as() {
    let boundary = RouterBits {
        external: true,
        ..RouterBits::default()
    };
    let mut world = World::line();
    external(&mut world, 3, "2001:db8:7::/48", false, 5, None);
    assert_eq!(
        world.route("2001:db8:7::/48"),
        None,
        "3 is no boundary router"
    );
    world.router_as(3, 0, NORMAL, boundary, &[p2p(10, 30, 2, 21)]);
    assert_eq!(
        world.route("2001:db8:7::/48"),
        Some((25, vec![via(10, 2, 20)]))
    );
    external(&mut world, 3, "2001:db8:8::/48", true, 5, None);
    let route = world.routes().remove(&prefix("2001:db8:8::/48")).unwrap();
    assert_eq!((route.metric, route.type2_metric), (20, Some(5)));
    // Type 1 wins over type 2, and the lesser type 2 over the nearer router.
    world.router_as(
        2,
        0,
        NORMAL,
        boundary,
        &[p2p(10, 20, 1, 10), p2p(10, 21, 3, 30)],
    );
    external(&mut world, 2, "2001:db8:8::/48", true, 6, None);
    let route = world.routes().remove(&prefix("2001:db8:8::/48")).unwrap();
    assert_eq!((route.metric, route.type2_metric), (20, Some(5)));
    external(&mut world, 2, "2001:db8:8::/48", false, 100, None);
    let route = world.routes().remove(&prefix("2001:db8:8::/48")).unwrap();
    assert_eq!(
        (route.metric, route.type2_metric, route.kind),
        (110, None, PathKind::External)
    );
}

#[test]
fn forwarding_addresses_and_boundary_routers_elsewhere() {
    let boundary = RouterBits {
        external: true,
        border: true,
        ..RouterBits::default()
    };
    let mut world = World::line();
    world.router_as(3, 0, NORMAL, boundary, &[p2p(10, 30, 2, 21)]);
    external(
        &mut world,
        3,
        "2001:db8:9::/48",
        false,
        1,
        Some("2001:db8::2"),
    );
    assert_eq!(
        world.route("2001:db8:9::/48"),
        Some((11, vec![via(10, 2, 20)])),
        "to 2, not 3"
    );
    external(
        &mut world,
        3,
        "2001:db8:a::/48",
        false,
        1,
        Some("2001:db8:ffff::2"),
    );
    assert_eq!(
        world.route("2001:db8:a::/48"),
        None,
        "nobody knows where that is"
    );
    // Boundary router 8 is in another area, behind 3.
    external(&mut world, 8, "2001:db8:b::/48", false, 1, None);
    assert_eq!(world.route("2001:db8:b::/48"), None);
    let body = InterAreaRouter {
        options: NORMAL,
        metric: 4,
        destination: id(8),
    };
    world.add(
        LsaType::INTER_AREA_ROUTER,
        8,
        3,
        LsaBody::InterAreaRouter(body),
    );
    assert_eq!(
        world.route("2001:db8:b::/48"),
        Some((25, vec![via(10, 2, 20)]))
    );
}

#[test]
fn the_dead_are_not_asked() {
    let mut world = World::line();
    let key = LsaKey {
        ty: LsaType::ROUTER,
        id: 0,
        adv: id(3),
    };
    world.databases.get_mut(&AREA).unwrap().flush(&key, NOW);
    assert_eq!(world.route("2001:db8::3/128"), None);
}

/// RFC 5838 2.2 and 2.3: the V6 bit means nothing beside IPv6, and prefixes of another family are
/// not used.
#[test]
fn families() {
    let mut world = World::line();
    let prefixes = [
        ("192.0.2.80/32", 0, PrefixOptions::LA),
        ("2001:db8:5::/48", 1, PrefixOptions::default()),
    ];
    world.prefixes(3, (LsaType::ROUTER, 0), &prefixes);
    let without_v6 = Options::R.union(Options::E);
    let links = [p2p(10, 30, 2, 21)];
    world.router_as(3, 0, without_v6, RouterBits::default(), &links);
    assert!(
        world
            .routes()
            .keys()
            .all(|prefix| *prefix == self::prefix("2001:db8::2/128"))
    );
    world.family = Family::Ipv4;
    assert_eq!(
        world.route("192.0.2.80/32"),
        Some((20, vec![via(10, 2, 20)]))
    );
    assert_eq!(world.routes().len(), 1);
    let boundary = RouterBits {
        external: true,
        border: true,
        ..RouterBits::default()
    };
    world.router_as(3, 0, without_v6, boundary, &links);
    external(&mut world, 3, "0.0.0.0/0", true, 5, None);
    external(
        &mut world,
        3,
        "198.51.100.0/24",
        true,
        5,
        Some("192.0.2.80"),
    );
    external(&mut world, 3, "2001:db8:7::/48", true, 5, None);
    let found: Vec<String> = world.routes().keys().map(Prefix::to_string).collect();
    assert_eq!(found, ["0.0.0.0/0", "192.0.2.80/32", "198.51.100.0/24"]);
}
