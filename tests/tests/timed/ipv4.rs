//! IPv4 beside IPv6 over the same pseudowires (RFC 5838): routes, views, restarts, and what the loss of
//! a server costs in each family.

use std::{
    net::{IpAddr, Ipv4Addr},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{
    ANYCAST, ANYCAST4, Beats, CLIENT4, Capture, Framing, Gap, Host, Ipv4Links, Lab, Member,
    PATIENCE, SERVER_1, SERVER_2, Speaker, Trio, TrioOptions, check, devices, wait_for,
    wait_one_database, wait_one_database_ipv4, wait_route,
};
use nix::sys::signal::Signal;
use serde_json::Value;

/// BFD at 20 ms x 3 and what a busy machine adds, as for IPv6.
const CUT_LIMIT: Duration = Duration::from_millis(500);
/// BIRD computes routes once a second.
const BIRD_LIMIT: Duration = Duration::from_millis(2500);
/// How long adjacencies may take to count everywhere.
const SETTLE: Duration = Duration::from_secs(3);
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

/// Questions to the anycast addresses of both families.
struct Both {
    six: Beats,
    four: Beats,
}

impl Both {
    fn start(trio: &Trio) -> Result<Self> {
        Ok(Self {
            six: trio.beats()?,
            four: trio.beats_ipv4()?,
        })
    }

    /// Does something, waits until `server` serves both, and says what it cost: IPv6, IPv4.
    fn change(&self, server: &str, act: impl FnOnce() -> Result<()>) -> Result<[Gap; 2]> {
        self.change_until(server, act, Duration::ZERO)
    }

    /// The same of a server that comes back: until the others, too, send through it again. That must not
    /// be before it uses its new adjacencies itself, or answers go back and forth.
    fn comes_back(&self, act: impl FnOnce() -> Result<()>) -> Result<[Gap; 2]> {
        self.change_until(SERVER_1, act, SETTLE)
    }

    fn change_until(
        &self,
        server: &str,
        act: impl FnOnce() -> Result<()>,
        rest: Duration,
    ) -> Result<[Gap; 2]> {
        let from = Instant::now();
        act()?;
        for beats in [&self.six, &self.four] {
            beats.wait_served_by(server, from, 200, PATIENCE)?;
        }
        thread::sleep(rest);
        let to = Instant::now();
        thread::sleep(Duration::from_millis(300));
        Ok([self.six.gap(from, to), self.four.gap(from, to)])
    }
}

fn say(lab: &Lab, what: &str, gaps: &[Gap; 2]) {
    for (family, gap) in ["IPv6", "IPv4"].iter().zip(gaps) {
        lab.say(format_args!(
            "{what}: {family} gap {:.1?}, {} lost",
            gap.longest, gap.lost
        ));
    }
}

fn nothing_lost(lab: &Lab, what: &str, gaps: &[Gap; 2]) -> Result<()> {
    say(lab, what, gaps);
    ensure!(gaps.iter().all(|gap| gap.lost == 0), "{what}: {gaps:?}");
    Ok(())
}

#[track_caller]
fn wait_full(trio: &Trio) -> Result<()> {
    trio.wait_full()?;
    trio.wait_full_ipv4()?;
    trio.wait_watched()
}

/// The kernel's IPv4 routes of protocol `ospf` or `bird` to a destination.
fn routes(host: &Host, destination: &str) -> Result<Vec<Value>> {
    let found = host.ns.ip_json(&["-4", "route", "show", destination])?;
    let list = found.as_array().context("no list of routes")?.iter();
    let ours = list.filter(|route| {
        let protocol = route["protocol"].as_str().unwrap_or_default();
        ["ospf", "bird"].contains(&protocol)
    });
    Ok(ours.cloned().collect())
}

/// Waits until the only route to the IPv4 anycast address leads to a server; the route.
#[track_caller]
fn wait_route_ipv4(host: &Host, server: &str) -> Result<Value> {
    let device = format!("l2-{server}");
    wait_for(&format!("an IPv4 route through {device}"), PATIENCE, || {
        let found = routes(host, &ANYCAST4.to_string())?;
        ensure!(
            found.len() == 1 && devices(&found[0]) == [device.as_str()],
            "{found:?}"
        );
        Ok(Some(found[0].clone()))
    })
}

/// Both families say the same of a trio: where the client's routes lead.
#[track_caller]
fn wait_routes(trio: &Trio, server: &str) -> Result<Value> {
    wait_route(&trio.client.host, server)?;
    wait_route_ipv4(&trio.client.host, server)
}

/// Our own view of the routes has those of the kernel.
#[track_caller]
fn wait_views(trio: &Trio) -> Result<()> {
    let daemon = &trio.client.daemon;
    wait_for("both families in the views", PATIENCE, || {
        let routes = daemon.ospf("routes")?;
        let list = routes.as_array().context("no list")?;
        for (family, prefix) in [
            ("ipv6", format!("{ANYCAST}/128")),
            ("ipv4", format!("{ANYCAST4}/32")),
        ] {
            let mine: Vec<_> = list.iter().filter(|it| it["prefix"] == prefix).collect();
            ensure!(
                mine.len() == 1 && mine[0]["family"] == family,
                "{prefix}: {mine:?}"
            );
        }
        let status = daemon.status()?;
        let ospf = &status["ospf"];
        ensure!(ospf["neighbors_full"] == 2, "{ospf}");
        ensure!(ospf["ipv4"]["neighbors_full"] == 2, "{ospf}");
        ensure!(ospf["ipv4"]["instance_id"] == 64, "{ospf}");
        for view in ["interfaces", "neighbors", "database"] {
            let view = daemon.ospf(view)?;
            let list = view.as_array().context("no list")?;
            let of = |family| list.iter().filter(|it| it["family"] == family).count();
            ensure!(of("ipv4") >= 2 && of("ipv6") >= 2, "{view}");
        }
        let text = daemon.l2ha(&["ospf", "neighbors"])?;
        ensure!(text.contains("ipv4") && text.contains("ipv6"), "{text}");
        Ok(Some(()))
    })
}

fn addresses(host: &Host) -> Result<String> {
    host.ns.run(["ip", "-4", "addr", "show", "dev", "lo"])
}

/// A clean stop leaves no IPv4 route of ours.
fn no_routes(host: &Host) -> Result<()> {
    let left = host.ns.ip_json(&["-4", "route", "show", "proto", "ospf"])?;
    ensure!(left == serde_json::json!([]), "{}: {left}", host.name);
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
        wait_full(&trio)?;
        let lsas = wait_one_database_ipv4(&trio.members())?;
        wait_one_database(&trio.members())?;
        lab.say(format_args!("{lsas} LSAs for IPv4, the same everywhere"));
        let route = wait_routes(&trio, SERVER_1)?;
        lab.say(format_args!("the client's route: {route}"));
        let (field, family) = match ipv4 {
            Ipv4Links::Bare => (&route["via"]["family"], "inet6"),
            Ipv4Links::Numbered => (&route["gateway"], "10.9."),
        };
        let found = field.as_str().unwrap_or_default();
        ensure!(found.starts_with(family), "{route}");
        wait_views(&trio)?;
        ensure!(addresses(&trio.first.host)?.contains("192.0.2.80/32"));

        let both = Both::start(&trio)?;
        thread::sleep(SETTLE);
        let gaps = both.change(SERVER_1, || {
            thread::sleep(Duration::from_secs(1));
            Ok(())
        })?;
        nothing_lost(lab, "nothing happens", &gaps)?;

        // Each way twice, a second life included.
        for _ in 0..2 {
            let gaps = both.change(SERVER_2, || trio.first.daemon.stop())?;
            nothing_lost(lab, "clean stop", &gaps)?;
            let left = addresses(&trio.first.host)?;
            ensure!(!left.contains("192.0.2.80"), "{left}");
            no_routes(&trio.first.host)?;
            wait_routes(&trio, SERVER_2)?;
            let gaps = both.comes_back(|| trio.first.daemon.run())?;
            nothing_lost(lab, "return", &gaps)?;
            wait_full(&trio)?;
            thread::sleep(SETTLE);

            let gaps = both.change(SERVER_2, || trio.cloud.cut(&trio.first.host))?;
            say(lab, "silent cut", &gaps);
            for gap in gaps {
                ensure!(gap.longest < CUT_LIMIT, "{gap:?}");
                ensure!(gap.lost > 0, "a cut without a loss: nothing was cut");
            }
            let gaps = both.comes_back(|| trio.cloud.heal(&trio.first.host))?;
            nothing_lost(lab, "heal", &gaps)?;
            wait_full(&trio)?;
            thread::sleep(SETTLE);
        }
        restarts(lab, &trio, &both)?;
        removed(lab, &trio)
    })
    .with_context(|| name.to_owned())
}

