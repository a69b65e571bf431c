//! Servers of equal cost share the flows, and one that dies or returns moves only its own.

use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{
    ANYCAST, Beats, CLIENT, CloudOptions, Daemon, Echo, Host, Lab, Link, NodeConfig, PATIENCE,
    devices, join, judged, wait_for,
};
use serde_json::Value;

const SERVERS: [&str; 4] = ["server-1", "server-2", "server-3", "server-4"];
/// Enough that each server has some at any spread that deserves the name.
const FLOWS: usize = 400;
/// Where the servers answer: echo.
const PORT: u16 = 7;
/// BFD of 100 ms x 3: a machine that pauses for so long looks like a failure.
const DETECTION: Duration = Duration::from_millis(300);
/// How long the last answers may take.
const LAST: Duration = Duration::from_millis(100);
/// For how long flows must stay where they are after everything has come up again.
const WATCHED: Duration = Duration::from_secs(1);

/// Connections of the client's, each from a port of its own.
struct Flows(Vec<UdpSocket>);

impl Flows {
    fn open(client: &Host) -> Result<Self> {
        let open = || -> io::Result<UdpSocket> {
            let socket = UdpSocket::bind(SocketAddr::new(CLIENT.into(), 0))?;
            socket.connect(SocketAddr::new(ANYCAST.into(), PORT))?;
            socket.set_read_timeout(Some(Duration::from_millis(200)))?;
            Ok(socket)
        };
        let open_all = || (0..FLOWS).map(|_| open()).collect::<io::Result<_>>();
        let sockets = client.ns.enter(open_all)?;
        Ok(Self(sockets.context("cannot open the flows")?))
    }

    /// The server that answers each.
    fn ask(&self) -> Result<Vec<String>> {
        let mut answers = Vec::new();
        for (number, socket) in self.0.iter().enumerate() {
            let question = u64::try_from(number)?.to_be_bytes();
            let name = wait_for("an answer", PATIENCE, || {
                socket.send(&question).context("cannot ask")?;
                let mut answer = [0; 64];
                let length = socket.recv(&mut answer).context("no answer")?;
                let name = answer[..length]
                    .strip_prefix(&question)
                    .context("not ours")?;
                Ok(Some(String::from_utf8_lossy(name).into_owned()))
            })?;
            answers.push(name);
        }
        Ok(answers)
    }
}

fn shares(answers: &[String]) -> BTreeMap<&str, usize> {
    let mut shares = BTreeMap::new();
    for name in answers {
        *shares.entry(name.as_str()).or_default() += 1;
    }
    shares
}

/// Each of `servers` has a part of the flows, and no other has.
fn check_shares(answers: &[String], servers: &[&str]) -> Result<()> {
    let shares = shares(answers);
    let names: Vec<&str> = shares.keys().copied().collect();
    ensure!(names == servers, "{shares:?}");
    let fair = FLOWS / servers.len();
    let fair = fair / 3..=fair * 2;
    ensure!(shares.values().all(|it| fair.contains(it)), "{shares:?}");
    Ok(())
}

/// No flow moved but those of `gone`.
fn check_moves(before: &[String], after: &[String], gone: Option<&str>) -> Result<usize> {
    let mut moves: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (before, after) in before.iter().zip(after) {
        if before != after {
            *moves.entry((before, after)).or_default() += 1;
        }
    }
    ensure!(
        moves.keys().all(|(from, _)| gone == Some(*from)),
        "flows moved: {moves:?}; {:?} -> {:?}",
        shares(before),
        shares(after),
    );
    Ok(moves.values().sum())
}

struct Cluster {
    servers: Vec<(Arc<Daemon>, Echo)>,
    client: Arc<Daemon>,
}

impl Cluster {
    #[track_caller]
    fn wait_route(&self, servers: &[&str]) -> Result<Value> {
        let names: Vec<String> = servers.iter().map(|name| format!("l2-{name}")).collect();
        let host = Arc::clone(&self.client.config().host);
        wait_for("the client's route", PATIENCE, || {
            let target = ANYCAST.to_string();
            let routes = host.ns.ip_json(&["-6", "route", "show", &target])?;
            let mut found = routes.get(0).map(devices).unwrap_or_default();
            found.sort_unstable();
            ensure!(found == names, "{routes}");
            Ok(Some(routes[0].clone()))
        })
    }

    fn kernel(&self) -> Result<Value> {
        Ok(self.client.status()?["ospf"]["kernel"].clone())
    }
}

