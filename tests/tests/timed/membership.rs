//! A cluster that changes all the time: whoever stays loses nothing by whoever comes and goes.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hasher as _},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{CloudOptions, Daemon, Etcd, Host, JoinedCluster, Lab, PATIENCE, Process, wait_for};
use nix::sys::signal::Signal;

/// How many changes there are.
const CHANGES: usize = 100;
/// Fewer than a third of all may go within 10 s.
const PACE: Duration = Duration::from_millis(1500);

/// Pings over a tunnel until the end.
struct Pinging {
    what: String,
    process: Process,
    output: std::path::PathBuf,
}

impl Pinging {
    fn start(lab: &Lab, from: &Host, to: &Host, address: &str) -> Result<Self> {
        let what = format!("{} to {}", from.name, to.name);
        let output = lab.dir().join(format!("ping-{}-{}", from.name, to.name));
        let file = std::fs::File::create(&output)?;
        let mut command = Command::new("ping");
        command
            .args(["-6", "-q", "-i", "0.01", address])
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        let process = from.ns.spawn(command)?;
        Ok(Self {
            what,
            process,
            output,
        })
    }

    /// How many were sent, and how many were lost.
    fn end(self) -> Result<(u64, u64)> {
        self.process.signal(Signal::SIGINT)?;
        self.process.wait(Duration::from_secs(10))?;
        let said = std::fs::read_to_string(&self.output)?;
        let line = said
            .lines()
            .find(|line| line.contains("packets transmitted"));
        let line = line.with_context(|| format!("{}: {said}", self.what))?;
        let numbers: Vec<u64> = line
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        let [sent, received, ..] = numbers[..] else {
            anyhow::bail!("{}: {line}", self.what);
        };
        Ok((sent, sent - received))
    }
}

/// A node's own address.
fn address(cluster: &JoinedCluster<'_>, host: &Host) -> Result<String> {
    let file = cluster.l2ha(host, &["check", "--expand"])?;
    let line = file
        .lines()
        .find_map(|line| line.strip_prefix("addresses = [\""));
    let address = line.and_then(|line| line.split('"').next());
    Ok(address.context("no address of its own")?.to_owned())
}

fn wait_full(daemons: &[Arc<Daemon>], neighbours: impl Fn(&str) -> usize) -> Result<()> {
    wait_for("all Full", 2 * PATIENCE, || {
        for daemon in daemons {
            let name = daemon.config().name.clone();
            let full = daemon.full_neighbours()?.len();
            ensure!(
                full == neighbours(&name),
                "{name}: {full} of {}",
                neighbours(&name)
            );
        }
        Ok(Some(()))
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn deep_a_hundred_joins_and_leaves_of_twenty_nodes() -> Result<()> {
    Lab::run("joins-and-leaves", |lab| {
        let mut names: Vec<String> = ["server-1", "server-2", "client-1", "client-2"]
            .map(str::to_owned)
            .into();
        names.extend((1..=8).map(|number| format!("web-{number}")));
        names.extend((1..=8).map(|number| format!("app-{number}")));
        names.push("etcd".to_owned());
        let list: Vec<&str> = names.iter().map(String::as_str).collect();
        let (_cloud, hosts) = lab.cloud(CloudOptions::default(), &list)?;
        let host = |name: &str| hosts.iter().find(|host| host.name == name).expect("a host");
        let etcd = Etcd::start(lab, host("etcd"))?;
        let (servers, clients) = (
            [host("server-1"), host("server-2")],
            [host("client-1"), host("client-2")],
        );
        let cluster = JoinedCluster::new(lab, &etcd, &servers, &clients, "")?;
        let nodes: Vec<&Arc<Host>> = hosts.iter().filter(|host| host.name != "etcd").collect();
        let daemons: Vec<Arc<Daemon>> = nodes
            .iter()
            .map(|host| cluster.daemon(host))
            .collect::<Result<_>>()?;
        for (host, daemon) in nodes.iter().zip(&daemons) {
            if host.name.starts_with("web") || host.name.starts_with("app") {
                cluster.join(host)?;
            }
            daemon.run()?;
        }
        // Ten servers, ten clients.
        wait_full(&daemons, |name| {
            match name.starts_with("server") || name.starts_with("web") {
                true => 19,
                false => 10,
            }
        })?;
        lab.say("20 nodes, all Full");

        let stay = [
            "server-1", "server-2", "web-1", "client-1", "client-2", "app-1",
        ];
        let mut pings = Vec::new();
        for (at, to) in stay[..3].iter().enumerate() {
            let address = address(&cluster, host(to))?;
            for from in stay.iter().skip(at + 1) {
                pings.push(Pinging::start(lab, host(from), host(to), &address)?);
            }
        }

        let movers: Vec<usize> = (0..nodes.len())
            .filter(|at| !stay.contains(&&*nodes[*at].name))
            .collect();
        let mut away: BTreeSet<usize> = BTreeSet::new();
        for change in 0..CHANGES {
            let began = Instant::now();
            let at = movers[chosen(change, movers.len())];
            let (host, daemon) = (nodes[at], &daemons[at]);
            if away.remove(&at) {
                cluster.join(host)?;
                daemon.run()?;
            } else {
                cluster.l2ha(host, &["leave", "--now"])?;
                daemon.stop()?;
                away.insert(at);
            }
            std::thread::sleep(PACE.saturating_sub(began.elapsed()));
        }
        lab.say(format_args!(
            "{CHANGES} joins and leaves; {} are away",
            away.len()
        ));
        let there = |server: bool| {
            let names = nodes
                .iter()
                .enumerate()
                .filter(|(at, _)| !away.contains(at));
            names
                .filter(|(_, host)| {
                    let is_server = host.name.starts_with("server") || host.name.starts_with("web");
                    is_server == server
                })
                .count()
        };
        let (servers, clients) = (there(true), there(false));
        let staying: Vec<Arc<Daemon>> = daemons
            .iter()
            .enumerate()
            .filter(|(at, _)| !away.contains(at))
            .map(|(_, daemon)| Arc::clone(daemon))
            .collect();
        wait_full(&staying, |name| {
            match name.starts_with("server") || name.starts_with("web") {
                true => servers - 1 + clients,
                false => servers,
            }
        })?;
        let mut all = (0, 0);
        let mut losers = Vec::new();
        for ping in pings {
            let what = ping.what.clone();
            let (sent, lost) = ping.end()?;
            all = (all.0 + sent, all.1 + lost);
            if lost > 0 {
                losers.push(format!("{what}: {lost} of {sent}"));
            }
        }
        lab.say(format_args!(
            "pairs that stay: {} pings, {} lost",
            all.0, all.1
        ));
        ensure!(losers.is_empty(), "lost by pairs that stay: {losers:?}");
        Ok(())
    })
}

/// A number below `end`, the same in every run.
fn chosen(change: usize, end: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    hasher.write_usize(change);
    usize::try_from(hasher.finish() % end as u64).unwrap_or_default()
}
