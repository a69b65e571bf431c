//! Several areas and the routers between them.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ospfv3::wire::{LsaBody, LsaType};
use ospfv3::{BACKBONE, DbId, LsaView, PathKind, Prefix, StubPrefix};

use crate::net::{LOOPBACK, Net, Rng, Weather, local, own_prefix, router_id};

pub(crate) fn area(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(number)
}

/// A network whose links are `(a, b, cost, area)`; a node's loopback is in the lowest of its areas.
pub(crate) fn build(seed: u64, count: usize, links: &[(usize, usize, u16, u32)]) -> Net {
    let mut net = draw(seed, count, links);
    for node in 0..count {
        net.start(node);
    }
    net
}

pub(crate) fn draw(seed: u64, count: usize, links: &[(usize, usize, u16, u32)]) -> Net {
    let plain: Vec<_> = links
        .iter()
        .map(|(a, b, cost, _)| (*a, *b, *cost))
        .collect();
    let mut net = Net::drawn(seed, count, &plain);
    let mut homes: BTreeMap<usize, u32> = BTreeMap::new();
    for (link, (a, b, _, number)) in net.links.iter().zip(links) {
        for end in &link.ends {
            net.areas.insert(end.interface, area(*number));
        }
        for node in [a, b] {
            let home = homes.entry(*node).or_insert(*number);
            *home = (*home).min(*number);
        }
    }
    net.homes = homes
        .into_iter()
        .map(|(node, number)| (node, area(number)))
        .collect();
    net
}

/// 0 - 1 - 2 - 3 - 4: area 1, backbone, backbone, area 2.
fn line() -> Net {
    let links = [(0, 1, 10, 1), (1, 2, 20, 0), (2, 3, 30, 0), (3, 4, 40, 2)];
    build(1, 5, &links)
}

pub(crate) fn metric(net: &Net, from: usize, prefix: Prefix) -> Option<u32> {
    net.node(from).routes().get(&prefix).map(|r| r.metric)
}

/// LSAs of a type in one area's database, as a node has it.
pub(crate) fn lsas(net: &Net, node: usize, scope: DbId, ty: LsaType) -> Vec<LsaView> {
    let all = net.node(node).database().lsas.into_iter();
    all.filter(|lsa| lsa.scope == scope && lsa.ty == ty && lsa.age < 3600)
        .collect()
}

fn told(net: &Net, node: usize, number: u32, by: usize) -> BTreeMap<Prefix, u32> {
    let scope = DbId::Area(area(number));
    lsas(net, node, scope, LsaType::INTER_AREA_PREFIX)
        .into_iter()
        .filter(|lsa| lsa.advertising_router == router_id(by))
        .filter_map(|lsa| match lsa.body {
            LsaBody::InterAreaPrefix(body) => Some((body.prefix, body.metric)),
            _ => None,
        })
        .collect()
}

#[test]
fn three_areas_in_a_line() {
    let mut net = line();
    net.run(Duration::from_secs(8));
    let want = [(1, 10), (2, 30), (3, 60), (4, 100)];
    for (to, cost) in want {
        assert_eq!(
            metric(&net, 0, own_prefix(to)),
            Some(cost),
            "{}",
            net.describe()
        );
    }
    assert_eq!(metric(&net, 4, own_prefix(0)), Some(100));
    assert_eq!(metric(&net, 2, own_prefix(0)), Some(30));
    let kind = |from: usize, to| net.node(from).routes()[&own_prefix(to)].kind;
    assert_eq!(kind(0, 4), PathKind::InterArea);
    assert_eq!(kind(1, 0), PathKind::IntraArea);
    // 1 tells area 1 of everything but area 1, and the backbone of area 1 alone.
    let into_1 = BTreeMap::from([
        (own_prefix(1), 0),
        (own_prefix(2), 20),
        (own_prefix(3), 50),
        (own_prefix(4), 90),
    ]);
    assert_eq!(told(&net, 0, 1, 1), into_1);
    assert_eq!(told(&net, 2, 0, 1), BTreeMap::from([(own_prefix(0), 10)]));
    assert_eq!(told(&net, 2, 0, 3), BTreeMap::from([(own_prefix(4), 40)]));
    let border = |node: usize, number| {
        let routers = lsas(&net, node, DbId::Area(area(number)), LsaType::ROUTER);
        let of = |lsa: &LsaView| match &lsa.body {
            LsaBody::Router(body) => (lsa.advertising_router, body.bits.border),
            _ => unreachable!(),
        };
        routers.iter().map(of).collect::<Vec<_>>()
    };
    let want = [(router_id(0), false), (router_id(1), true)];
    assert_eq!(border(0, 1), want);
    let want = [
        (router_id(1), true),
        (router_id(2), false),
        (router_id(3), true),
    ];
    assert_eq!(border(2, 0), want);
}

