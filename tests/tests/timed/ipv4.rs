//! IPv4 beside IPv6 over the same pseudowires (RFC 5838): what restarts and the loss of a server cost in each family.

use std::{
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{
    ANYCAST4, Both, Capture, Framing, Gap, Ipv4Links, Lab, SERVER_1, SERVER_2, Speaker, Step, Trio,
    TrioOptions, addresses_ipv4, check, is_deep, judged, must_have_no_routes_ipv4, ping_ipv4,
    wait_one_database_ipv4, wait_routes,
};
use nix::sys::signal::Signal;
use serde_json::Value;

/// BFD at 20 ms x 3 and what a busy machine adds, as for IPv6.
const CUT_LIMIT: Duration = Duration::from_millis(500);
/// BIRD computes routes once a second.
const BIRD_LIMIT: Duration = Duration::from_millis(2500);
/// BFD of 20 ms x 3: a machine that pauses for so long looks like a failure.
const DETECTION: Duration = Duration::from_millis(60);
/// The client forwards nothing: its neighbours are not to send each other's packets through it.
const ROUTERS: &[(&str, &str)] = &[
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv6/conf/all/forwarding", "1"),
    ("net/ipv4/conf/all/rp_filter", "1"),
];
/// What Debian's systemd sets.
const HOSTS: &[(&str, &str)] = &[
    ("net/ipv4/ip_forward", "0"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "2"),
];

/// Does something and waits until `server` serves both families; what it cost.
fn change(
    served: &Served<'_>,
    step: &mut Step,
    what: &str,
    limit: Duration,
    server: &str,
    act: impl FnOnce() -> Result<()>,
) -> Result<[Gap; 2]> {
    let Served { lab, trio, both } = served;
    let from = Instant::now();
    act()?;
    both.wait_served_by(server, from, 200)?;
    if server == SERVER_1 {
        // Until the others, too, send through it again. That must not be before it uses its new adjacencies itself,
        // or answers go back and forth.
        trio.wait_settled()?;
    }
    let to = Instant::now();
    step.window(from, to, limit);
    Ok(both.gaps(lab, what, from, to))
}

/// A running trio, and questions to its anycast addresses.
struct Served<'a> {
    lab: &'a Lab,
    trio: Trio,
    both: Both,
}

fn nothing_lost(what: &str, gaps: &[Gap; 2]) -> Result<()> {
    ensure!(gaps.iter().all(|gap| gap.lost == 0), "{what}: {gaps:?}");
    Ok(())
}

/// The whole story among our own daemons.
fn ours(
    name: &str,
    ipv4: Ipv4Links,
    sysctls: &'static [(&'static str, &'static str)],
) -> Result<()> {
    Lab::run(name, |lab| {
        let options = TrioOptions {
            bfd: Some((20.0, 3)),
            ipv4: Some(ipv4),
            sysctls,
            ..TrioOptions::default()
        };
        let trio = Trio::start(lab, options)?;
        trio.wait_up()?;
        wait_routes(&trio, SERVER_1)?;
        let both = Both::start(&trio)?;
        trio.wait_settled()?;
        let served = Served { lab, trio, both };
        judged(lab, "nothing happens", |step| {
            let gaps = change(
                &served,
                step,
                "nothing happens",
                DETECTION,
                SERVER_1,
                || Ok(()),
            )?;
            nothing_lost("nothing happens", &gaps)
        })?;
        for _ in 0..if is_deep() { 2 } else { 1 } {
            stop_and_return(&served)?;
            cut_and_heal(&served)?;
        }
        restarts(&served)
    })
    .with_context(|| name.to_owned())
}

fn stop_and_return(served: &Served<'_>) -> Result<()> {
    let trio = &served.trio;
    let first = &trio.first;
    judged(served.lab, "clean stop and return", |step| {
        let stop = change(served, step, "clean stop", DETECTION, SERVER_2, || {
            first.daemon.stop()
        })?;
        let left = addresses_ipv4(&first.host)?;
        must_have_no_routes_ipv4(&first.host)?;
        wait_routes(trio, SERVER_2)?;
        let back = change(served, step, "return", DETECTION, SERVER_1, || {
            first.daemon.run()
        })?;
        ensure!(!left.contains("192.0.2.80"), "{left}");
        nothing_lost("clean stop", &stop)?;
        nothing_lost("return", &back)
    })
}

fn cut_and_heal(served: &Served<'_>) -> Result<()> {
    let trio = &served.trio;
    let host = &trio.first.host;
    judged(served.lab, "silent cut and heal", |step| {
        let cut = change(served, step, "silent cut", CUT_LIMIT, SERVER_2, || {
            trio.cloud.cut(host)
        })?;
        let heal = change(served, step, "heal", DETECTION, SERVER_1, || {
            trio.cloud.heal(host)
        })?;
        for gap in cut {
            ensure!(gap.longest < CUT_LIMIT, "{gap:?}");
            ensure!(gap.lost > 0, "a cut without a loss: nothing was cut");
        }
        nothing_lost("heal", &heal)
    })
}

