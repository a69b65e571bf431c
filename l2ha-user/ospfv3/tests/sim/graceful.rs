//! Graceful restart, RFC 5187: nobody else notices that a router was away.

use std::collections::BTreeMap;
use std::time::Duration;

use ospfv3::wire::{GraceReason, LsaBody, LsaType};
use ospfv3::{
    Event, GracefulRestart, HelpEnd, HelpRefusal, InterfaceKind, NeighborState, PathFailure,
    PathOutcome, Peer, RestartEnd, Routes,
};

use crate::net::{End, Lan, Net, Weather, anycast, local, own_prefix, router_id};

const UNPLANNED: GracefulRestart = GracefulRestart {
    period: 120,
    reason: GraceReason::Unknown,
};
const PLANNED: GracefulRestart = GracefulRestart {
    period: 120,
    reason: GraceReason::SoftwareUpgrade,
};

/// A ring of four, so that a lost adjacency shows in everybody's routes; node 1 restarts.
fn ring() -> Net {
    let mut net = Net::build(3, 4, &[(0, 1, 10), (1, 2, 10), (2, 3, 10), (3, 0, 10)]);
    net.set_prefixes(1, prefixes());
    net.run(Duration::from_secs(20));
    net.events.clear();
    net
}

fn prefixes() -> Vec<ospfv3::StubPrefix> {
    vec![local(own_prefix(1)), local(anycast())]
}

/// The routes of all but node 1.
fn others(net: &Net) -> BTreeMap<usize, Routes> {
    let others = [0, 2, 3].into_iter();
    others
        .filter(|node| net.nodes[*node].is_some())
        .map(|node| (node, net.node(node).routes().clone()))
        .collect()
}

/// Content of all Router-LSAs at a node.
fn router_lsas(net: &Net, node: usize) -> Vec<LsaBody> {
    let lsas = net.node(node).database().lsas.into_iter();
    let lsas = lsas.filter(|lsa| lsa.ty == LsaType::ROUTER && lsa.age < 3600);
    lsas.map(|lsa| lsa.body).collect()
}

fn graces(net: &Net, node: usize) -> usize {
    let lsas = net.node(node).database().lsas;
    lsas.iter().filter(|lsa| lsa.ty == LsaType::GRACE).count()
}

fn helps_ended(net: &Net) -> Vec<(usize, HelpEnd)> {
    let ended = net
        .events
        .iter()
        .filter_map(|(_, node, event)| match event {
            Event::HelpEnded { why, .. } => Some((*node, *why)),
            _ => None,
        });
    let mut ended: Vec<_> = ended.collect();
    ended.sort_unstable();
    ended
}

fn restart_ended(net: &Net) -> Vec<RestartEnd> {
    let ended = net.events.iter().filter_map(|(_, _, event)| match event {
        Event::RestartEnded { why } => Some(*why),
        _ => None,
    });
    ended.collect()
}

/// Runs a millisecond at a time; in each, the routes of the others are the same.
fn run_unnoticed(net: &mut Net, time: Duration) {
    let before = others(net);
    let until = net.now + time;
    while net.now < until {
        net.run_ms(1);
        assert_eq!(others(net), before, "at {:?}\n{}", net.now, net.describe());
    }
}

#[test]
fn a_crash_goes_unnoticed() {
    for pause in [0, 300, 3000] {
        let mut net = ring();
        let before = [0, 2, 3].map(|node| router_lsas(&net, node));
        let own = net.node(1).routes().clone();
        net.crash(1);
        run_unnoticed(&mut net, Duration::from_millis(pause));
        net.resume(1, prefixes(), UNPLANNED);
        run_unnoticed(&mut net, Duration::from_secs(30));
        assert_eq!([0, 2, 3].map(|node| router_lsas(&net, node)), before);
        assert_eq!(net.node(1).routes(), &own);
        assert_eq!(restart_ended(&net), [RestartEnd::Completed]);
        assert_eq!(
            helps_ended(&net),
            [(0, HelpEnd::Completed), (2, HelpEnd::Completed)],
        );
        for node in 0..4 {
            assert_eq!(graces(&net, node), 0, "flushed");
            assert!(net.node(node).is_acknowledged());
            let lost = net.node(node).counters().adjacencies_lost;
            assert_eq!(lost, 0, "node {node}");
        }
        // And once more: it is not a thing one can do only once.
        net.events.clear();
        net.crash(1);
        net.resume(1, prefixes(), UNPLANNED);
        run_unnoticed(&mut net, Duration::from_secs(30));
        assert_eq!(restart_ended(&net), [RestartEnd::Completed]);
    }
}

