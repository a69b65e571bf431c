//! `cargo xtask run --etcd`: a node joins a running cluster, serves when the others cannot, and leaves; and etcd is wiped
//! meanwhile.

use std::{
    net::Ipv6Addr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use super::{CUT_LIMIT, PAUSE, SMOOTH_LIMIT, Timeline, indented};
use crate::{
    acts::Outage,
    beats::{Beats, Echo},
    cloud::CloudOptions,
    etcd::Etcd,
    joining::{JoinedCluster, SERVICE, wait_tunnels},
    lab::{Lab, PATIENCE, wait_for},
    trio::SERVER_1,
};

/// Who joins.
const WEB: &str = "web-1";
/// Answers in a row by which a server is taken to serve for good.
const IN_A_ROW: usize = 100;

pub(super) fn play(lab: &Lab, timeline: &mut Timeline) -> Result<()> {
    println!(
        "\nA server, a client and etcd in a cloud that carries unicast only. A host that no file names joins them.\n"
    );
    let (cloud, hosts) = lab.cloud(CloudOptions::default(), &[SERVER_1, "client", WEB, "etcd"])?;
    let [server, client, web, home] = [0, 1, 2, 3].map(|at| &hosts[at]);
    let etcd = Etcd::start(lab, home)?;
    timeline.note("etcd", "etcd runs");
    let cluster = JoinedCluster::new(lab, &etcd, &[server], &[client], "")?;
    println!(
        "This file is the same on all three, and a secret:\n\n{}",
        indented(&cluster.file())
    );
    let service: Ipv6Addr = SERVICE.parse()?;
    let mut echoes = Vec::new();
    for host in [server, web] {
        echoes.push(Echo::start(&host.ns, service, &host.name)?);
    }
    let (server_daemon, client_daemon) = (cluster.daemon(server)?, cluster.daemon(client)?);
    server_daemon.run()?;
    client_daemon.run()?;
    let beats = Beats::start(&client.ns, service)?;
    beats.wait_served_by(SERVER_1, Instant::now(), IN_A_ROW, PATIENCE)?;
    timeline.note(
        "serving",
        &format!("{SERVER_1} answers the client, which asks every millisecond"),
    );

    let price =
        |timeline: &mut Timeline, event: &str, by: &str, limit, from: Instant| -> Result<()> {
            beats.wait_served_by(by, from, IN_A_ROW, PATIENCE)?;
            let switched = Instant::now();
            thread::sleep(PAUSE);
            let to = Instant::now() - Duration::from_millis(100);
            let gap = beats.gap(from, to).longest;
            timeline.outage(
                event,
                by,
                limit,
                &Outage {
                    from,
                    to,
                    switched,
                    gap,
                },
            );
            Ok(())
        };

    let from = Instant::now();
    let web_daemon = cluster.daemon(web)?;
    timeline.line(
        from,
        &format!("{WEB} is a new machine: l2ha join, l2ha run"),
        "",
    );
    cluster.join(web)?;
    web_daemon.run()?;
    wait_tunnels(&server_daemon, &["client", WEB])?;
    wait_for("Full with both", PATIENCE, || {
        ensure!(web_daemon.full_neighbours()?.len() == 2, "not yet");
        Ok(Some(()))
    })?;
    timeline.note(
        "joined",
        &format!("{WEB} is Full with both; nothing was typed anywhere else"),
    );
    price(timeline, "join", SERVER_1, SMOOTH_LIMIT, from)?;

    let from = Instant::now();
    timeline.line(from, &format!("{SERVER_1} is cut off silently"), "");
    cloud.cut(server)?;
    price(timeline, "silent_cut", WEB, CUT_LIMIT, from)?;
    let from = Instant::now();
    timeline.line(from, "the cut heals", "");
    cloud.heal(server)?;
    price(timeline, "heal", SERVER_1, SMOOTH_LIMIT, from)?;

    let from = Instant::now();
    timeline.line(
        from,
        "etcd is killed, its data wiped, and started again",
        "",
    );
    etcd.wipe()?;
    etcd.run()?;
    wait_for("registered again", PATIENCE, || {
        let keys = etcd.ctl(&["get", "--prefix", "/l2ha/", "--keys-only"])?;
        ensure!(keys.contains(&format!("/alive/{WEB}")), "{keys}");
        Ok(Some(()))
    })?;
    wait_tunnels(&server_daemon, &["client", WEB])?;
    timeline.note(
        "registered",
        &format!("{WEB} has registered again by itself; no tunnel was removed"),
    );
    price(timeline, "etcd_wiped", SERVER_1, SMOOTH_LIMIT, from)?;

    let from = Instant::now();
    timeline.line(from, &format!("l2ha leave on {WEB}"), "");
    cluster.l2ha(web, &["leave"])?;
    wait_tunnels(&server_daemon, &["client"])?;
    wait_tunnels(&client_daemon, &[SERVER_1])?;
    timeline.note("left", "the tunnels to it are gone");
    price(timeline, "leave", SERVER_1, SMOOTH_LIMIT, from)
}
