//! What a node itself connects to sees an address that is the node's alone, in both families, and never the anycast
//! address.

use std::net::{IpAddr, UdpSocket};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{CloudOptions, Daemon, Lab, Link, NodeConfig, PATIENCE, join, wait_for};
use serde_json::Value;

const OURS: [&str; 2] = ["fd00:a::1", "192.0.2.1"];
const THEIRS: [&str; 2] = ["fd00:a::2", "192.0.2.2"];
const SERVICES: [&str; 2] = ["2001:db8::80", "192.0.2.80"];

/// The address that a connection to another comes from, and whether the route is OSPF's and says so.
fn source(daemon: &Daemon, to: &str) -> Result<(String, Value)> {
    let to: IpAddr = to.parse()?;
    let host = daemon.config().host.clone();
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let from = host.ns.enter(|| -> std::io::Result<IpAddr> {
        let socket = UdpSocket::bind(any)?;
        socket.connect((to, 9))?;
        Ok(socket.local_addr()?.ip())
    })??;
    let family = if to.is_ipv4() { "-4" } else { "-6" };
    let routes = host
        .ns
        .ip_json(&[family, "route", "show", &to.to_string()])?;
    Ok((from.to_string(), routes[0]["prefsrc"].clone()))
}

#[track_caller]
fn wait_source(daemon: &Daemon, to: &str, wanted: &str) -> Result<()> {
    wait_for(&format!("{wanted} as the source to {to}"), PATIENCE, || {
        let (from, said) = source(daemon, to)?;
        ensure!(
            from == wanted && said == wanted,
            "it is {from}, and the route says {said}"
        );
        Ok(Some(()))
    })
}

/// The addresses of the loopback with their lifetimes as sources, those of the kernel's own left out.
fn loopback(daemon: &Daemon) -> Result<Vec<(String, bool)>> {
    let host = daemon.config().host.clone();
    let links = host.ns.ip_json(&["addr", "show", "dev", "lo"])?;
    let all = links[0]["addr_info"].as_array().context("no addresses")?;
    let ours = all.iter().filter(|it| it["scope"] == "global");
    let mut ours: Vec<(String, bool)> = ours
        .map(|it| {
            let address = it["local"].as_str().unwrap_or_default().to_owned();
            (address, it["preferred_life_time"].as_u64() == Some(0))
        })
        .collect();
    ours.sort();
    Ok(ours)
}

fn own(addresses: [&str; 2]) -> Vec<IpAddr> {
    addresses.map(|it| it.parse().expect("an address")).to_vec()
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn fault_8_a_node_has_a_source_of_its_own() -> Result<()> {
    Lab::run("source", |lab| {
        let (_cloud, hosts) = lab.cloud(CloudOptions::default(), &["us", "them"])?;
        let mut ours = NodeConfig::new(lab, &hosts[0])?;
        let mut theirs = NodeConfig::new(lab, &hosts[1])?;
        join(&mut ours, &mut theirs, Link::default())?;
        for (config, addresses) in [(&mut ours, OURS), (&mut theirs, THEIRS)] {
            config.own_addresses = own(addresses);
            let ospf = config.ospf.as_mut().context("no OSPF")?;
            ospf.more.push("ipv4 = true".into());
        }
        for (name, address) in ["six", "four"].iter().zip(SERVICES) {
            theirs.more.push_str(&format!(
                "\n[[services]]\nname = {name:?}\naddress = {address:?}\n"
            ));
        }
        let ours = Daemon::start(lab, ours)?;
        let theirs = Daemon::start(lab, theirs)?;
        for (address, wanted) in SERVICES.iter().zip(OURS) {
            wait_source(&ours, address, wanted)?;
            let host = ours.config().host.clone();
            host.ns.run(["ping", "-c", "1", "-W", "2", address])?;
        }
        // What serves opens a connection itself.
        for (address, wanted) in OURS.iter().zip(THEIRS) {
            wait_source(&theirs, address, wanted)?;
        }
        let held = loopback(&theirs)?;
        let wanted = [
            ("192.0.2.2", false),
            ("192.0.2.80", false),
            ("2001:db8::80", true),
            ("fd00:a::2", false),
        ];
        let wanted = wanted.map(|(address, deprecated)| (address.to_owned(), deprecated));
        ensure!(held == wanted, "{held:?}");

        // Somebody takes them away, or makes the anycast address one like any other.
        let host = ours.config().host.clone();
        for (address, to) in OURS.iter().zip(SERVICES) {
            let network = format!("{address}/{}", if address.contains(':') { 128 } else { 32 });
            host.ns.run(["ip", "addr", "del", &network, "dev", "lo"])?;
            wait_source(&ours, to, address)?;
        }
        let host = theirs.config().host.clone();
        let words = [
            "addr",
            "change",
            "2001:db8::80/128",
            "dev",
            "lo",
            "preferred_lft",
            "forever",
        ];
        host.ns.run([["ip", "-6"].as_slice(), &words].concat())?;
        wait_for("the lifetime that was", PATIENCE, || {
            let held = loopback(&theirs)?;
            ensure!(held == wanted, "{held:?}");
            Ok(Some(()))
        })?;

        // Without any, routes say nothing; a reload is enough, and its adjacency stays.
        ours.reload(|config| config.own_addresses.clear())?;
        wait_for("routes without a source", PATIENCE, || {
            for to in SERVICES {
                let (_, said) = source(&ours, to)?;
                ensure!(said.is_null(), "{to}: {said}");
            }
            ensure!(loopback(&ours)?.is_empty(), "{:?}", loopback(&ours)?);
            Ok(Some(()))
        })?;
        let lost = ours.status()?["ospf"]["counters"]["adjacencies_lost"].clone();
        ensure!(lost == 0, "{lost} adjacencies lost");
        ours.reload(|config| config.own_addresses = own(OURS))?;
        for (address, wanted) in SERVICES.iter().zip(OURS) {
            wait_source(&ours, address, wanted)?;
        }
        ours.stop()?;
        theirs.stop()?;
        ensure!(loopback(&theirs)?.is_empty(), "{:?}", loopback(&theirs)?);
        Ok(())
    })
}