/// A crash and a planned restart of the preferred server (RFC 5187): nobody notices, in no family.
fn restarts(lab: &Lab, trio: &Trio, both: &Both) -> Result<()> {
    let lost = |family: &str| -> Result<u64> {
        let status = trio.client.daemon.status()?;
        let ospf = match family {
            "ipv4" => &status["ospf"]["ipv4"],
            _ => &status["ospf"],
        };
        let lost = ospf["counters"]["adjacencies_lost"].as_u64();
        lost.with_context(|| format!("no counters of {family}: {status}"))
    };
    let before = [lost("ipv6")?, lost("ipv4")?];
    for signal in [Signal::SIGKILL, Signal::SIGUSR1] {
        let gaps = both.change(SERVER_1, || {
            match signal {
                Signal::SIGKILL => trio.first.daemon.kill()?,
                _ => trio.first.daemon.leave()?,
            }
            thread::sleep(Duration::from_millis(500));
            trio.first.daemon.run()
        })?;
        nothing_lost(lab, &format!("restart by {signal}"), &gaps)?;
        wait_full(trio)?;
        thread::sleep(SETTLE);
        let after = [lost("ipv6")?, lost("ipv4")?];
        ensure!(after == before, "adjacencies lost: {before:?}, {after:?}");
    }
    Ok(())
}

