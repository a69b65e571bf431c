//! Two areas and what lies outside, with three kinds of routers: each is the border router once, and
//! everything each advertises is in the kernels of the others.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{
    Capture, CloudOptions, External, Framing, Lab, Link, Member, PATIENCE, Router, Speaker, check,
    has_route, join, wait_for, wait_full, wait_same, wait_unrouted,
};

const AREA_1: Ipv4Addr = Ipv4Addr::new(0, 0, 0, 1);
const BACKBONE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const ROUTER: u16 = 0x2001;
const INTER_AREA_PREFIX: u16 = 0x2003;
const INTER_AREA_ROUTER: u16 = 0x2004;
const AS_EXTERNAL: u16 = 0x4005;
const INTRA_AREA_PREFIX: u16 = 0x2009;

/// What each of the three brings in from outside.
fn external(number: usize) -> External {
    External {
        prefix: format!("2001:db8:e{number}::/48"),
        metric: 5 + u32::try_from(number).unwrap_or(0),
        // The first and the last of type 1, the border router of type 2.
        type1: number != 1,
    }
}

/// `inside` in area 1, `border`, and `outside` in the backbone, in a line.
fn line(name: &str, speakers: [Speaker; 3], stub: bool) -> Result<()> {
    Lab::run(name, |lab| {
        let names = ["inside", "border", "outside"];
        let (cloud, hosts) = lab.cloud(CloudOptions::default(), &names)?;
        let mut routers = hosts
            .iter()
            .zip(speakers)
            .map(|(host, speaker)| Router::new(lab, host, speaker))
            .collect::<Result<Vec<_>>>()?;
        let [inside, border, outside] = &mut routers[..] else {
            unreachable!("three names make three hosts")
        };
        join(&mut inside.config, &mut border.config, Link::default())?;
        join(&mut border.config, &mut outside.config, Link::default())?;
        inside.areas.push(("border".into(), AREA_1));
        border.areas.push(("inside".into(), AREA_1));
        inside.home = AREA_1;
        if stub {
            inside.stub_areas.push(AREA_1);
            border.stub_areas.push(AREA_1);
        }
        for (number, router) in [&mut *inside, border, outside].into_iter().enumerate() {
            // What leads outside is not in a stub area.
            router.external = (!stub || number > 0).then(|| external(number));
        }
        let capture = Capture::cloud(lab, &cloud, "udp", "wire")?;
        let members = routers
            .into_iter()
            .map(|router| router.start(lab))
            .collect::<Result<Vec<_>>>()?;
        let [inside, border, outside] = &members[..] else {
            unreachable!("three routers make three members")
        };
        wait_full(inside, &[border])?;
        wait_full(border, &[inside, outside])?;
        lab.say("every neighbour Full");

        // What each has of its own is in the kernels of the others.
        let over = |peer: &Member| format!("l2-{}", peer.host.name);
        for (at, to, next) in [
            (inside, border, border),
            (inside, outside, border),
            (border, inside, inside),
            (border, outside, outside),
            (outside, border, border),
            (outside, inside, border),
        ] {
            wait_route(at, &Router::address(&to.host).to_string(), &over(next))?;
        }
        lab.say("every address in every kernel");
        ping(inside, outside)?;
        ping(outside, inside)?;

        // What lies outside.
        let prefix = |number: usize| external(number).prefix;
        if stub {
            wait_route(inside, "default", &over(border))?;
        } else {
            wait_route(inside, &prefix(1), &over(border))?;
            wait_route(inside, &prefix(2), &over(border))?;
            wait_route(border, &prefix(0), &over(inside))?;
            wait_route(outside, &prefix(0), &over(border))?;
        }
        wait_route(border, &prefix(2), &over(outside))?;
        wait_route(outside, &prefix(1), &over(border))?;
        lab.say("what lies outside is in every kernel that may know of it");

        let ordinary = [ROUTER, INTRA_AREA_PREFIX, INTER_AREA_PREFIX];
        let mut with_router = ordinary.to_vec();
        with_router.push(INTER_AREA_ROUTER);
        let in_area = if stub { &ordinary[..] } else { &with_router };
        let lsas = wait_same(&[inside, border], Some(AREA_1), in_area)?;
        let backbone = wait_same(&[border, outside], Some(BACKBONE), in_area)?;
        let externals = if stub {
            let lsas = inside.database()?;
            ensure!(
                lsas.iter().all(|lsa| lsa.ls_type != AS_EXTERNAL),
                "AS-external LSAs in a stub area: {lsas:x?}"
            );
            wait_unrouted(&inside.host, &prefix(2))?;
            wait_same(&[border, outside], None, &[AS_EXTERNAL])?
        } else {
            wait_same(&[inside, border, outside], None, &[AS_EXTERNAL])?
        };
        lab.say(format_args!(
            "{lsas} LSAs of area 1, {backbone} of the backbone, {externals} of the AS, the same at all"
        ));
        ensure!(externals == if stub { 2 } else { 3 });
        kinds(inside, border, outside, stub)?;
        withdraw(lab, inside, border, outside, stub)?;

        let seen = check(capture.finish()?, Framing::default(), "")?;
        lab.say(format_args!("tshark: {} frames, all good", seen.frames));
        ensure!(seen.ospf > 20, "{:?}", seen.stacks);
        Ok(())
    })
}