#[test]
fn a_planned_restart_may_outlast_the_dead_interval() {
    let mut net = ring();
    let now = net.now;
    net.with(1, |speaker| speaker.begin_graceful_restart(now, PLANNED));
    let took = net.run_while(Duration::from_secs(2), |net| !net.node(1).is_acknowledged());
    assert!(took <= Duration::from_millis(300), "{took:?}");
    net.crash(1);
    run_unnoticed(&mut net, Duration::from_secs(60));
    let neighbor = &net.node(0).neighbors()[0];
    assert_eq!(neighbor.router_id, router_id(1));
    assert_eq!(neighbor.state, NeighborState::Full);
    let help = neighbor.graceful.help.unwrap();
    assert_eq!(help.reason, GraceReason::SoftwareUpgrade);
    assert!(
        (59_000..60_000).contains(&help.remaining_ms),
        "{} ms",
        help.remaining_ms
    );
    net.resume(1, prefixes(), PLANNED);
    run_unnoticed(&mut net, Duration::from_secs(30));
    assert_eq!(restart_ended(&net), [RestartEnd::Completed]);
    assert_eq!(
        net.node(0).neighbors()[0].graceful.last_end,
        Some(HelpEnd::Completed)
    );
}

#[test]
fn nothing_of_the_life_before_is_outpaced_or_flushed_before_the_end() {
    let mut net = ring();
    net.crash(1);
    // A link that hears nothing delays the end until the neighbour there counts as missing.
    net.links[1].cut = true;
    net.resume(1, prefixes(), UNPLANNED);
    net.run(Duration::from_secs(3));
    assert!(net.node(1).is_resuming());
    assert!(net.node(1).routes().is_empty());
    assert_eq!(net.node(1).counters().lsas_flushed, 0);
    let own: Vec<_> = net.node(1).database().lsas;
    let own: Vec<_> = own.into_iter().filter(|lsa| lsa.own).collect();
    let types = |ty| own.iter().filter(|lsa| lsa.ty == ty).count();
    assert_eq!(types(LsaType::ROUTER), 1, "it has come back: {own:?}");
    assert_eq!(types(LsaType::INTRA_AREA_PREFIX), 2);
    assert_eq!(types(LsaType::GRACE), 2);
    net.run(Duration::from_secs(2));
    assert_eq!(restart_ended(&net), [RestartEnd::NeighborMissing]);
    assert!(!net.node(1).routes().is_empty());
}

#[test]
fn the_prefixes_of_before_keep_their_lsas() {
    let mut net = ring();
    // The order in which they came is not the order in which they are assigned anew.
    net.set_prefixes(1, vec![local(anycast())]);
    net.run(Duration::from_secs(10));
    net.set_prefixes(1, prefixes());
    net.run(Duration::from_secs(10));
    let ids = |net: &Net| -> BTreeMap<String, String> {
        let lsas = net.node(3).database().lsas.into_iter();
        lsas.filter(|lsa| lsa.advertising_router == router_id(1))
            .filter_map(|lsa| match lsa.body {
                LsaBody::IntraAreaPrefix(body) => Some((
                    format!("{:?}", body.prefixes),
                    lsa.link_state_id.to_string(),
                )),
                _ => None,
            })
            .collect()
    };
    let before = ids(&net);
    assert_eq!(before.len(), 2);
    net.crash(1);
    net.resume(1, prefixes(), UNPLANNED);
    run_unnoticed(&mut net, Duration::from_secs(10));
    assert_eq!(ids(&net), before);
}

#[test]
fn a_change_ends_the_help_and_the_restart() {
    for strict in [true, false] {
        let mut net = ring();
        net.strict = strict;
        for node in [0, 2] {
            net.crash(node);
            net.run(Duration::from_secs(10));
            net.start(node);
            net.run(Duration::from_secs(10));
        }
        net.events.clear();
        let now = net.now;
        net.with(1, |speaker| speaker.begin_graceful_restart(now, PLANNED));
        net.run_ms(500);
        net.crash(1);
        net.run(Duration::from_secs(10));
        // Node 3 has something new to say, which both helpers hear.
        net.set_prefixes(3, vec![local(own_prefix(3)), local(own_prefix(9))]);
        net.run(Duration::from_secs(1));
        let expected = if strict {
            vec![(0, HelpEnd::TopologyChanged), (2, HelpEnd::TopologyChanged)]
        } else {
            Vec::new()
        };
        assert_eq!(helps_ended(&net), expected, "strict: {strict}");
        let there = net.node(3).routes().contains_key(&own_prefix(1));
        assert_eq!(there, !strict, "{}", net.describe());
        net.resume(1, prefixes(), PLANNED);
        net.run(Duration::from_secs(10));
        let end = if strict {
            // The neighbours' Router-LSAs do not list us: RFC 3623 2.3 (2).
            RestartEnd::Inconsistent
        } else {
            RestartEnd::Completed
        };
        assert_eq!(restart_ended(&net), [end], "{}", net.describe());
        assert!(net.node(3).routes().contains_key(&anycast()));
        assert!(net.node(1).routes().contains_key(&own_prefix(9)));
    }
}