/// A crash and a planned restart of the preferred server (RFC 5187): it is not noticed, in no family.
fn restarts(served: &Served<'_>) -> Result<()> {
    let trio = &served.trio;
    let lost = || -> Result<[u64; 2]> {
        let status = trio.client.daemon.status()?;
        let ospf = &status["ospf"];
        let lost = |of: &Value| {
            let lost = of["counters"]["adjacencies_lost"].as_u64();
            lost.with_context(|| format!("no counters: {status}"))
        };
        Ok([lost(ospf)?, lost(&ospf["ipv4"])?])
    };
    for signal in [Signal::SIGKILL, Signal::SIGUSR1] {
        let what = format!("restart by {signal}");
        judged(served.lab, &what, |step| {
            let before = lost()?;
            let gaps = change(served, step, &what, DETECTION, SERVER_1, || {
                match signal {
                    Signal::SIGKILL => trio.first.daemon.kill()?,
                    _ => trio.first.daemon.leave()?,
                }
                thread::sleep(Duration::from_millis(500));
                trio.first.daemon.run()
            })?;
            nothing_lost(&what, &gaps)?;
            let after = lost()?;
            ensure!(after == before, "adjacencies lost: {before:?}, {after:?}");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn an_ipv4_address_outlives_its_server_without_ipv4_on_the_tunnels() -> Result<()> {
    ours("ipv4", Ipv4Links::Bare, HOSTS)
}

/// Servers that forward, and a kernel that is strict about where packets come from: answers of one
/// server that come through the other are neither martians nor on a wrong way.
#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn an_ipv4_address_outlives_its_server_with_strict_filters() -> Result<()> {
    ours("ipv4-strict", Ipv4Links::Numbered, ROUTERS)
}

/// BIRD's instance for IPv4 at one end: one database, the same routes, answers, and a cut.
fn with_bird(name: &str, servers: Speaker, client: Speaker) -> Result<()> {
    Lab::run(name, |lab| {
        let options = TrioOptions {
            servers,
            client,
            bfd: Some((50.0, 3)),
            ipv4: Some(Ipv4Links::Numbered),
            sysctls: HOSTS,
            ..TrioOptions::default()
        };
        let trio = Trio::start(lab, options)?;
        let capture = Capture::cloud(lab, &trio.cloud, "udp", "wire")?;
        trio.wait_up()?;
        let lsas = wait_one_database_ipv4(&trio.members())?;
        lab.say(format_args!("{lsas} LSAs for IPv4, the same everywhere"));
        let route = wait_routes(&trio, SERVER_1)?;
        lab.say(format_args!("the client's route: {route}"));
        let gateway: IpAddr = route["gateway"].as_str().context("no gateway")?.parse()?;
        ensure!(gateway.is_ipv4(), "{route}");
        // What made them neighbours may have passed before tcpdump listened.
        trio.wait_settled()?;
        // Before the ping, whose contents cannot be dissected.
        let seen = check(capture.finish()?, Framing::default(), "")?;
        ensure!(seen.ospf > 20, "{:?}", seen.stacks);
        lab.say(format_args!("tshark: {} frames, all good", seen.frames));
        ping_ipv4(&trio.client.host, ANYCAST4)?;
        let both = Both::start(&trio)?;
        let served = Served { lab, trio, both };
        let trio = &served.trio;
        judged(lab, "silent cut", |step| {
            let cut = change(&served, step, "silent cut", BIRD_LIMIT, SERVER_2, || {
                trio.cloud.cut(&trio.first.host)
            })?;
            wait_routes(trio, SERVER_2)?;
            let healed = Instant::now();
            trio.cloud.heal(&trio.first.host)?;
            served.both.wait_served_by(SERVER_1, healed, 200)?;
            trio.wait_settled()?;
            for gap in cut {
                ensure!(gap.longest < BIRD_LIMIT, "{gap:?}");
                ensure!(gap.lost > 0, "a cut without a loss: nothing was cut");
            }
            Ok(())
        })?;
        wait_one_database_ipv4(&trio.members())?;
        if trio.first.speaker() != Speaker::L2ha {
            let from = Instant::now();
            trio.first.stop_peer()?;
            served.both.wait_served_by(SERVER_2, from, 200)?;
            return wait_routes(trio, SERVER_2).map(drop);
        }
        let mut again = false;
        judged(lab, "clean stop", |step| {
            if again {
                trio.first.daemon.run()?;
                trio.wait_settled()?;
            }
            again = true;
            let stop = change(&served, step, "clean stop", DETECTION, SERVER_2, || {
                trio.first.daemon.stop()
            })?;
            wait_routes(trio, SERVER_2)?;
            nothing_lost("clean stop", &stop)
        })
    })
    .with_context(|| name.to_owned())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn bird_is_the_ipv4_client_of_our_servers() -> Result<()> {
    with_bird("ipv4-bird-client", Speaker::L2ha, Speaker::Bird)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn deep_bird_servers_have_our_ipv4_client() -> Result<()> {
    with_bird("ipv4-bird-servers", Speaker::Bird, Speaker::L2ha)
}