#[track_caller]
fn wait_route(member: &Member, destination: &str, device: &str) -> Result<()> {
    let what = format!("{} has a route to {destination}", member.host.name);
    wait_for(&what, PATIENCE, || {
        has_route(&member.host, destination, device).map(Some)
    })
}

#[track_caller]
fn ping(from: &Member, to: &Member) -> Result<()> {
    let (source, target) = (Router::address(&from.host), Router::address(&to.host));
    let (source, target) = (source.to_string(), target.to_string());
    // The first may fall into the second in which BIRD has not yet computed the way back.
    wait_for(&format!("{target} answers {source}"), PATIENCE, || {
        // Without data, of which the dissector has nothing to say.
        let words = [
            "ping", "-c", "1", "-s", "0", "-W", "1", "-I", &source, &target,
        ];
        from.host.ns.run(words).map(Some)
    })?;
    Ok(())
}

/// What our own routes say of their kinds and costs: every link costs 10.
fn kinds(inside: &Member, border: &Member, outside: &Member, stub: bool) -> Result<()> {
    let members = [inside, border, outside];
    for (at, member) in members.iter().enumerate() {
        if member.speaker() != Speaker::L2ha {
            continue;
        }
        let answer = member.daemon.ospf("routes")?;
        let routes = answer.as_array().context("no list of routes")?;
        let find = |prefix: &str| {
            let route = routes.iter().find(|route| route["prefix"] == prefix);
            route.with_context(|| format!("no route to {prefix} in {answer}"))
        };
        for (to, other) in members.iter().enumerate().filter(|(to, _)| *to != at) {
            let route = find(&format!("{}/128", Router::address(&other.host)))?;
            let through = (at == 0 && to == 2) || (at == 2 && to == 0) || (at == 0 && to == 1);
            let kind = if through { "inter_area" } else { "intra_area" };
            ensure!(route["kind"] == kind, "{route} is not {kind}");
            if stub && (at == 0 || to == 0) {
                continue;
            }
            let route = find(&external(to).prefix)?;
            let distance = 10 * u64::try_from(at.abs_diff(to))?;
            let metric = u64::from(external(to).metric);
            let cost = distance + if external(to).type1 { metric } else { 0 };
            ensure!(route["kind"] == "external", "{route}");
            ensure!(route["metric"] == cost, "{route} does not cost {cost}");
        }
    }
    Ok(())
}

/// A static route of ours is withdrawn and advertised again: all learn of it.
fn withdraw(
    lab: &Lab,
    inside: &Member,
    border: &Member,
    outside: &Member,
    stub: bool,
) -> Result<()> {
    let members = [inside, border, outside];
    for (at, member) in members.iter().enumerate() {
        if member.speaker() != Speaker::L2ha || (stub && at == 0) {
            continue;
        }
        let prefix = external(at).prefix;
        let knows = |to: usize| to != at && !(stub && to == 0);
        let ns = &member.host.ns;
        ns.run(["ip", "-6", "route", "del", &prefix, "dev", "lo"])?;
        for (_, other) in members.iter().enumerate().filter(|(to, _)| knows(*to)) {
            wait_unrouted(&other.host, &prefix)?;
        }
        ns.run(["ip", "-6", "route", "add", &prefix, "dev", "lo"])?;
        for (to, other) in members.iter().enumerate().filter(|(to, _)| knows(*to)) {
            let next = if at.abs_diff(to) == 1 { member } else { border };
            wait_route(other, &prefix, &format!("l2-{}", next.host.name))?;
        }
        lab.say(format_args!("{prefix} withdrawn and advertised again"));
    }
    Ok(())
}