/// Somebody removes a route, and it comes back; what an earlier life left is swept; a stop leaves
/// nothing.
fn removed(lab: &Lab, trio: &Trio) -> Result<()> {
    let client = &trio.client;
    let target = format!("{ANYCAST4}/32");
    client.host.ns.run(["ip", "-4", "route", "del", &target])?;
    wait_routes(trio, SERVER_1)?;
    client.daemon.kill()?;
    client.host.ns.run([
        "ip",
        "-4",
        "route",
        "add",
        "192.0.2.99/32",
        "dev",
        "lo",
        "proto",
        "ospf",
        "metric",
        "20",
    ])?;
    client.daemon.run()?;
    wait_full(trio)?;
    wait_for("the end of a stale route", PATIENCE, || {
        let found = routes(&client.host, "192.0.2.99")?;
        ensure!(found.is_empty(), "{found:?}");
        Ok(Some(()))
    })?;
    wait_routes(trio, SERVER_1)?;
    lab.say("what was removed came back, what was stale went");
    // With the interface, or with its last address, the kernel drops IPv4 routes and tells nobody.
    let device = format!("l2-{SERVER_1}");
    client
        .host
        .ns
        .run(["ip", "-4", "addr", "flush", "dev", &device])?;
    wait_routes(trio, SERVER_1)?;
    client.host.ns.run(["ip", "link", "set", &device, "down"])?;
    wait_routes(trio, SERVER_1)?;
    wait_full(trio)?;
    client.daemon.stop()?;
    no_routes(&client.host)?;
    let left = addresses(&client.host)?;
    ensure!(!left.contains("192.0.2"), "{left}");
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

/// Switches IPv4 services on or off at a member of the trio, while it runs.
fn switch(member: &Member, address: Option<Ipv4Addr>) -> Result<()> {
    member.daemon.reconfigure(|config| {
        config.more = address.map_or_else(String::new, |address| {
            format!("\n[[services]]\nname = \"v4\"\naddress = \"{address}\"\n")
        });
    })?;
    member.daemon.signal(Signal::SIGHUP)
}

fn switch_all(trio: &Trio, on: bool) -> Result<()> {
    for (member, address) in [
        (&trio.first, ANYCAST4),
        (&trio.second, ANYCAST4),
        (&trio.client, CLIENT4),
    ] {
        switch(member, on.then_some(address))?;
    }
    Ok(())
}

#[track_caller]
fn ping(host: &Host, address: Ipv4Addr) -> Result<()> {
    let address = address.to_string();
    let words = ["ping", "-4", "-c", "3", "-i", "0.2", "-W", "1", &address];
    let text = host.ns.run(words)?;
    ensure!(text.contains(" 3 received"), "{text}");
    Ok(())
}

/// IPv4 comes and goes by a reload, and IPv6 hears nothing of it. Packets are signed.
#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn ipv4_is_switched_on_and_off_while_ipv6_goes_on() -> Result<()> {
    Lab::run("ipv4-reload", |lab| {
        let options = TrioOptions {
            signed: true,
            bfd: Some((50.0, 3)),
            sysctls: HOSTS,
            ..TrioOptions::default()
        };
        let trio = Trio::start(lab, options)?;
        trio.wait_full()?;
        let lost = || -> Result<u64> {
            let mut sum = 0;
            for member in trio.members() {
                let status = member.daemon.status()?;
                let lost = status["ospf"]["counters"]["adjacencies_lost"].as_u64();
                sum += lost.context("no counters")?;
            }
            Ok(sum)
        };
        let before = lost()?;
        for _ in 0..2 {
            switch_all(&trio, true)?;
            wait_full(&trio)?;
            wait_one_database_ipv4(&trio.members())?;
            wait_routes(&trio, SERVER_1)?;
            ping(&trio.client.host, ANYCAST4)?;
            switch_all(&trio, false)?;
            wait_for("the end of IPv4", PATIENCE, || {
                for member in trio.members() {
                    no_routes(&member.host)?;
                    let left = addresses(&member.host)?;
                    ensure!(!left.contains("192.0.2"), "{left}");
                    let status = member.daemon.status()?;
                    ensure!(status["ospf"]["ipv4"].is_null(), "{status}");
                }
                Ok(Some(()))
            })?;
            trio.wait_full()?;
        }
        ensure!(lost()? == before, "IPv6 has lost adjacencies");
        lab.say("IPv4 came and went twice, IPv6 went on");

        // Two ways of equal cost.
        switch_all(&trio, true)?;
        trio.client.daemon.reconfigure(|config| {
            for tunnel in &mut config.tunnels {
                tunnel.cost = 10;
            }
        })?;
        trio.client.daemon.signal(Signal::SIGHUP)?;
        let both = || -> Result<Value> {
            let found = routes(&trio.client.host, &ANYCAST4.to_string())?;
            let hops = found.first().and_then(|route| route["nexthops"].as_array());
            ensure!(hops.is_some_and(|hops| hops.len() == 2), "{found:?}");
            Ok(found[0].clone())
        };
        let route = wait_for("two next hops", PATIENCE, || both().map(Some))?;
        lab.say(format_args!("the client's route: {route}"));
        wait_full(&trio)?;
        thread::sleep(SETTLE);
        // What the kernel says of it is what was wanted: the check every 10 s changes nothing.
        let mark = trio.client.daemon.log_mark();
        thread::sleep(Duration::from_secs(11));
        let log = trio.client.daemon.log_since(mark);
        ensure!(!log.contains("route installed"), "{log}");
        both()?;
        ping(&trio.client.host, ANYCAST4)?;
        trio.first.daemon.stop()?;
        wait_routes(&trio, SERVER_2)?;
        ping(&trio.client.host, ANYCAST4)
    })
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
        wait_full(&trio)?;
        let lsas = wait_one_database_ipv4(&trio.members())?;
        lab.say(format_args!("{lsas} LSAs for IPv4, the same everywhere"));
        let route = wait_routes(&trio, SERVER_1)?;
        lab.say(format_args!("the client's route: {route}"));
        let gateway: IpAddr = route["gateway"].as_str().context("no gateway")?.parse()?;
        ensure!(gateway.is_ipv4(), "{route}");
        // What made them neighbours may have passed before tcpdump listened.
        thread::sleep(SETTLE);
        // Before the ping, whose contents nobody can dissect.
        let seen = check(capture.finish()?, Framing::default(), "")?;
        ensure!(seen.ospf > 20, "{:?}", seen.stacks);
        lab.say(format_args!("tshark: {} frames, all good", seen.frames));
        ping(&trio.client.host, ANYCAST4)?;
        let both = Both::start(&trio)?;
        thread::sleep(SETTLE);
        let gaps = both.change(SERVER_2, || trio.cloud.cut(&trio.first.host))?;
        say(lab, "silent cut", &gaps);
        for gap in gaps {
            ensure!(gap.longest < BIRD_LIMIT, "{gap:?}");
            ensure!(gap.lost > 0, "a cut without a loss: nothing was cut");
        }
        wait_routes(&trio, SERVER_2)?;
        both.change(SERVER_1, || trio.cloud.heal(&trio.first.host))?;
        wait_full(&trio)?;
        thread::sleep(SETTLE);
        wait_one_database_ipv4(&trio.members())?;
        let stop = || match trio.first.speaker() {
            Speaker::L2ha => trio.first.daemon.stop(),
            Speaker::Frr | Speaker::Bird => trio.first.stop_peer(),
        };
        let gaps = both.change(SERVER_2, stop)?;
        say(lab, "clean stop", &gaps);
        if servers == Speaker::L2ha {
            ensure!(gaps.iter().all(|gap| gap.lost == 0), "{gaps:?}");
        }
        wait_routes(&trio, SERVER_2)?;
        Ok(())
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
fn bird_servers_have_our_ipv4_client() -> Result<()> {
    with_bird("ipv4-bird-servers", Speaker::Bird, Speaker::L2ha)
}
