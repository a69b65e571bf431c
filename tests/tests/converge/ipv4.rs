//! IPv4 beside IPv6 over the same pseudowires (RFC 5838): routes and views, what comes back that was removed, and IPv4
//! switched on and off.

use std::{net::Ipv4Addr, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{
    ANYCAST, ANYCAST4, CLIENT4, Ipv4Links, Lab, Member, PATIENCE, SERVER_1, SERVER_2, Trio,
    TrioOptions, addresses_ipv4, must_have_no_routes_ipv4, ping_ipv4, routes_ipv4, wait_for,
    wait_one_database, wait_one_database_ipv4, wait_quiet, wait_routes,
};
use serde_json::Value;

/// What Debian's systemd sets.
const HOSTS: &[(&str, &str)] = &[
    ("net/ipv4/ip_forward", "0"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "2"),
];

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

/// One database, routes and views in both families; and what is removed comes back.
fn state(name: &str, ipv4: Ipv4Links) -> Result<()> {
    Lab::run(name, |lab| {
        let options = TrioOptions {
            bfd: Some((100.0, 5)),
            ipv4: Some(ipv4),
            sysctls: HOSTS,
            ..TrioOptions::default()
        };
        let trio = Trio::start(lab, options)?;
        trio.wait_up()?;
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
        ensure!(addresses_ipv4(&trio.first.host)?.contains("192.0.2.80/32"));
        removed(lab, &trio)
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn ipv4_is_routed_without_ipv4_on_the_tunnels() -> Result<()> {
    state("ipv4-state", Ipv4Links::Bare)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn ipv4_is_routed_over_numbered_tunnels() -> Result<()> {
    state("ipv4-state-numbered", Ipv4Links::Numbered)
}

/// A route is removed by others, and it comes back; what an earlier life left is swept; a stop leaves
/// nothing.
fn removed(lab: &Lab, trio: &Trio) -> Result<()> {
    let client = &trio.client;
    let target = format!("{ANYCAST4}/32");
    client.host.ns.run(["ip", "-4", "route", "del", &target])?;
    wait_routes(trio, SERVER_1)?;
    client.daemon.kill()?;
    let device = format!("l2-{SERVER_1}");
    client.host.ns.run([
        "ip",
        "-4",
        "route",
        "add",
        "192.0.2.99/32",
        "dev",
        &device,
        "proto",
        "ospf",
        "metric",
        "20",
    ])?;
    client.daemon.run()?;
    trio.wait_up()?;
    wait_for("the end of a stale route", PATIENCE, || {
        let found = routes_ipv4(&client.host, "192.0.2.99")?;
        ensure!(found.is_empty(), "{found:?}");
        Ok(Some(()))
    })?;
    wait_routes(trio, SERVER_1)?;
    lab.say("what was removed came back, what was stale went");
    // With the interface, or with its last address, the kernel drops IPv4 routes without a notification.
    client
        .host
        .ns
        .run(["ip", "-4", "addr", "flush", "dev", &device])?;
    wait_routes(trio, SERVER_1)?;
    client.host.ns.run(["ip", "link", "set", &device, "down"])?;
    wait_routes(trio, SERVER_1)?;
    trio.wait_up()?;
    client.daemon.stop()?;
    must_have_no_routes_ipv4(&client.host)?;
    let left = addresses_ipv4(&client.host)?;
    ensure!(!left.contains("192.0.2"), "{left}");
    Ok(())
}

/// Switches IPv4 services on or off at a member of the trio, while it runs.
fn switch(member: &Member, address: Option<Ipv4Addr>) -> Result<()> {
    member.daemon.reload(|config| {
        config.more = address.map_or_else(String::new, |address| {
            format!("\n[[services]]\nname = \"v4\"\naddress = \"{address}\"\n")
        });
    })
}

/// As [`Trio::wait_up`], with IPv4, which was switched on later.
#[track_caller]
fn wait_up(trio: &Trio) -> Result<()> {
    trio.wait_up()?;
    trio.wait_full_ipv4()
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

/// IPv4 comes and goes by a reload, and IPv6 hears nothing of it. Packets are signed.
#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn ipv4_is_switched_on_and_off_while_ipv6_goes_on() -> Result<()> {
    Lab::run("ipv4-reload", |lab| {
        let options = TrioOptions {
            signed: Some("hmac-sha-256"),
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
            wait_up(&trio)?;
            wait_one_database_ipv4(&trio.members())?;
            wait_routes(&trio, SERVER_1)?;
            ping_ipv4(&trio.client.host, ANYCAST4)?;
            switch_all(&trio, false)?;
            wait_for("the end of IPv4", PATIENCE, || {
                for member in trio.members() {
                    must_have_no_routes_ipv4(&member.host)?;
                    let left = addresses_ipv4(&member.host)?;
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
        trio.client.daemon.reload(|config| {
            for tunnel in &mut config.tunnels {
                tunnel.cost = 10;
            }
        })?;
        let both = || -> Result<Value> {
            let found = routes_ipv4(&trio.client.host, &ANYCAST4.to_string())?;
            let hops = found.first().and_then(|route| route["nexthops"].as_array());
            ensure!(hops.is_some_and(|hops| hops.len() == 2), "{found:?}");
            Ok(found[0].clone())
        };
        let route = wait_for("two next hops", PATIENCE, || both().map(Some))?;
        lab.say(format_args!("the client's route: {route}"));
        wait_up(&trio)?;
        wait_quiet(&trio.members())?;
        // What the kernel says of it is what was wanted: the check every 10 s changes nothing.
        let mark = trio.client.daemon.log_mark();
        thread::sleep(Duration::from_secs(11));
        let log = trio.client.daemon.log_since(mark);
        ensure!(!log.contains("route installed"), "{log}");
        both()?;
        ping_ipv4(&trio.client.host, ANYCAST4)?;
        trio.first.daemon.stop()?;
        wait_routes(&trio, SERVER_2)?;
        ping_ipv4(&trio.client.host, ANYCAST4)
    })
}
