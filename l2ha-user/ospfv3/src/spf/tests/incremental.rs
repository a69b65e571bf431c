//! Whatever has changed in whatever order: going on from the last time gives what a calculation from
//! nothing gives, and names exactly the prefixes whose routes are others.

use proptest::prelude::*;

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::*;
use crate::spf::{Calculation, Route};

/// Routers of the network, the root included.
const ROUTERS: u32 = 7;
/// Prefixes that compete.
const PREFIXES: u32 = 6;

#[derive(Clone, Debug)]
enum Act {
    /// A router tells of its links: to whom and at which cost; its bits and the R bit.
    Links(u32, Vec<(u32, u16)>, bool, bool, bool),
    /// A link of ours comes or goes.
    Root(u32, u16, bool),
    /// The Ethernet of a router as Designated Router.
    Ethernet(u32, Vec<u32>),
    Intra(u32, bool, Vec<(u32, u16)>),
    Inter(u32, u32, u32),
    Boundary(u32, u32, u32),
    External(u32, u32, u32, bool, Option<u32>),
    /// The nth LSA of a database goes, at once or by way of MaxAge.
    Flush(bool, usize),
    Remove(bool, usize),
    Own(u32),
    /// Links of ours that the neighbour does not tell of may count, or not.
    OneWay,
}

fn router() -> impl Strategy<Value = u32> {
    2..=ROUTERS
}

fn act() -> impl Strategy<Value = Act> {
    let metric = 1..4u32;
    let links = prop::collection::vec((1..=ROUTERS, 1..4u16), 0..4);
    let some = prop::collection::vec((0..PREFIXES, 0..3u16), 0..4);
    let any = any::<bool>;
    prop_oneof![
        3 => (router(), links, any(), any(), prop::bool::weighted(0.9))
            .prop_map(|(r, links, b, e, through)| Act::Links(r, links, b, e, through)),
        2 => (router(), 1..4u16, any()).prop_map(|(r, cost, on)| Act::Root(r, cost, on)),
        1 => (router(), prop::collection::vec(1..=ROUTERS, 0..4))
            .prop_map(|(r, on)| Act::Ethernet(r, on)),
        4 => (router(), any(), some).prop_map(|(r, net, p)| Act::Intra(r, net, p)),
        2 => (router(), 0..PREFIXES, metric.clone()).prop_map(|(r, p, m)| Act::Inter(r, p, m)),
        1 => (router(), router(), metric.clone()).prop_map(|(r, to, m)| Act::Boundary(r, to, m)),
        2 => (router(), 0..PREFIXES, metric, any(), prop::option::of(0..PREFIXES))
            .prop_map(|(r, p, m, type2, to)| Act::External(r, p, m, type2, to)),
        1 => (any(), 0..40usize).prop_map(|(area, n)| Act::Flush(area, n)),
        1 => (any(), 0..40usize).prop_map(|(area, n)| Act::Remove(area, n)),
        1 => (0..PREFIXES).prop_map(Act::Own),
        1 => Just(Act::OneWay),
    ]
}

fn text(number: u32) -> String {
    // Some within others, for the longest match.
    match number {
        0 => "2001:db8::/32".into(),
        1 => "::/0".into(),
        _ => format!("2001:db8:{number}::/48"),
    }
}

fn inside(number: u32) -> IpAddr {
    format!("2001:db8:{number}::1").parse().unwrap()
}

/// The Interface ID of a router's link to another.
fn port(from: u32, to: u32) -> u32 {
    from * 10 + to
}