#[test]
fn a_router_that_does_not_come_back_is_given_up_at_expiry() {
    let mut net = ring();
    let now = net.now;
    let short = GracefulRestart {
        period: 15,
        ..PLANNED
    };
    net.with(1, |speaker| speaker.begin_graceful_restart(now, short));
    net.run_ms(500);
    net.crash(1);
    let took = net.run_while(Duration::from_secs(30), |net| {
        net.node(3).routes().contains_key(&anycast())
    });
    let expected = Duration::from_millis(13_500)..Duration::from_millis(14_700);
    assert!(expected.contains(&took), "{took:?}");
    assert_eq!(
        helps_ended(&net),
        [(0, HelpEnd::Expired), (2, HelpEnd::Expired)]
    );
    assert_eq!(net.node(0).counters().adjacencies_lost, 1);
}

#[test]
fn help_is_refused() {
    // By configuration.
    let mut net = ring();
    net.helper = false;
    net.crash(0);
    net.run(Duration::from_secs(10));
    net.start(0);
    net.run(Duration::from_secs(10));
    net.crash(1);
    net.resume(1, prefixes(), UNPLANNED);
    net.run(Duration::from_secs(20));
    let refused = |net: &Net, node: usize| net.node(node).counters().graceful.helps_refused.clone();
    assert_eq!(refused(&net, 0), [(HelpRefusal::Disabled, 1)].into());
    assert_eq!(refused(&net, 2), BTreeMap::new());
    assert_eq!(restart_ended(&net).len(), 1);
    assert!(net.node(3).routes().contains_key(&anycast()));

    // Because the restarting router has missed something.
    let mut net = ring();
    net.crash(1);
    net.run_ms(100);
    net.set_prefixes(3, vec![local(own_prefix(3)), local(own_prefix(9))]);
    net.run_ms(400);
    net.resume(1, prefixes(), UNPLANNED);
    net.run(Duration::from_secs(20));
    assert_eq!(refused(&net, 0), [(HelpRefusal::Changed, 1)].into());
    assert_eq!(refused(&net, 2), [(HelpRefusal::Changed, 1)].into());
    assert!(net.node(1).routes().contains_key(&own_prefix(9)));
    assert!(net.node(3).routes().contains_key(&anycast()));

    // Because it was away for too long: it is a stranger by then, and begins anew.
    let mut net = ring();
    net.crash(1);
    net.run(Duration::from_secs(10));
    net.resume(1, prefixes(), UNPLANNED);
    let took = net.run_while(Duration::from_secs(10), |net| {
        !net.node(3).routes().contains_key(&anycast()) || net.node(1).is_resuming()
    });
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn what_has_just_come_is_acknowledged_before_the_restart() {
    let mut net = ring();
    net.set_prefixes(3, vec![local(own_prefix(3)), local(own_prefix(9))]);
    // Long enough for it to arrive, and not for acknowledgments that wait for company.
    net.run_ms(20);
    let now = net.now;
    net.with(1, |speaker| speaker.begin_graceful_restart(now, PLANNED));
    net.run_ms(500);
    for node in [0, 2] {
        let graceful = &net.node(node).counters().graceful;
        assert_eq!(graceful.helps_begun, 1, "{:?}", graceful.helps_refused);
    }
}

#[test]
fn two_at_once_do_not_help_each_other() {
    let mut net = ring();
    net.crash(0);
    net.crash(1);
    net.resume(0, vec![local(own_prefix(0))], UNPLANNED);
    net.resume(1, prefixes(), UNPLANNED);
    net.run(Duration::from_secs(20));
    for node in [0, 1] {
        assert!(net.node(node).restart().is_none());
        assert_eq!(net.node(node).counters().graceful.helps_begun, 0);
    }
    assert_eq!(net.node(2).routes().len(), 4, "{}", net.describe());
}

#[test]
fn death_by_bfd_does_not_count_and_a_lost_path_does() {
    let mut net = ring();
    let now = net.now;
    net.with(1, |speaker| speaker.begin_graceful_restart(now, PLANNED));
    net.run_ms(500);
    net.crash(1);
    let (now, interface) = (net.now, net.links[0].ends[0].interface);
    let peer = Peer::new(interface, router_id(1));
    let outcome = net.with(0, |speaker| {
        speaker.path_failed(now, peer, PathFailure::Unconfirmed)
    });
    assert_eq!(outcome, PathOutcome::Helped);
    run_unnoticed(&mut net, Duration::from_secs(2));
    assert_eq!(net.node(0).counters().graceful.deaths_ignored, 1);
    let now = net.now;
    let outcome = net.with(0, |speaker| {
        speaker.path_failed(now, peer, PathFailure::Confirmed)
    });
    assert_eq!(outcome, PathOutcome::Lost);
    let again = net.with(0, |speaker| {
        speaker.path_failed(now, peer, PathFailure::Confirmed)
    });
    assert_eq!(again, PathOutcome::Unknown);
    let took = net.run_while(Duration::from_secs(1), |net| {
        net.node(0).routes()[&anycast()].metric != 30
    });
    assert!(took <= Duration::from_millis(200), "{took:?}");
    assert_eq!(helps_ended(&net)[0], (0, HelpEnd::PathLost));
}

#[test]
fn a_designated_router_stays_one() {
    for who in [0, 1, 2] {
        let mut net = on_a_lan();
        let elected = |net: &Net, node: usize| {
            let interfaces = net.node(node).interfaces().into_iter();
            let mut lan = interfaces.filter(|i| i.kind == InterfaceKind::Broadcast);
            let lan = lan.next().unwrap();
            (lan.designated_router, lan.backup_router)
        };
        let before = elected(&net, 0);
        let others: Vec<usize> = (0..3).filter(|node| *node != who).collect();
        let routes = |net: &Net| {
            let others = others.iter();
            others
                .map(|node| net.node(*node).routes().clone())
                .collect::<Vec<_>>()
        };
        let expected = routes(&net);
        net.crash(who);
        net.resume(who, vec![local(own_prefix(who))], UNPLANNED);
        let until = net.now + Duration::from_secs(30);
        while net.now < until {
            net.run_ms(5);
            assert_eq!(routes(&net), expected, "{who}\n{}", net.describe());
        }
        assert_eq!(restart_ended(&net), [RestartEnd::Completed], "{who}");
        for node in 0..3 {
            assert_eq!(elected(&net, node), before, "{who} restarted, {node} says");
        }
    }
}

#[test]
fn a_storm_ends_in_order_whatever_is_lost() {
    for seed in 0..30 {
        let links = [(0, 1, 10), (1, 2, 10), (2, 3, 10), (3, 0, 10)];
        let mut net = Net::build(seed, 4, &links);
        net.set_prefixes(1, prefixes());
        net.run(Duration::from_secs(20));
        net.events.clear();
        net.weather = Weather::STORM;
        net.crash(1);
        net.resume(1, prefixes(), UNPLANNED);
        net.run(Duration::from_secs(130));
        net.weather = Weather::FAIR;
        net.run(Duration::from_secs(60));
        assert_eq!(restart_ended(&net).len(), 1, "seed {seed}");
        let lsas = router_lsas(&net, 0);
        for node in 0..4 {
            assert!(net.node(node).is_acknowledged(), "seed {seed}");
            assert_eq!(
                graces(&net, node),
                0,
                "seed {seed} {node} {}",
                net.describe()
            );
            assert_eq!(router_lsas(&net, node), lsas, "seed {seed}");
            let view = net.node(node).neighbors();
            assert!(
                view.iter()
                    .all(|n| n.state == NeighborState::Full && n.graceful.help.is_none())
            );
        }
        assert_eq!(net.node(3).routes()[&anycast()].metric, 20);
    }
}

/// Three routers on one broadcast network, settled.
fn on_a_lan() -> Net {
    let mut net = Net::drawn(8, 3, &[]);
    let end = |node| End { node, interface: 5 };
    net.lans.push(Lan {
        ends: vec![end(0), end(1), end(2)],
        cut: Vec::new(),
    });
    for node in 0..3 {
        net.start(node);
    }
    net.run(Duration::from_secs(30));
    net.events.clear();
    net
}

#[test]
fn whose_office_is_taken_does_not_wait_for_it() {
    for who in [0, 1, 2] {
        let mut net = on_a_lan();
        let before: Vec<_> = (0..3).map(|node| net.node(node).routes().clone()).collect();
        net.crash(who);
        net.run(Duration::from_secs(60));
        net.resume(who, vec![local(own_prefix(who))], UNPLANNED);
        net.run(Duration::from_secs(40));
        let after: Vec<_> = (0..3).map(|node| net.node(node).routes().clone()).collect();
        assert_eq!(before, after, "{who}\n{}", net.describe());
        assert_eq!(restart_ended(&net).len(), 1, "{who}");
    }
}
