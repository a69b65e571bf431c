//! The daemon dies, stops, and comes back with another configuration: nothing of it goes stale.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{
    ANYCAST, CloudOptions, Daemon, Host, Lab, Link, Member, NodeConfig, PATIENCE, SERVER_1,
    SERVER_2, Snapshot, Trio, TrioOptions, attached, join, wait_for, wait_one_database, wait_route,
};

fn pins(daemon: &Daemon) -> PathBuf {
    daemon.config().pins()
}

fn snapshot(member: &Member) -> Result<Snapshot> {
    Snapshot::take(&member.host.ns, &pins(&member.daemon))
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn after_kill_9_the_next_start_takes_everything_over() -> Result<()> {
    Lab::run("restart-kill", |lab| {
        let trio = Trio::start(lab, TrioOptions::default())?;
        trio.wait_full()?;
        wait_route(&trio.client.host, SERVER_1)?;
        for member in [&trio.client, &trio.first] {
            let name = &member.host.name;
            let before = snapshot(member)?;
            let ids = |host: &Host| -> Result<Vec<u64>> {
                Ok(attached(&host.ns)?
                    .iter()
                    .map(|program| program.id)
                    .collect())
            };
            let old = ids(&member.host)?;
            member.daemon.kill()?;

            // Everything it made is still there: the frames go on without it.
            std::thread::sleep(Duration::from_millis(500));
            let changes = before.changes(&snapshot(member)?);
            ensure!(changes.is_empty(), "{name}: kill -9 took away {changes:#?}");

            member.daemon.run()?;
            trio.wait_full()?;
            wait_one_database(&trio.members())?;
            wait_route(&trio.client.host, SERVER_1)?;
            // The same links, addresses, routes, pins, and each program in the place of the old.
            wait_for("the state of before", PATIENCE, || {
                let changes = before.changes(&snapshot(member)?);
                ensure!(changes.is_empty(), "{name}: {changes:#?}");
                Ok(Some(()))
            })?;
            let new = ids(&member.host)?;
            ensure!(
                old.iter().all(|id| !new.contains(id)),
                "{name}: programs of the dead daemon still run: {old:?}, {new:?}"
            );
            unloaded(&old).with_context(|| name.clone())?;
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_stop_removes_everything_it_made() -> Result<()> {
    for mode in ["xdp", "tc"] {
        Lab::run(&format!("restart-stop-{mode}"), |lab| {
            stop_cleans(lab, mode)
        })?;
    }
    Ok(())
}

fn stop_cleans(lab: &Lab, mode: &str) -> Result<()> {
    let (_cloud, hosts) = lab.cloud(CloudOptions::default(), &["server", "client"])?;
    let mut configs = [
        NodeConfig::new(lab, &hosts[0])?,
        NodeConfig::new(lab, &hosts[1])?,
    ];
    let [a, b] = &mut configs;
    join(a, b, Link::default())?;
    for config in [a, b] {
        config.mode = mode.into();
        config.services.push(("web".into(), ANYCAST));
    }
    // The client has another address, so that each learns a route from the other.
    let [_, b] = &mut configs;
    b.services[0].1 = "2001:db8::81".parse()?;
    let before = hosts
        .iter()
        .zip(&configs)
        .map(|(host, config)| Snapshot::take(&host.ns, &config.pins()))
        .collect::<Result<Vec<_>>>()?;
    let daemons: Vec<Arc<Daemon>> = configs
        .into_iter()
        .map(|config| Daemon::start(lab, config))
        .collect::<Result<_>>()?;
    wait_for("routes both ways", PATIENCE, || {
        for (host, address) in [(&hosts[0], "2001:db8::81"), (&hosts[1], "2001:db8::80")] {
            let routes = host.ns.ip_json(&["-6", "route", "show", address])?;
            ensure!(routes[0]["protocol"] == "ospf", "{}: {routes}", host.name);
        }
        Ok(Some(()))
    })?;
    for ((host, daemon), before) in hosts.iter().zip(&daemons).zip(&before) {
        let running = Snapshot::take(&host.ns, &pins(daemon))?;
        let made = before.changes(&running);
        ensure!(made.len() > 10, "only {made:#?}");
        let ids: Vec<_> = attached(&host.ns)?
            .iter()
            .map(|program| program.id)
            .collect();
        daemon.stop()?;
        let left = before.changes(&Snapshot::take(&host.ns, &pins(daemon))?);
        ensure!(left.is_empty(), "{}: a stop left {left:#?}", host.name);
        unloaded(&ids)?;
        lab.say(format_args!(
            "{mode}: {}: {} things made, all removed",
            host.name,
            made.len()
        ));
    }
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn leftovers_of_an_earlier_configuration_are_removed() -> Result<()> {
    Lab::run("restart-changed", |lab| {
        let trio = Trio::start(lab, TrioOptions::default())?;
        trio.wait_full()?;

        // The client loses its tunnel to the preferred server while its daemon is dead.
        wait_route(&trio.client.host, SERVER_1)?;
        let ids: Vec<_> = attached(&trio.client.host.ns)?
            .iter()
            .map(|program| program.id)
            .collect();
        trio.client.daemon.kill()?;
        trio.client
            .daemon
            .reconfigure(|config| config.tunnels.retain(|tunnel| tunnel.name != SERVER_1))?;
        trio.client.daemon.run()?;
        wait_route(&trio.client.host, SERVER_2)?;
        let now = snapshot(&trio.client)?;
        for gone in ["l2-server-1", "l2h-server-1"] {
            let left = now.with(gone);
            ensure!(left.is_empty(), "left of {gone}: {left:#?}");
        }
        unloaded(&ids)?;
        lab.say("the client's leftover tunnel is gone, the route leads over the other");

        // The other server loses its service likewise.
        trio.second.daemon.kill()?;
        trio.second
            .daemon
            .reconfigure(|config| config.services.clear())?;
        trio.second.daemon.run()?;
        let address = ANYCAST.to_string();
        // It is withdrawn first, and stays while neighbours still send to it.
        wait_for("the leftover address to go", PATIENCE, || {
            let now = snapshot(&trio.second)?;
            let left: Vec<_> = now
                .with(&address)
                .into_iter()
                .filter(|line| line.starts_with("address on \"lo\""))
                .collect();
            ensure!(left.is_empty(), "left on the loopback: {left:#?}");
            Ok(Some(()))
        })?;
        lab.say("the server's leftover address is gone");

        // No server that the client still has a tunnel to holds the address now, but the first one does
        // behind the second: the route goes on over it, or away where no transit is allowed.
        wait_for("no route to a server without the service", PATIENCE, || {
            let routes = trio
                .client
                .host
                .ns
                .ip_json(&["-6", "route", "show", &address])?;
            let database = trio.client.daemon.ospf("routes")?;
            let known = database.to_string().contains(&address);
            let routed = routes.as_array().is_some_and(|routes| !routes.is_empty());
            ensure!(known == routed, "OSPF says {database}, the kernel {routes}");
            Ok(Some(()))
        })
    })
}

/// Programs that were replaced or removed are not in the kernel any more.
fn unloaded(ids: &[u64]) -> Result<()> {
    wait_for("the old programs to go", PATIENCE, || {
        for id in ids {
            let output = std::process::Command::new("bpftool")
                .args(["prog", "show", "id", &id.to_string()])
                .output()?;
            ensure!(!output.status.success(), "program {id} is still loaded");
        }
        Ok(Some(()))
    })
}