fn start(lab: &Lab, hosts: &[Arc<Host>]) -> Result<Cluster> {
    let (client, servers) = hosts.split_last().context("no hosts")?;
    // Where flows have no label of their own, as those that begin here, their ports tell them apart.
    client
        .ns
        .sysctl("net/ipv6/fib_multipath_hash_policy", "1")?;
    let mut ours = NodeConfig::new(lab, client)?;
    ours.own_addresses.push(CLIENT.into());
    let mut theirs = Vec::new();
    for host in servers {
        let mut config = NodeConfig::new(lab, host)?;
        config.services.push(("web".into(), ANYCAST));
        join(&mut config, &mut ours, Link::default())?;
        theirs.push(config);
    }
    for config in theirs.iter_mut().chain([&mut ours]) {
        if let Some(ospf) = &mut config.ospf {
            // A pause of the whole machine is not to look like a server's death.
            ospf.bfd = Some("100x3".into());
        }
    }
    let client = Daemon::start(lab, ours)?;
    let servers = theirs.into_iter().map(|config| {
        let host = Arc::clone(&config.host);
        let echo = Echo::start(&host.ns, ANYCAST, &host.name)?;
        Ok((Daemon::start(lab, config)?, echo))
    });
    let servers = servers.collect::<Result<_>>()?;
    Ok(Cluster { servers, client })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_dead_server_moves_only_its_own_flows() -> Result<()> {
    Lab::run("balance", |lab| {
        let names: Vec<&str> = SERVERS.into_iter().chain(["client"]).collect();
        let (cloud, hosts) = lab.cloud(CloudOptions::default(), &names)?;
        let cluster = start(lab, &hosts)?;
        cluster.wait_route(&SERVERS)?;
        let kernel = cluster.kernel()?;
        ensure!(kernel["resilient"] == true, "{kernel}");
        thread::sleep(WATCHED);

        let flows = Flows::open(&hosts[4])?;
        let first = flows.ask()?;
        lab.say(format_args!("four servers: {:?}", shares(&first)));
        check_shares(&first, &SERVERS)?;
        check_moves(&first, &flows.ask()?, None)?;

        let others = ["server-1", "server-3", "server-4"];
        cloud.cut(&hosts[1])?;
        cluster.wait_route(&others)?;
        let cut = flows.ask()?;
        let moved = check_moves(&first, &cut, Some("server-2"))?;
        lab.say(format_args!(
            "one is cut: {moved} moved, {:?}",
            shares(&cut)
        ));
        check_shares(&cut, &others)?;
        let kernel = cluster.kernel()?;
        ensure!(kernel["switches"].as_u64() >= Some(1), "{kernel}");

        cloud.heal(&hosts[1])?;
        cluster.wait_route(&SERVERS)?;
        thread::sleep(WATCHED);
        // Their buckets are in use: what returns gets new flows as old ones end.
        check_moves(&cut, &flows.ask()?, None)?;
        lab.say("it is back: 0 moved");

        let beats = Beats::start(&hosts[4].ns, ANYCAST)?;
        thread::sleep(WATCHED);
        let mut again = false;
        let stopped = judged(lab, "one stops", |step| {
            if again {
                cluster.servers[2].0.run()?;
                cluster.wait_route(&SERVERS)?;
                thread::sleep(WATCHED);
            }
            again = true;
            let from = Instant::now();
            cluster.servers[2].0.stop()?;
            cluster.wait_route(&["server-1", "server-2", "server-4"])?;
            thread::sleep(LAST * 2);
            let to = Instant::now();
            thread::sleep(LAST);
            let gap = beats.gap(from, to);
            step.window(from, to, DETECTION);
            let stopped = flows.ask()?;
            let shares = shares(&stopped);
            lab.say(format_args!("one stops: {shares:?}, {gap:?}"));
            let moved = check_moves(&cut, &stopped, Some("server-3"))?;
            lab.say(format_args!("{moved} flows moved"));
            ensure!(!shares.contains_key("server-3"), "{shares:?}");
            ensure!(gap.lost == 0, "{gap:?}");
            Ok(stopped)
        })?;
        drop(beats);

        let group = cluster.wait_route(&["server-1", "server-2", "server-4"])?["nhid"].clone();
        cluster.client.kill()?;
        check_moves(&stopped, &flows.ask()?, None)?;
        cluster.client.run()?;
        thread::sleep(WATCHED * 6);
        let route = cluster.wait_route(&["server-1", "server-2", "server-4"])?;
        ensure!(route["nhid"] == group, "{route}: was {group}");
        check_moves(&stopped, &flows.ask()?, None)?;
        lab.say("the client's daemon is killed and started: 0 moved");
        Ok(())
    })
}