#[test]
fn a_summary_goes_with_its_route() {
    let mut net = line();
    net.run(Duration::from_secs(8));
    let gone = own_prefix(4);
    net.set_prefixes(4, Vec::new());
    let time = net.run_while(Duration::from_secs(2), |net| {
        metric(net, 0, gone).is_some() || told(net, 0, 1, 1).contains_key(&gone)
    });
    assert!(time < Duration::from_millis(200), "{time:?}");
    // Back again: no wait either.
    let start = net.now;
    net.set_prefixes(4, vec![local(gone)]);
    for node in [3, 2, 1, 0] {
        net.run_while(Duration::from_secs(2), |net| {
            metric(net, node, gone).is_none()
        });
    }
    let time = net.now - start;
    assert!(time < Duration::from_millis(500), "{time:?}");
    net.run(Duration::from_secs(6));
    assert_eq!(metric(&net, 0, gone), Some(100));
}

#[test]
fn an_id_stays_with_its_prefix() {
    let mut net = line();
    net.run(Duration::from_secs(8));
    let ids = |net: &Net| -> BTreeMap<Prefix, Ipv4Addr> {
        lsas(net, 0, DbId::Area(area(1)), LsaType::INTER_AREA_PREFIX)
            .into_iter()
            .filter_map(|lsa| match lsa.body {
                LsaBody::InterAreaPrefix(body) => Some((body.prefix, lsa.link_state_id)),
                _ => None,
            })
            .collect()
    };
    let before = ids(&net);
    assert_eq!(before.len(), 4);
    net.set_prefixes(2, Vec::new());
    net.run(Duration::from_secs(6));
    let mut fewer = before.clone();
    fewer.remove(&own_prefix(2));
    assert_eq!(ids(&net), fewer);
}

#[test]
fn a_border_router_fails_and_the_other_takes_over() {
    // Area 1 is 0 and 5; 1 and 2 are both borders; the backbone is 1, 2, 3.
    let links = [
        (0, 1, 10, 1),
        (0, 2, 15, 1),
        (1, 3, 10, 0),
        (2, 3, 10, 0),
        (1, 2, 50, 0),
    ];
    let mut net = build(2, 4, &links);
    net.run(Duration::from_secs(8));
    assert_eq!(metric(&net, 0, own_prefix(3)), Some(20));
    assert_eq!(metric(&net, 3, own_prefix(0)), Some(20));
    // 1 hears through area 1 what 2 tells there of the backbone, and does not use it.
    assert_eq!(
        metric(&net, 1, own_prefix(2)),
        Some(20),
        "{}",
        net.describe()
    );
    let kind = net.node(1).routes()[&own_prefix(2)].kind;
    assert_eq!(kind, PathKind::IntraArea);
    net.crash(1);
    let time = net.run_while(Duration::from_secs(6), |net| {
        metric(net, 0, own_prefix(3)) != Some(25) || metric(net, 3, own_prefix(0)) != Some(25)
    });
    assert!(time <= Duration::from_millis(4300), "{time:?}");
    net.start(1);
    net.run_while(Duration::from_secs(10), |net| {
        metric(net, 0, own_prefix(3)) != Some(20) || metric(net, 3, own_prefix(0)) != Some(20)
    });
    // The one loses the backbone without a neighbour knowing: its summaries go, its routes stay.
    net.links[2].cut = true;
    net.links[4].cut = true;
    net.run(Duration::from_secs(10));
    assert_eq!(
        metric(&net, 0, own_prefix(3)),
        Some(25),
        "{}",
        net.describe()
    );
    assert_eq!(
        metric(&net, 1, own_prefix(3)),
        Some(35),
        "without the backbone other areas' summaries count: {}",
        net.describe()
    );
    assert!(!told(&net, 0, 1, 1).contains_key(&own_prefix(3)));
}

#[test]
fn the_backbone_alone_counts_for_a_border_router() {
    // A triangle of borders 0, 1 in the backbone (cost 100) and in area 1 (cost 1): to what 1 has in
    // the backbone, 0 goes through the backbone although area 1 is shorter.
    let links = [(0, 1, 100, 0), (0, 1, 1, 1), (1, 2, 1, 0)];
    let mut net = build(3, 3, &links);
    net.run(Duration::from_secs(8));
    let route = net.node(0).routes()[&own_prefix(2)].clone();
    assert_eq!((route.kind, route.metric), (PathKind::IntraArea, 101));
    assert_eq!(route.areas, [BACKBONE]);
}

