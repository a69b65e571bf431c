//! Nodes that join by themselves, through a real etcd: they serve, they leave, and whatever becomes of etcd, no tunnel and
//! no answer is lost by it.

use std::{
    net::Ipv6Addr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{
    Beats, CloudOptions, Daemon, Echo, Etcd, JoinedCluster, Lab, PATIENCE, SERVICE, wait_for,
    wait_tunnels,
};

/// Whether the node has a problem of this kind.
fn has_problem(daemon: &Daemon, id: &str) -> Result<bool> {
    let status = daemon.status()?;
    let problems = status["problems"].as_array().context("no problems")?;
    Ok(problems.iter().any(|it| it["id"] == id))
}

fn wait_problem(daemon: &Daemon, id: &str, there: bool) -> Result<()> {
    wait_for(&format!("problem {id}: {there}"), PATIENCE, || {
        ensure!(
            has_problem(daemon, id)? == there,
            "{:?}",
            daemon.status()?["problems"]
        );
        Ok(Some(()))
    })
}

/// Whether a node's daemon hears of etcd.
fn wait_connected(daemon: &Daemon, wanted: bool) -> Result<()> {
    wait_for(&format!("etcd heard: {wanted}"), PATIENCE, || {
        let shown = daemon.l2ha(&["members", "--json"])?;
        let shown: serde_json::Value = serde_json::from_str(&shown)?;
        ensure!(shown["connected"].is_string() == wanted, "{shown}");
        Ok(Some(()))
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn nodes_join_serve_and_leave_and_etcd_is_never_in_the_way() -> Result<()> {
    Lab::run("membership", |lab| {
        let names = ["server-1", "client-1", "web-1", "app-1", "etcd"];
        let (cloud, hosts) = lab.cloud(CloudOptions::default(), &names)?;
        let [server, client, web, app, home] = [0, 1, 2, 3, 4].map(|at| &hosts[at]);
        let etcd = Etcd::start(lab, home)?;
        let cluster = JoinedCluster::new(lab, &etcd, &[server], &[client], "")?;
        let server_daemon = cluster.daemon(server)?;
        let client_daemon = cluster.daemon(client)?;
        server_daemon.run()?;
        client_daemon.run()?;
        let _echoes = [server, web]
            .map(|host| Echo::start(&host.ns, SERVICE.parse::<Ipv6Addr>()?, &host.name));
        let beats = Beats::start(&client.ns, SERVICE.parse::<Ipv6Addr>()?)?;
        let serves = |name: &str| beats.wait_served_by(name, Instant::now(), 20, PATIENCE);
        serves("server-1")?;

        // A daemon that has not joined says so, and what to do.
        let web_daemon = cluster.daemon(web)?;
        let error = cluster.l2ha(web, &["check"]).unwrap_err();
        let error = format!("{error:#}");
        ensure!(
            error.contains("l2ha join") || error.contains("--node"),
            "{error}"
        );
        let joined = cluster.join(web)?;
        ensure!(joined.contains("joined `shop`"), "{joined}");
        wait_tunnels(&server_daemon, &["client-1", "web-1"])?;
        wait_tunnels(&client_daemon, &["server-1", "web-1"])?;
        web_daemon.run()?;
        wait_tunnels(&web_daemon, &["client-1", "server-1"])?;
        ensure!(cluster.join(web)?.contains("before"), "joined twice");
        wait_for("Full with all", PATIENCE, || {
            ensure!(web_daemon.full_neighbours()?.len() == 2, "not yet");
            Ok(Some(()))
        })?;
        serves("server-1")?;
        let mut config = client_daemon.status()?;
        ensure!(
            config["health"] == "healthy" || has_problem(&client_daemon, "member-absent")?,
            "{config}"
        );
        wait_problem(&client_daemon, "member-absent", false)?;

        // A client joins too; it has tunnels to servers alone.
        cluster.daemon(app)?.run().unwrap_err();
        cluster.join(app)?;
        wait_tunnels(&server_daemon, &["app-1", "client-1", "web-1"])?;
        wait_tunnels(&client_daemon, &["server-1", "web-1"])?;
        wait_problem(&server_daemon, "member-absent", true)?;
        let shown = server_daemon.l2ha(&["members"])?;
        ensure!(
            shown.contains("app-1  client") && shown.contains("absent since"),
            "{shown}"
        );

        // What is not granted is refused at the command already.
        let words = [
            "join",
            "--node",
            "db-1",
            "--role",
            "server",
            "--timeout",
            "5",
        ];
        let error = cluster.l2ha(app, &words).err().map(|it| format!("{it:#}"));
        let error = error.unwrap_or_default();
        ensure!(error.contains("[membership.grants]"), "{error}");

        // The server of the file dies: who joined takes over.
        let from = Instant::now();
        cloud.cut(server)?;
        serves("web-1")?;
        lab.say(format_args!(
            "server-1 dies: {:?}",
            beats.gap(from, Instant::now())
        ));
        cloud.heal(server)?;
        serves("server-1")?;

        // etcd freezes, dies, comes back empty: nobody notices.
        let from = Instant::now();
        etcd.freeze(true)?;
        wait_connected(&server_daemon, false)?;
        etcd.wipe()?;
        web_daemon.leave()?;
        ensure!(
            cluster.join(web).is_ok(),
            "a host that has joined starts without etcd"
        );
        web_daemon.run()?;
        wait_tunnels(&web_daemon, &["app-1", "client-1", "server-1"])?;
        server_daemon.l2ha(&["reload"])?;
        etcd.run()?;
        let back = Instant::now();
        wait_connected(&server_daemon, true)?;
        wait_for("web-1 registered again", PATIENCE, || {
            let keys = etcd.ctl(&["get", "--prefix", "/l2ha/shop/", "--keys-only"])?;
            ensure!(
                keys.contains("/alive/web-1") && keys.contains("/members/web-1"),
                "{keys}"
            );
            Ok(Some(()))
        })?;
        wait_connected(&client_daemon, true)?;
        lab.say(format_args!(
            "all is well {:?} after etcd is back",
            back.elapsed()
        ));
        wait_tunnels(&server_daemon, &["app-1", "client-1", "web-1"])?;
        wait_tunnels(&client_daemon, &["server-1", "web-1"])?;
        let gap = beats.gap(from, Instant::now() - Duration::from_millis(200));
        lab.say(format_args!("etcd frozen, wiped and back: {gap:?}"));
        ensure!(gap.lost == 0, "lost by etcd's troubles: {gap:?}");

        // The end: web-1 leaves. app-1, which never ran, is forgotten in the same breath: that waits for a word.
        let from = Instant::now();
        cluster.l2ha(web, &["leave"])?;
        wait_tunnels(&server_daemon, &["app-1", "client-1"])?;
        wait_tunnels(&client_daemon, &["server-1"])?;
        wait_problem(&web_daemon, "membership-lost", true)?;
        cluster.l2ha(server, &["forget", "app-1"])?;
        wait_problem(&server_daemon, "members-wait", true)?;
        let accepted = cluster.l2ha(server, &["accept"])?;
        ensure!(accepted.contains("app-1"), "{accepted}");
        wait_tunnels(&server_daemon, &["client-1"])?;
        let gap = beats.gap(from, Instant::now() - Duration::from_millis(200));
        lab.say(format_args!("web-1 leaves: {gap:?}"));
        ensure!(gap.lost == 0, "lost by a node that leaves: {gap:?}");
        wait_problem(&client_daemon, "members-wait", false)?;
        config = client_daemon.status()?;
        ensure!(config["health"] == "healthy", "{config}");
        Ok(())
    })
}