/// `inside` in area 1 and `outside` in the backbone, joined by two border routers, of which the
/// nearer one fails without a sign.
fn two_borders(name: &str, inside: Speaker, borders: [Speaker; 2], outside: Speaker) -> Result<()> {
    Lab::run(name, |lab| {
        let names = ["inside", "near", "far", "outside"];
        let (cloud, hosts) = lab.cloud(CloudOptions::default(), &names)?;
        let mut routers = hosts
            .iter()
            .zip([inside, borders[0], borders[1], outside])
            .map(|(host, speaker)| Router::new(lab, host, speaker))
            .collect::<Result<Vec<_>>>()?;
        let [inside, near, far, outside] = &mut routers[..] else {
            unreachable!("four names make four hosts")
        };
        for (border, cost) in [(&mut *near, 10), (far, 20)] {
            let link = Link {
                costs: (cost, cost),
                ..Link::default()
            };
            inside.areas.push((border.config.host.name.clone(), AREA_1));
            border.areas.push(("inside".into(), AREA_1));
            join(&mut inside.config, &mut border.config, link)?;
            join(&mut border.config, &mut outside.config, link)?;
        }
        inside.home = AREA_1;
        outside.external = Some(external(2));
        let members = routers
            .into_iter()
            .map(|router| router.start(lab))
            .collect::<Result<Vec<_>>>()?;
        let [inside, near, far, outside] = &members[..] else {
            unreachable!("four routers make four members")
        };
        // Evidence, when a database is not as it should be.
        let _capture = Capture::cloud(lab, &cloud, "udp", "wire")?;
        let everywhere = |over: &Member| -> Result<()> {
            let device = format!("l2-{}", over.host.name);
            let theirs = Router::address(&outside.host).to_string();
            wait_route(inside, &theirs, &device)?;
            wait_route(inside, &external(2).prefix, &device)?;
            let ours = Router::address(&inside.host).to_string();
            wait_route(outside, &ours, &device)
        };
        for (member, peers) in [(inside, [near, far]), (outside, [near, far])] {
            wait_full(member, &peers)?;
        }
        everywhere(near)?;
        let types = [ROUTER, INTRA_AREA_PREFIX, INTER_AREA_PREFIX];
        wait_same(&[inside, near, far], Some(AREA_1), &types)?;
        wait_same(&[near, far, outside], Some(BACKBONE), &types)?;
        lab.say("both borders in one database of each area, the near one in use");
        cloud.cut(&near.host)?;
        everywhere(far)?;
        ping(inside, outside)?;
        lab.say("the near border is cut off: the far one carries everything");
        cloud.heal(&near.host)?;
        everywhere(near)?;
        wait_same(&[inside, near, far], Some(AREA_1), &types)?;
        wait_same(&[near, far, outside], Some(BACKBONE), &types)?;
        lab.say("it is back, and so are the routes and the databases");
        Ok(())
    })
}

const US: Speaker = Speaker::L2ha;
const FRR: Speaker = Speaker::Frr;
const BIRD: Speaker = Speaker::Bird;

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn we_are_the_border_between_frr_and_bird() -> Result<()> {
    line("areas-us", [FRR, US, BIRD], false)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn we_are_the_border_between_bird_and_frr() -> Result<()> {
    line("areas-us-2", [BIRD, US, FRR], false)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn we_are_inside_and_frr_is_the_border() -> Result<()> {
    line("areas-frr", [US, FRR, BIRD], false)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn we_are_inside_and_bird_is_the_border() -> Result<()> {
    line("areas-bird", [US, BIRD, FRR], false)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_stub_area_of_frr_behind_us() -> Result<()> {
    line("stub-frr", [FRR, US, BIRD], true)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_stub_area_of_bird_behind_us() -> Result<()> {
    line("stub-bird", [BIRD, US, FRR], true)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn we_are_in_a_stub_area_behind_frr() -> Result<()> {
    line("stub-us", [US, FRR, BIRD], true)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn we_and_frr_are_two_borders() -> Result<()> {
    two_borders("borders-us-frr", BIRD, [US, FRR], US)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn bird_and_we_are_two_borders() -> Result<()> {
    // Not FRR outside: 8.4 keeps an LSA to itself that BIRD has flushed and originated anew with the first sequence
    // number, when it still had the flush at its first copy.
    two_borders("borders-bird-us", US, [BIRD, US], US)
}