#[test]
fn without_the_backbone_nothing_is_passed_on() {
    // 0 - 1 - 2: areas 1 and 2, no backbone anywhere.
    let mut net = build(4, 3, &[(0, 1, 10, 1), (1, 2, 10, 2)]);
    net.run(Duration::from_secs(8));
    assert!(!net.node(1).is_area_border());
    assert_eq!(metric(&net, 1, own_prefix(2)), Some(10));
    assert_eq!(metric(&net, 0, own_prefix(2)), None);
    // The backbone comes, if only as the loopback of 1.
    net.crash(1);
    net.homes.insert(1, BACKBONE);
    net.start(1);
    net.run(Duration::from_secs(8));
    assert!(net.node(1).is_area_border());
    assert_eq!(
        metric(&net, 0, own_prefix(2)),
        Some(20),
        "{}",
        net.describe()
    );
    assert_eq!(metric(&net, 0, own_prefix(1)), Some(10));
}

#[test]
fn the_last_interface_of_an_area_takes_the_border_with_it() {
    let mut net = line();
    net.run(Duration::from_secs(8));
    let now = net.now;
    let interface = net.links[0].ends[1].interface;
    net.with(1, |speaker| speaker.remove_interface(now, interface));
    net.run(Duration::from_secs(6));
    assert!(!net.node(1).is_area_border());
    assert_eq!(metric(&net, 4, own_prefix(0)), None);
    assert_eq!(told(&net, 2, 0, 1), BTreeMap::new());
    assert_eq!(metric(&net, 4, own_prefix(1)), Some(90));
}

#[test]
fn one_that_does_not_forward_tells_of_itself_alone() {
    let mut net = line();
    net.run(Duration::from_secs(8));
    let now = net.now;
    net.with(1, |speaker| speaker.set_transit(now, false));
    net.run(Duration::from_secs(6));
    assert_eq!(told(&net, 0, 1, 1), BTreeMap::from([(own_prefix(1), 0)]));
    assert_eq!(told(&net, 2, 0, 1), BTreeMap::new());
    // Without the R bit even that is not looked at.
    assert_eq!(metric(&net, 0, own_prefix(1)), None);
    net.with(1, |speaker| speaker.set_transit(now, true));
    net.run(Duration::from_secs(6));
    assert_eq!(metric(&net, 0, own_prefix(4)), Some(100));
    let now = net.now;
    net.with(1, |speaker| speaker.drain(now, true));
    net.run(Duration::from_secs(6));
    assert_eq!(told(&net, 0, 1, 1)[&own_prefix(4)], 0x00ff_fffe);
    assert_eq!(told(&net, 0, 1, 1)[&own_prefix(1)], 0xffff);
}

#[test]
fn an_orderly_stop_flushes_every_summary() {
    let mut net = line();
    net.run(Duration::from_secs(8));
    net.stop(1);
    net.run_ms(100);
    assert_eq!(told(&net, 0, 1, 1), BTreeMap::new());
    assert_eq!(told(&net, 2, 0, 1), BTreeMap::new());
    assert_eq!(metric(&net, 4, own_prefix(0)), None);
}

#[test]
fn a_metric_beyond_reach_is_not_told() {
    let mut net = line();
    net.run(Duration::from_secs(8));
    let far: Prefix = Prefix::new("2001:db8:77::".parse::<Ipv6Addr>().unwrap(), 64).unwrap();
    let stub = |metric| StubPrefix {
        prefix: far,
        metric,
        local: false,
    };
    net.set_prefixes(4, vec![local(own_prefix(4)), stub(7)]);
    net.run(Duration::from_secs(6));
    assert_eq!(metric(&net, 0, far), Some(107), "{}", net.describe());
    let now = net.now;
    let interface = net.links[3].ends[0].interface;
    net.with(3, |speaker| speaker.interface_down(now, interface));
    net.run_ms(200);
    assert_eq!(metric(&net, 0, far), None, "unreachable, not infinite");
    assert!(!told(&net, 2, 0, 3).contains_key(&far));
}