/// Whether our links changed.
fn play(world: &mut World, act: &Act) -> bool {
    match act {
        Act::Links(from, to, border, external, through) => {
            let mut links: Vec<_> = to
                .iter()
                .filter(|(to, _)| to != from)
                .map(|(to, cost)| p2p(*cost, port(*from, *to), *to, port(*to, *from)))
                .collect();
            links.push(transit(1, port(*from, 0), 2, port(2, 0)));
            let bits = RouterBits {
                border: *border,
                external: *external,
                ..RouterBits::default()
            };
            let options = if *through {
                NORMAL
            } else {
                NORMAL.without(Options::R)
            };
            world.router_as(*from, 0, options, bits, &links);
        }
        Act::Root(to, cost, on) => {
            let id = port(1, *to);
            world.links.retain(|link| link.interface != id);
            if *on {
                world.root(*cost, id, *to, port(*to, 1));
            }
            return true;
        }
        Act::Ethernet(dr, attached) => world.network(*dr, port(*dr, 0), attached),
        Act::Intra(adv, network, prefixes) => {
            let of = if *network {
                (LsaType::NETWORK, port(*adv, 0))
            } else {
                (LsaType::ROUTER, 0)
            };
            let texts: Vec<_> = prefixes.iter().map(|(p, m)| (text(*p), *m)).collect();
            let prefixes: Vec<_> = texts
                .iter()
                .map(|(text, m)| (text.as_str(), *m, PrefixOptions::default()))
                .collect();
            world.prefixes(*adv, of, &prefixes);
        }
        Act::Inter(adv, number, metric) => {
            let body = InterAreaPrefix {
                metric: *metric,
                prefix: prefix(&text(*number)),
                options: PrefixOptions::default(),
            };
            let body = LsaBody::InterAreaPrefix(body);
            world.add(LsaType::INTER_AREA_PREFIX, *number, *adv, body);
        }
        Act::Boundary(adv, to, metric) => {
            let body = InterAreaRouter {
                options: NORMAL,
                metric: *metric,
                destination: id(*to),
            };
            let body = LsaBody::InterAreaRouter(body);
            world.add(LsaType::INTER_AREA_ROUTER, *to, *adv, body);
        }
        Act::External(adv, number, metric, type2, forwarding) => {
            let body = AsExternal {
                type2: *type2,
                metric: *metric,
                prefix: prefix(&text(*number)),
                options: PrefixOptions::default(),
                forwarding: forwarding.map(inside),
                tag: None,
                referenced: None,
            };
            let body = LsaBody::AsExternal(body);
            world.add(LsaType::AS_EXTERNAL, *number, *adv, body);
        }
        Act::Flush(area, nth) | Act::Remove(area, nth) => {
            let db = if *area { AREA } else { DbId::As };
            let db = world.databases.get_mut(&db).unwrap();
            let key = db.iter().nth(*nth).map(|(key, _)| *key);
            if let Some(key) = key {
                if matches!(act, Act::Flush(..)) {
                    db.flush(&key, NOW);
                } else {
                    db.remove(&key);
                }
            }
        }
        Act::OneWay => {
            world.one_way = !world.one_way;
            return true;
        }
        Act::Own(number) => {
            let prefix = prefix(&text(*number));
            if !world.own.remove(&prefix) {
                world.own.insert(prefix);
            }
        }
    }
    false
}

/// What is different between two tables.
fn difference(a: &BTreeMap<Prefix, Route>, b: &BTreeMap<Prefix, Route>) -> Vec<Prefix> {
    let all: BTreeSet<_> = a.keys().chain(b.keys()).copied().collect();
    all.into_iter().filter(|p| a.get(p) != b.get(p)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn going_on_is_as_good_as_beginning_anew(
        acts in prop::collection::vec(prop::collection::vec(act(), 0..4), 1..40)
    ) {
        let mut world = World::default();
        let (mut calculation, mut routes) = (Calculation::default(), BTreeMap::new());
        // Something to lose, from the first.
        for to in 2..=ROUTERS {
            play(&mut world, &Act::Root(to, 2, to < 5));
            let beside = 2 + to % (ROUTERS - 1);
            let links = vec![(1, 1), (beside, 1), (to - 1, 1)];
            play(&mut world, &Act::Links(to, links, to == 3, to == 4, true));
            play(&mut world, &Act::Intra(to, false, vec![(to % PREFIXES, 1)]));
        }
        world.follow(true, &mut calculation, &mut routes);
        prop_assert_eq!(&routes, &world.routes());
        for step in acts {
            let links = step.iter().fold(false, |links, act| play(&mut world, act) | links);
            let before = routes.clone();
            let changed = world.follow(links, &mut calculation, &mut routes);
            prop_assert_eq!(&routes, &world.routes());
            prop_assert_eq!(changed, difference(&before, &routes));
        }
    }
}

#[test]
fn a_prefix_alone_is_looked_at_alone() {
    let mut world = World::line();
    let (mut calculation, mut routes) = (Calculation::default(), BTreeMap::new());
    world.follow(true, &mut calculation, &mut routes);
    world.host(2);
    let (same, looked_at) = update(&mut world, &mut calculation, &mut routes);
    assert_eq!((same.len(), looked_at), (0, 0), "a refresh");
    world.prefixes(
        3,
        (LsaType::ROUTER, 0),
        &[("2001:db8::33/128", 0, PrefixOptions::LA)],
    );
    let (changed, looked_at) = update(&mut world, &mut calculation, &mut routes);
    let expected = ["2001:db8::3/128", "2001:db8::33/128"].map(prefix);
    assert_eq!((changed, looked_at), (expected.to_vec(), 2));
}

/// With the trees of before.
fn update(
    world: &mut World,
    calculation: &mut Calculation,
    routes: &mut BTreeMap<Prefix, Route>,
) -> (Vec<Prefix>, usize) {
    let databases = world.databases.iter_mut();
    let news = databases.map(|(db, of)| (*db, of.take_news())).collect();
    calculation.update(world.input(news, false), routes)
}
