//! All keys and cookies of five nodes are rotated by two rolling reloads while packets flow between all of them: none is
//! lost, and no adjacency and no session of BFD falls. A daemon that restarts in the middle goes on where it was.

use std::{
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use l2ha_lab::{
    CloudOptions, Daemon, Host, Lab, Link, NodeConfig, PATIENCE, Stream, join, judged, secret_file,
    wait_for,
};
use serde_json::Value;

const NAMES: [&str; 5] = ["one", "two", "three", "four", "five"];
/// Packets a second of each of five streams.
const RATE: u64 = 2000;
/// Between two reloads.
const GAP: Duration = Duration::from_millis(300);
/// A machine that pauses for so long may lose packets by itself.
const LIMIT: Duration = Duration::from_millis(100);

/// What a node has: the generation of its secrets, and whether the one before is accepted as well.
#[derive(Clone, Copy)]
struct Stage {
    generation: u8,
    former: bool,
}

/// The address of a node on its tunnel to another one.
fn address(node: usize, to: usize) -> String {
    let (low, high) = (node.min(to), node.max(to));
    format!("fd00:{low}:{high}::{}", node + 1)
}

/// Writes all secrets of a generation.
fn make_secrets(folder: &Path, generation: u8) -> Result<()> {
    for (number, from) in NAMES.iter().enumerate() {
        for (other, to) in NAMES.iter().enumerate() {
            let file = |kind: &str| folder.join(format!("{from}-{to}.{kind}.{generation}"));
            let cookie = format!(
                "{number:04x}{other:04x}{:08x}",
                0x51ab_0000 + u32::from(generation)
            );
            secret_file(&file("cookie"), &cookie)?;
            let (first, second) = (from.min(to), from.max(to));
            secret_file(
                &file("ospf"),
                &format!("ospf-{first}-{second}-{generation}"),
            )?;
            secret_file(
                &file("bfd"),
                &format!("bfd-{:02}-{generation}", number + other),
            )?;
        }
    }
    Ok(())
}

/// Gives a node's tunnels the secrets of a stage.
fn set_secrets(config: &mut NodeConfig, folder: &Path, stage: Stage) {
    let own = config.host.name.clone();
    let Stage { generation, former } = stage;
    for tunnel in &mut config.tunnels {
        let peer = tunnel.name.clone();
        let file = |from: &str, to: &str, kind: &str, generation: u8| {
            folder.join(format!("{from}-{to}.{kind}.{generation}"))
        };
        tunnel.send_cookie = Some(file(&own, &peer, "cookie", generation));
        tunnel.receive_cookie = Some(file(&peer, &own, "cookie", generation));
        let mut lines = Vec::new();
        let mut keys = |previous: &str, generation: u8| {
            for kind in ["ospf", "bfd"] {
                let file = file(&own, &peer, kind, generation);
                lines.push(format!("{kind}_key{previous}_file = {file:?}"));
                lines.push(format!("{kind}_key{previous}_id = {generation}"));
            }
        };
        keys("", generation);
        let before = generation - 1;
        if former {
            keys("_previous", before);
            let file = file(&own, &peer, "cookie", before);
            lines.push(format!("send_cookie_previous_file = {file:?}"));
        }
        tunnel.previous_cookie = former.then(|| file(&peer, &own, "cookie", before));
        tunnel.more = lines;
    }
}

/// Five nodes, each joined with each.
struct Mesh {
    hosts: Vec<Arc<Host>>,
    daemons: Vec<Arc<Daemon>>,
}

impl Mesh {
    fn start(lab: &Lab, stage: Stage) -> Result<Self> {
        let (_cloud, hosts) = lab.cloud(CloudOptions::default(), &NAMES)?;
        let mut configs = hosts
            .iter()
            .map(|host| NodeConfig::new(lab, host))
            .collect::<Result<Vec<_>>>()?;
        for low in 0..NAMES.len() {
            for high in low + 1..NAMES.len() {
                let (left, right) = configs.split_at_mut(high);
                let (Some(a), Some(b)) = (left.get_mut(low), right.first_mut()) else {
                    bail!("five names make five hosts")
                };
                join(a, b, Link::default())?;
                for (config, node, to) in [(a, low, high), (b, high, low)] {
                    let tunnel = config.tunnels.last_mut().context("no tunnel")?;
                    tunnel.addresses = vec![format!("{}/64", address(node, to))];
                }
            }
        }
        make_secrets(lab.dir(), stage.generation)?;
        let mut daemons = Vec::new();
        for mut config in configs {
            set_secrets(&mut config, lab.dir(), stage);
            let ospf = config.ospf.as_mut().context("no [ospf]")?;
            ospf.bfd = Some("50x3".to_owned());
            daemons.push(Daemon::start(lab, config)?);
        }
        let mesh = Self { hosts, daemons };
        mesh.wait_up()?;
        Ok(mesh)
    }

    /// Waits until each is Full with each, and BFD watches all.
    fn wait_up(&self) -> Result<()> {
        for daemon in &self.daemons {
            wait_for("four neighbours watched by BFD", PATIENCE, || {
                let full = daemon.full_neighbours()?;
                let sessions = daemon.bfd_sessions()?;
                let up = sessions.iter().filter(|it| it["state"] == "up").count();
                ensure!(full.len() == 4 && up == 4, "{full:?}, {sessions:?}");
                Ok(Some(()))
            })?;
        }
        Ok(())
    }

    fn reload(&self, lab: &Lab, node: usize, stage: Stage) -> Result<()> {
        let daemon = self.daemons.get(node).context("no such node")?;
        daemon.reconfigure(|config| set_secrets(config, lab.dir(), stage))?;
        let reloaded: Value = serde_json::from_str(&daemon.l2ha(&["reload", "--json"])?)?;
        let changes = reloaded["changes"].as_array().context("no changes")?;
        let interrupts = changes.iter().find(|it| it["interrupts"].is_string());
        ensure!(interrupts.is_none(), "{interrupts:?}");
        Ok(())
    }

    /// Adjacencies and sessions of BFD that have been lost, by anybody, and refused packets of data.
    fn lost(&self) -> Result<(u64, u64, u64)> {
        let (mut adjacencies, mut sessions, mut cookies) = (0, 0, 0);
        for daemon in &self.daemons {
            for interface in daemon.ospf("interfaces")?.as_array().context("no list")? {
                adjacencies += interface["adjacencies_lost"].as_u64().context("no count")?;
            }
            for session in daemon.bfd_sessions()? {
                sessions += session["counters"]["downs"].as_u64().context("no count")?;
            }
            let reasons = &daemon.status()?["dataplane"]["reasons"];
            cookies += reasons["wrong_cookie"].as_u64().unwrap_or(0);
        }
        Ok((adjacencies, sessions, cookies))
    }

    /// Waits until a node says of its rotation what is expected of the tunnels, by list.
    fn wait_rotation(&self, node: usize, present: usize, former: &[&str]) -> Result<()> {
        let daemon = self.daemons.get(node).context("no such node")?;
        wait_for("the rotation in the status", PATIENCE, || {
            let rotation = daemon.status()?["rotation"].clone();
            let done = rotation["present"].as_array().map(Vec::len);
            ensure!(
                done == Some(present) && rotation["former"] == serde_json::json!(former),
                "{rotation}"
            );
            Ok(Some(()))
        })
        .map(drop)
    }

    /// Two rolling reloads.
    fn rotate(&self, lab: &Lab, from: u8) -> Result<()> {
        let generation = from + 1;
        make_secrets(lab.dir(), generation)?;
        for (number, node) in [3, 0, 4, 1, 2].into_iter().enumerate() {
            let former = true;
            self.reload(lab, node, Stage { generation, former })?;
            if number == 3 {
                // All but `three`, which is the last.
                self.wait_rotation(0, 3, &["three"])?;
                let text = self.daemons[0].l2ha(&["status"])?;
                let line =
                    "rotation: three still uses the former secret (3 of 4 use the present one)";
                ensure!(text.contains(line), "{text}");
            }
            thread::sleep(GAP);
        }
        for node in 0..NAMES.len() {
            self.wait_rotation(node, 4, &[])?;
        }
        for node in [1, 4, 2, 0, 3] {
            let former = false;
            self.reload(lab, node, Stage { generation, former })?;
            thread::sleep(GAP);
        }
        let rotation = self.daemons[0].status()?["rotation"].clone();
        ensure!(rotation.is_null(), "{rotation}");
        Ok(())
    }
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn five_nodes_rotate_everything_and_nothing_is_lost() -> Result<()> {
    Lab::run("rotation", |lab| {
        let mut generation = 1;
        let former = false;
        let mesh = Mesh::start(lab, Stage { generation, former })?;
        judged(lab, "two rolling reloads", |step| {
            let before = mesh.lost()?;
            let began = Instant::now();
            let mut streams = Vec::new();
            for node in 0..NAMES.len() {
                let to = (node + 2) % NAMES.len();
                let (from_ns, to_ns) = (&mesh.hosts[node].ns, &mesh.hosts[to].ns);
                let target = address(to, node).parse()?;
                streams.push(Stream::start(from_ns, to_ns, target, RATE)?);
            }
            thread::sleep(GAP);
            let rotated = mesh.rotate(lab, generation);
            generation += 1;
            thread::sleep(Duration::from_secs(4));
            let (mut sent, mut lost) = (0, 0);
            for stream in streams {
                let seen = stream.finish()?;
                (sent, lost) = (sent + seen.sent, lost + seen.lost());
            }
            step.window(began, Instant::now(), LIMIT);
            rotated?;
            let after = mesh.lost()?;
            lab.say(format_args!(
                "{lost} of {sent} packets lost; adjacencies, sessions of BFD, wrong cookies: {before:?}, then {after:?}"
            ));
            ensure!(lost == 0 && sent > 5 * RATE, "{lost} of {sent} lost");
            ensure!(after == before, "{before:?}, then {after:?}");
            Ok(())
        })?;

        // In the middle of the next one a daemon is restarted: what it sends stays as it was.
        make_secrets(lab.dir(), generation + 1)?;
        generation += 1;
        let stage = |former| Stage { generation, former };
        mesh.reload(lab, 0, stage(true))?;
        mesh.reload(lab, 1, stage(true))?;
        thread::sleep(Duration::from_secs(2));
        mesh.reload(lab, 1, stage(true))?;
        // What the neighbour helps with is not lost.
        let lost = || -> Result<Value> {
            let status = mesh.daemons[1].status()?;
            Ok(status["ospf"]["counters"]["adjacencies_lost"].clone())
        };
        let before = lost()?;
        mesh.daemons[0].leave()?;
        mesh.daemons[0].run()?;
        mesh.wait_up()?;
        thread::sleep(Duration::from_secs(4));
        let after = lost()?;
        ensure!(
            before.is_u64() && before == after,
            "{before}, then {after} adjacencies lost"
        );
        mesh.wait_rotation(0, 1, &["three", "four", "five"])
    })
}