/// A border router that leads outside as well crashes and comes back, its forwarding plane working
/// all the while: nobody's route changes for a moment, and every LSA stays what it was.
#[test]
fn a_border_router_restarts_unnoticed() {
    let mut net = line();
    net.run(Duration::from_secs(8));
    let outside = ospfv3::ExternalPrefix {
        prefix: Prefix::new("2001:db8:e::".parse::<Ipv6Addr>().unwrap(), 48).unwrap(),
        metric: 5,
        type2: false,
        tag: None,
    };
    let now = net.now;
    net.with(1, |speaker| speaker.set_externals(now, vec![outside]));
    // The order of their coming is not the order in which they would be numbered anew.
    net.set_prefixes(2, Vec::new());
    net.run(Duration::from_secs(10));
    net.set_prefixes(2, vec![local(own_prefix(2))]);
    net.run(Duration::from_secs(20));
    let routes = |net: &Net| [0, 2, 3, 4].map(|node| net.node(node).routes().clone());
    let lsas = |net: &Net| -> Vec<(DbId, LsaType, Ipv4Addr, LsaBody)> {
        let lsas = [0, 2].map(|node| net.node(node).database().lsas);
        let lsas = lsas.into_iter().flatten();
        let of_1 = lsas.filter(|lsa| {
            lsa.advertising_router == router_id(1) && lsa.ty.name() != "unknown" && lsa.age < 3600
        });
        of_1.filter(|lsa| !matches!(lsa.scope, DbId::Link(_)))
            .map(|lsa| (lsa.scope, lsa.ty, lsa.link_state_id, lsa.body))
            .collect()
    };
    let (before, said) = (routes(&net), lsas(&net));
    assert!(
        before
            .iter()
            .all(|routes| routes.contains_key(&outside.prefix))
    );
    net.crash(1);
    let unplanned = ospfv3::GracefulRestart {
        period: 60,
        reason: ospfv3::wire::GraceReason::Unknown,
    };
    net.resume(1, vec![local(own_prefix(1))], unplanned);
    let now = net.now;
    net.with(1, |speaker| speaker.set_externals(now, vec![outside]));
    let until = net.now + Duration::from_secs(30);
    while net.now < until {
        net.run_ms(1);
        assert_eq!(routes(&net), before, "at {:?}\n{}", net.now, net.describe());
    }
    assert!(!net.node(1).is_resuming());
    assert_eq!(lsas(&net), said);
}

/// Follows the routes from node to node; whether they end where they should.
fn arrives(net: &Net, from: usize, to: usize) -> Result<(), String> {
    let mut at = from;
    for _ in 0..net.nodes.len() {
        if at == to {
            return Ok(());
        }
        let Some(route) = net.node(at).routes().get(&own_prefix(to)) else {
            return Err(format!("{from} to {to}: no route at {at}"));
        };
        let hop = route.nexthops[0].address.unwrap();
        let mut ends = net.links.iter().flat_map(|link| link.ends);
        at = ends.find(|end| crate::net::hop(*end) == hop).unwrap().node;
    }
    Err(format!("{from} to {to}: a loop"))
}

/// A backbone ring of borders, and behind it areas with two borders each, in foul weather, with
/// nodes that come and go: in the end all is reached, and each area's database is one.
#[test]
fn areas_at_random_converge() {
    for seed in 0..12 {
        let mut rng = Rng(seed);
        let backbone = 4 + rng.below(3) as usize;
        let mut links = Vec::new();
        for node in 0..backbone {
            let cost = 1 + rng.below(20) as u16;
            links.push((node, (node + 1) % backbone, cost, 0));
        }
        let mut count = backbone;
        for number in 1..=3 {
            let inside = 1 + rng.below(3) as usize;
            let first = rng.below(backbone as u64) as usize;
            let second = (first + 1 + rng.below(backbone as u64 - 1) as usize) % backbone;
            for node in count..count + inside {
                let other = if node == count { first } else { node - 1 };
                links.push((other, node, 1 + rng.below(20) as u16, number));
            }
            let last = count + inside - 1;
            links.push((last, second, 1 + rng.below(20) as u16, number));
            count += inside;
        }
        let mut net = draw(seed, count, &links);
        for node in 0..count {
            net.start(node);
        }
        net.weather = Weather::STORM;
        net.run(Duration::from_secs(20));
        for _ in 0..4 {
            let node = rng.below(count as u64) as usize;
            net.crash(node);
            net.run_ms(500 + rng.below(6000));
            net.start(node);
        }
        net.weather = Weather::FAIR;
        net.run(Duration::from_secs(60));
        for from in 0..count {
            let prefixes = net.node(from).interfaces();
            assert!(prefixes.iter().any(|i| i.id == LOOPBACK));
            for to in 0..count {
                let outcome = arrives(&net, from, to);
                assert_eq!(outcome, Ok(()), "seed {seed}\n{}", net.describe());
            }
        }
        let mut databases: BTreeMap<Ipv4Addr, Vec<(LsaType, Ipv4Addr, Ipv4Addr, u32)>> =
            BTreeMap::new();
        for node in 0..count {
            let mut mine: BTreeMap<Ipv4Addr, Vec<_>> = BTreeMap::new();
            for lsa in net.node(node).database().lsas {
                if let DbId::Area(area) = lsa.scope {
                    let key = (
                        lsa.ty,
                        lsa.link_state_id,
                        lsa.advertising_router,
                        lsa.sequence,
                    );
                    mine.entry(area).or_default().push(key);
                }
            }
            for (area, lsas) in mine {
                let first = databases.entry(area).or_insert_with(|| lsas.clone());
                assert_eq!(*first, lsas, "seed {seed}, area {area}, node {node}");
            }
        }
    }
}
