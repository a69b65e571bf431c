//! One file and one secret on every node of a cluster, which grows and shrinks by reloads in any order, and whose secret
//! is rotated.

use std::{
    cell::Cell,
    fmt::Write as _,
    net::Ipv6Addr,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{
    Beats, CloudOptions, Daemon, Echo, Host, Lab, NodeConfig, PATIENCE, judged, secret_file,
    wait_for,
};

/// The service.
const WEB: &str = "2001:db8::80";
/// The hosts; the last two come later.
const NAMES: [&str; 6] = ["s1", "s2", "s3", "c1", "s4", "c2"];
/// Those of the beginning.
const FIRST: [&str; 4] = ["s1", "s2", "s3", "c1"];
/// How long questions go on behind the last change: longer than the dead interval.
const AFTER: Duration = Duration::from_millis(3500);
/// A machine that pauses for so long may lose packets by itself.
const LIMIT: Duration = Duration::from_millis(150);

/// The cluster's hosts, each with its configuration.
struct Cluster {
    configs: Vec<NodeConfig>,
    folder: PathBuf,
    /// Which secret is the present one, and whether the one before is accepted too.
    secret: Cell<(u8, bool)>,
}

impl Cluster {
    fn new(lab: &Lab, hosts: &[Arc<Host>]) -> Result<Self> {
        let cluster = Self {
            configs: hosts
                .iter()
                .map(|host| NodeConfig::new(lab, host))
                .collect::<Result<_>>()?,
            folder: lab.dir().to_owned(),
            secret: Cell::new((1, false)),
        };
        secret_file(&cluster.key(1), &"01".repeat(32))?;
        Ok(cluster)
    }

    /// The file of a secret.
    fn key(&self, number: u8) -> PathBuf {
        self.folder.join(format!("cluster-{number}.key"))
    }

    fn config(&self, name: &str) -> &NodeConfig {
        let found = self.configs.iter().find(|config| config.host.name == name);
        found.expect("a host of this name")
    }

    /// The file of a cluster with these nodes.
    fn file(&self, names: &[&str]) -> Result<String> {
        let (number, former) = self.secret.get();
        let mut text = format!(
            "[node]\nrun_dir = {:?}\n[cluster]\nname = \"shop\"\nsecret_file = {:?}\n",
            self.folder.join("run"),
            self.key(number)
        );
        if former {
            writeln!(text, "secret_previous_file = {:?}", self.key(number - 1))?;
        }
        for (table, begins) in [("servers", 's'), ("clients", 'c')] {
            writeln!(text, "[cluster.{table}]")?;
            for name in names.iter().filter(|name| name.starts_with(begins)) {
                let config = self.config(name);
                writeln!(text, "{} = \"{}\"", config.name, config.host.v4)?;
            }
        }
        write!(text, "[[services]]\nname = \"web\"\naddress = \"{WEB}\"\n")?;
        Ok(text)
    }

    /// Starts a node of a cluster of these.
    fn start(&self, lab: &Lab, name: &str, names: &[&str]) -> Result<Arc<Daemon>> {
        let mut config = self.config(name).clone();
        config.cluster = Some(self.file(names)?);
        Daemon::start(lab, config)
    }
}

/// Every node is Full with as many neighbours, and watches each by BFD.
fn wait_up(daemons: &[(&str, Arc<Daemon>)]) -> Result<()> {
    let servers = daemons
        .iter()
        .filter(|(name, _)| name.starts_with('s'))
        .count();
    wait_for("every neighbour Full and watched by BFD", PATIENCE, || {
        for (name, daemon) in daemons {
            let wanted = match name.starts_with('s') {
                true => daemons.len() - 1,
                false => servers,
            };
            let full = daemon.full_neighbours()?;
            let sessions = daemon.bfd_sessions()?;
            let up = sessions.iter().filter(|it| it["state"] == "up").count();
            ensure!(
                full.len() == wanted && up == wanted,
                "{name}: {} of {wanted} Full, {up} up",
                full.len()
            );
        }
        Ok(Some(()))
    })
}

/// Adjacencies and sessions of BFD that a node has lost.
fn lost(daemon: &Daemon) -> Result<(u64, u64)> {
    let (mut adjacencies, mut sessions) = (0, 0);
    for interface in daemon.ospf("interfaces")?.as_array().context("no list")? {
        adjacencies += interface["adjacencies_lost"].as_u64().context("no count")?;
    }
    for session in daemon.bfd_sessions()? {
        sessions += session["counters"]["downs"].as_u64().context("no count")?;
    }
    Ok((adjacencies, sessions))
}

/// Two rolling reloads: all take the next secret beside the present one, then all leave the former one.
fn rotate(cluster: &Cluster, daemons: &[(&str, Arc<Daemon>)]) -> Result<()> {
    let next = cluster.secret.get().0 + 1;
    secret_file(&cluster.key(next), &format!("{next:02x}").repeat(32))?;
    for (former, order) in [(true, [3, 0, 2, 1]), (false, [1, 2, 0, 3])] {
        cluster.secret.set((next, former));
        let file = cluster.file(&FIRST)?;
        for (_, daemon) in order.map(|at| &daemons[at]) {
            daemon.reload(|config| config.cluster = Some(file.clone()))?;
        }
        if former {
            // What an operator waits for before the second one.
            wait_for("nobody that uses the former secret", PATIENCE, || {
                for (name, daemon) in daemons {
                    let rotation = daemon.status()?["rotation"].clone();
                    let left =
                        ["former", "unheard"].map(|list| rotation[list].as_array().map(Vec::len));
                    ensure!(left == [Some(0), Some(0)], "{name}: {rotation}");
                }
                Ok(Some(()))
            })?;
        }
    }
    Ok(())
}

/// A server and a client more, the new ones among the others' reloads, and away again; ends as it began.
fn grow_and_shrink(lab: &Lab, cluster: &Cluster, daemons: &[(&str, Arc<Daemon>)]) -> Result<()> {
    let reload = |name: &str, names: &[&str]| -> Result<()> {
        let found = daemons.iter().find(|(it, _)| *it == name);
        let file = cluster.file(names)?;
        found
            .context("no such daemon")?
            .1
            .reload(|config| config.cluster = Some(file))
    };
    let mut added = Vec::new();
    reload("s2", &NAMES)?;
    added.push(("s4", cluster.start(lab, "s4", &NAMES)?));
    reload("c1", &NAMES)?;
    added.push(("c2", cluster.start(lab, "c2", &NAMES)?));
    for name in ["s3", "s1"] {
        reload(name, &NAMES)?;
    }
    let all: Vec<(&str, Arc<Daemon>)> = daemons.iter().chain(&added).cloned().collect();
    wait_up(&all)?;
    for name in ["c1", "s1"] {
        reload(name, &FIRST)?;
    }
    for (_, daemon) in &added {
        daemon.stop()?;
    }
    for name in ["s3", "s2"] {
        reload(name, &FIRST)?;
    }
    wait_up(daemons)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn it_is_changed_and_nothing_is_lost() -> Result<()> {
    Lab::run("cluster", |lab| {
        let (_cloud, hosts) = lab.cloud(CloudOptions::default(), &NAMES)?;
        let cluster = Cluster::new(lab, &hosts)?;
        let mut daemons = Vec::new();
        for name in FIRST {
            daemons.push((name, cluster.start(lab, name, &FIRST)?));
        }
        wait_up(&daemons)?;
        let web: Ipv6Addr = WEB.parse()?;
        let servers = NAMES.iter().filter(|name| name.starts_with('s'));
        let _echoes: Vec<Echo> = servers
            .map(|name| Echo::start(&cluster.config(name).host.ns, web, name))
            .collect::<Result<_>>()?;
        let start = Instant::now();
        let beats = Beats::start(&cluster.config("c1").host.ns, web)?;
        // The first server of the file is preferred.
        beats.wait_served_by("s1", start, 100, PATIENCE)?;
        let lossless = |what: &str, change: &dyn Fn() -> Result<()>| {
            judged(lab, what, |step| {
                let (before, began) = (lost(&daemons[3].1)?, Instant::now());
                change()?;
                thread::sleep(AFTER);
                let ended = Instant::now() - LIMIT;
                step.window(began, ended, LIMIT);
                let (gap, after) = (beats.gap(began, ended), lost(&daemons[3].1)?);
                lab.say(format_args!(
                    "{what}: {gap:?}; adjacencies and sessions lost: {before:?}, then {after:?}"
                ));
                ensure!(
                    gap.lost == 0 && after == before,
                    "{gap:?}; {before:?}, {after:?}"
                );
                Ok(())
            })
        };
        lossless("a cluster that grows and shrinks", &|| {
            grow_and_shrink(lab, &cluster, &daemons)
        })?;
        lossless("a secret that is rotated", &|| rotate(&cluster, &daemons))
    })
}
