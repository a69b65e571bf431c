//! A client that is broken into: whoever has its file and its key runs a speaker of his own there, and says that the service
//! is his.

use std::{fs, process::Command, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{
    Beats, CloudOptions, ClusterNode, Daemon, Echo, Host, Lab, NodeConfig, PATIENCE, cluster_file,
    wait_for,
};

/// The service.
const WEB: &str = "2001:db8::80";
/// What the broken client says of others.
const STOLEN: [&str; 2] = ["2001:db8:5::/64", "2001:db8:6::1/128"];

/// The file of the client's node, as it would be without a cluster, and in it what it has no business with.
fn of_its_own(lab: &Lab, host: &Arc<Host>, daemon: &Daemon) -> Result<NodeConfig> {
    let out = lab.dir().join("expanded").display().to_string();
    let file = daemon.file().display().to_string();
    let words = [
        "check", "--config", &file, "--expand", "--node", &host.name, "--output", &out,
    ];
    let mut command = Command::new(daemon.binary());
    ensure!(command.args(words).status()?.success(), "{words:?}");
    let folder = format!("{out}/{}", host.name);
    let text = fs::read_to_string(format!("{folder}/l2ha.toml"))?;
    // Its keys lie beside its file.
    let text: String = text
        .lines()
        .map(|line| match line.split_once("_file = \"") {
            Some((key, name)) => format!("{key}_file = \"{folder}/{name}\n"),
            None => format!("{line}\n"),
        })
        .collect();
    let text = text.replacen(
        "[ospf]\n",
        "[ospf]\nredistribute = [\"static\"]\nredistribute_metric = 0\n",
        1,
    );
    let service = format!("\n[[services]]\nname = \"web\"\naddress = \"{WEB}\"\nmetric = 0\n");
    let mut config = NodeConfig::new(lab, host)?;
    config.join_cluster(&format!("{text}{service}"));
    Ok(config)
}

/// Where a host's routes to the service lead.
fn ways(host: &Host) -> Result<String> {
    host.ns.run(["ip", "-6", "route", "show", WEB])
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_client_that_is_broken_into_draws_nothing_to_itself() -> Result<()> {
    Lab::run("edges", |lab| {
        let names = ["server-1", "server-2", "broken", "honest"];
        let (_cloud, hosts) = lab.cloud(CloudOptions::default(), &names)?;
        let [server_1, server_2, broken, honest] = [0, 1, 2, 3].map(|at| &hosts[at]);
        let node = |host| ClusterNode::new(host);
        let service = format!("[[services]]\nname = \"web\"\naddress = \"{WEB}\"\n");
        let file = cluster_file(
            lab,
            &[node(server_1), node(server_2)],
            &[node(broken), node(honest)],
            &[],
            &service,
        )?;
        let mut daemons = Vec::new();
        for host in [server_1, server_2, honest] {
            let mut config = NodeConfig::new(lab, host)?;
            config.join_cluster(&file);
            daemons.push(Daemon::start(lab, config)?);
        }
        let web: std::net::Ipv6Addr = WEB.parse()?;
        let _echoes = [server_1, server_2, broken]
            .map(|host| Echo::start(&host.ns, web, &host.name))
            .into_iter()
            .collect::<Result<Vec<_>>>()?;
        for prefix in STOLEN {
            broken
                .ns
                .run(["ip", "-6", "route", "add", prefix, "dev", "lo"])?;
        }
        let thief = Daemon::start(lab, of_its_own(lab, broken, &daemons[0])?)?;
        wait_for("the thief is Full with both servers", PATIENCE, || {
            let full = thief.full_neighbours()?;
            ensure!(full.len() == 2, "{full:?}");
            Ok(Some(()))
        })?;
        let start = std::time::Instant::now();
        let beats = Beats::start(&honest.ns, web)?;
        beats.wait_served_by("server-1", start, 500, PATIENCE)?;
        let settled = std::time::Instant::now();
        for daemon in &daemons[..2] {
            wait_for("a server that says so", PATIENCE, || {
                let status = daemon.status()?;
                let problems = status["problems"].as_array().context("no list")?;
                let said = problems.iter().any(|it| it["id"] == "ospf-edge");
                ensure!(said, "{problems:?}");
                Ok(Some(()))
            })?;
        }
        for host in [server_1, server_2, honest] {
            let way = ways(host)?;
            ensure!(!way.contains("l2-broken"), "{}: {way}", host.name);
            for prefix in STOLEN {
                let route = host.ns.run(["ip", "-6", "route", "show", prefix])?;
                ensure!(!route.contains("proto ospf"), "{}: {route}", host.name);
            }
        }
        std::thread::sleep(std::time::Duration::from_secs(1));
        let answered = beats.answered_by(settled);
        ensure!(answered.iter().eq(["server-1"]), "{answered:?}");
        // It is reached itself: that is what it may say.
        let own = broken
            .ns
            .ip_json(&["-6", "addr", "show", "dev", "lo", "scope", "global"])?;
        let addresses = own[0]["addr_info"].as_array().context("none")?;
        let mut addresses = addresses.iter().filter_map(|it| it["local"].as_str());
        let own = addresses.find(|it| it.starts_with("fd")).context("none")?;
        let route = server_1.ns.run(["ip", "-6", "route", "show", own])?;
        ensure!(route.contains("l2-broken"), "{route}");
        Ok(())
    })
}
