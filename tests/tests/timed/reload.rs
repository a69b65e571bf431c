//! A reload touches what has changed, and nothing else: packets and connections that go through the node
//! while nearly everything about it changes are none the worse for it.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use l2ha_lab::{
    CloudOptions, Daemon, Host, Lab, Link, Namespace, NodeConfig, PATIENCE, Stream, UNDERLAY, join,
    judged, wait_for,
};
use serde_json::Value;

/// The far end of the traffic.
const RIGHT: &str = "fd00:2::1";
/// Packets a second: one each two milliseconds.
const RATE: u64 = 500;
/// How long packets flow after a reload: longer than the dead interval, so that an adjacency that is not
/// kept alive is seen to fall.
const AFTER: Duration = Duration::from_millis(3500);
/// A machine that pauses for so long may lose packets by itself.
const LIMIT: Duration = Duration::from_millis(150);
/// How long the main loop may stand still; 20 ms are the aim on a machine with nothing else to do.
const PAUSE: Duration = Duration::from_millis(200);

/// `left`, `node` and `right` in a line: `left` in a stub area, `right` in the backbone.
struct Line {
    hosts: Vec<Arc<Host>>,
    left: Arc<Daemon>,
    node: Arc<Daemon>,
    right: Arc<Daemon>,
}

/// What is said of the node, before and after.
fn describe(config: &mut NodeConfig, after: bool) -> Result<()> {
    let ospf = config.ospf.as_mut().context("no [ospf]")?;
    let pick = |before: &str, now: &str| if after { now } else { before }.to_owned();
    ospf.bfd = Some(pick("50x3", "30x5"));
    ospf.more = vec![
        pick("route_metric = 20", "route_metric = 30"),
        pick("redistribute = []", "redistribute = [\"static\"]"),
        pick("retransmit_interval = 5", "retransmit_interval = 2"),
        pick("graceful_restart = 120", "graceful_restart = 60"),
        pick("graceful_helper = true", "graceful_helper = false"),
        pick("accept_default = false", "accept_default = true"),
    ];
    let (cost, priority) = if after { (70, 9) } else { (10, 1) };
    for tunnel in &mut config.tunnels {
        tunnel.cost = cost;
        tunnel.more.retain(|line| line.starts_with("area"));
        tunnel.more.push(format!("ospf_priority = {priority}"));
    }
    let (cost, metric) = if after { (33, 44) } else { (10, 0) };
    config.more = format!(
        "[[ospf_areas]]\narea = \"0.0.0.1\"\nstub = true\ndefault_cost = {cost}\nno_summary = {after}\n
[[services]]\nname = \"web\"\naddress = \"2001:db8::80\"\nmetric = {metric}\n"
    );
    Ok(())
}

impl Line {
    fn start(lab: &Lab) -> Result<Self> {
        let names = ["left", "node", "right"];
        let (_cloud, hosts) = lab.cloud(CloudOptions::default(), &names)?;
        hosts[1].ns.sysctl("net/ipv6/conf/all/forwarding", "1")?;
        let mut configs = hosts
            .iter()
            .map(|host| NodeConfig::new(lab, host))
            .collect::<Result<Vec<_>>>()?;
        let [left, node, right] = &mut configs[..] else {
            bail!("three names make three hosts")
        };
        join(left, node, Link::default())?;
        join(node, right, Link::default())?;
        let far = format!("{RIGHT}/64");
        for (config, addresses) in [
            (&mut *left, &["fd00:1::1/64"][..]),
            (node, &["fd00:1::2/64", "fd00:2::2/64"]),
            (right, &[far.as_str()]),
        ] {
            for (tunnel, address) in config.tunnels.iter_mut().zip(addresses) {
                tunnel.addresses = vec![(*address).to_owned()];
            }
        }
        for config in [&mut *left, node] {
            config.tunnels[0].more.push("area = \"0.0.0.1\"".to_owned());
        }
        describe(node, false)?;
        left.more = "[[ospf_areas]]\narea = \"0.0.0.1\"\nstub = true\n".to_owned();
        for config in [left, right] {
            let ospf = config.ospf.as_mut().context("no [ospf]")?;
            ospf.bfd = Some("50x3".to_owned());
        }
        let daemons = configs
            .into_iter()
            .map(|config| Daemon::start(lab, config))
            .collect::<Result<Vec<_>>>()?;
        let [left, node, right] = &daemons[..] else {
            bail!("three configurations make three daemons")
        };
        let line = Self {
            hosts,
            left: Arc::clone(left),
            node: Arc::clone(node),
            right: Arc::clone(right),
        };
        line.wait_up()?;
        Ok(line)
    }

    /// Waits until both neighbours are there, BFD watches them, and packets pass.
    fn wait_up(&self) -> Result<()> {
        wait_for("two neighbours watched by BFD", PATIENCE, || {
            let full = self.node.full_neighbours()?;
            let sessions = self.node.bfd_sessions()?;
            let up = sessions.iter().filter(|it| it["state"] == "up").count();
            ensure!(full.len() == 2 && up == 2, "{full:?}, {sessions:?}");
            Ok(Some(()))
        })?;
        wait_for("packets from left to right", PATIENCE, || {
            let words = ["ping", "-c", "1", "-W", "1", RIGHT];
            self.hosts[0].ns.run(words).map(Some)
        })?;
        Ok(())
    }

    /// Adjacencies and sessions of BFD that have been lost, by anybody, since the start.
    fn lost(&self) -> Result<(u64, u64)> {
        let (mut adjacencies, mut sessions) = (0, 0);
        for daemon in [&self.left, &self.node, &self.right] {
            for interface in daemon.ospf("interfaces")?.as_array().context("no list")? {
                adjacencies += interface["adjacencies_lost"].as_u64().context("no count")?;
            }
            for session in daemon.bfd_sessions()? {
                sessions += session["counters"]["downs"].as_u64().context("no count")?;
            }
        }
        Ok((adjacencies, sessions))
    }
}

/// `l2ha reload --json`.
fn reload(daemon: &Daemon) -> Result<Value> {
    Ok(serde_json::from_str(&daemon.l2ha(&["reload", "--json"])?)?)
}

/// Whether BFD has real-time priority.
fn real_time(daemon: &Daemon) -> Result<Value> {
    let answer: Value = serde_json::from_str(&daemon.l2ha(&["bfd", "--json"])?)?;
    Ok(answer["real_time"].clone())
}

/// How long the main loop stood still for a reload.
fn pause(reloaded: &Value) -> Result<Duration> {
    let pause = reloaded["pause_us"].as_u64().context("no pause")?;
    Ok(Duration::from_micros(pause))
}

/// What a reload changed, in words; an error if it names an interruption.
fn changes_nothing_interrupted(reloaded: &Value) -> Result<Vec<String>> {
    let changes = reloaded["changes"].as_array().context("no changes")?;
    let interrupts = changes.iter().find(|it| it["interrupts"].is_string());
    ensure!(interrupts.is_none(), "{interrupts:?}");
    let words = changes.iter().filter_map(|it| it["what"].as_str());
    Ok(words.map(str::to_owned).collect())
}

/// A connection whose bytes come back, all the time.
struct Connection {
    stop: Arc<AtomicBool>,
    client: JoinHandle<Result<Duration>>,
}

impl Connection {
    fn open(from: &Namespace, to: &Namespace) -> Result<Self> {
        let address: SocketAddr = format!("[{RIGHT}]:7777").parse()?;
        let listener = to.enter(|| TcpListener::bind(address))??;
        thread::spawn(move || {
            // The client says what went wrong.
            if let Ok((mut server, _)) = listener.accept() {
                let mut bytes = [0; 4096];
                while let Ok(length @ 1..) = server.read(&mut bytes) {
                    if server.write_all(&bytes[..length]).is_err() {
                        break;
                    }
                }
            }
        });
        let mut client = from.enter(|| TcpStream::connect(address))??;
        client.set_nodelay(true)?;
        client.set_read_timeout(Some(PATIENCE))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let client = thread::spawn(move || {
            let (mut longest, mut bytes) = (Duration::ZERO, [7; 1000]);
            while !stopped.load(Ordering::Relaxed) {
                let began = Instant::now();
                client.write_all(&bytes).context("the connection broke")?;
                client
                    .read_exact(&mut bytes)
                    .context("the connection broke")?;
                longest = longest.max(began.elapsed());
                thread::sleep(Duration::from_millis(2));
            }
            Ok(longest)
        });
        Ok(Self { stop, client })
    }

    /// Ends it; the longest that bytes took to come back.
    fn close(self) -> Result<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.client.join();
        ended.map_err(|_| anyhow!("the client has panicked"))?
    }
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn nearly_everything_changes_and_nothing_is_lost() -> Result<()> {
    Lab::run("reload-live", |lab| {
        let line = Line::start(lab)?;
        let (left, right) = (&line.hosts[0].ns, &line.hosts[2].ns);
        let priority = real_time(&line.node)?;
        let mut after = false;
        judged(lab, "a reload", |step| {
            let connection = Connection::open(left, right)?;
            let before = line.lost()?;
            let began = Instant::now();
            let stream = Stream::start(left, right, RIGHT.parse()?, RATE)?;
            thread::sleep(Duration::from_millis(500));
            after = !after;
            line.node.reconfigure(|config| {
                // The scenario has an [ospf].
                let _ = describe(config, after);
            })?;
            let reloaded = reload(&line.node)?;
            thread::sleep(AFTER);
            let seen = stream.finish()?;
            step.window(began, Instant::now(), LIMIT);
            let longest = connection.close()?;
            let lost = line.lost()?;
            let changes = changes_nothing_interrupted(&reloaded)?;
            lab.say(format_args!(
                "{} changes: {} of {} packets lost, {} adjacencies, {} sessions of BFD, main loop \
                 {:?}, longest wait of the connection {longest:?}",
                changes.len(),
                seen.lost(),
                seen.sent,
                lost.0 - before.0,
                lost.1 - before.1,
                pause(&reloaded)?,
            ));
            ensure!(seen.lost() == 0, "{seen:?}");
            ensure!(
                lost == before,
                "adjacencies and sessions: {before:?}, then {lost:?}"
            );
            ensure!(pause(&reloaded)? <= PAUSE, "{:?}", pause(&reloaded)?);
            ensure!(reloaded["settled"] == true, "{reloaded}");
            // Six of OSPF as a whole with BFD, two for each tunnel with BFD, two of the area, one service.
            for of in [
                "ospf: ",
                "tunnel left: cost",
                "area 0.0.0.1: ",
                "service web: metric",
            ] {
                let named = changes.iter().any(|change| change.starts_with(of));
                ensure!(named, "no {of}: {changes:#?}");
            }
            Ok(())
        })?;
        ensure!(
            real_time(&line.node)? == priority,
            "BFD has another priority"
        );
        Ok(())
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn it_is_said_before_and_done_without_a_restart() -> Result<()> {
    Lab::run("reload-said", |lab| {
        let line = Line::start(lab)?;
        let (pid, priority) = (line.node.pid()?, real_time(&line.node)?);

        // Mistakes: every one, an exit status, a problem; and nothing else.
        let good = std::fs::read_to_string(line.node.file())?;
        let bad = good.replace("hello_interval = 1", "hello_interval = 0\ncots = 3");
        std::fs::write(line.node.file(), bad)?;
        let output = line.node.command(&["reload"])?.output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(1), "{output:?}");
        ensure!(
            said.contains("ospf.hello_interval") && said.contains("cots"),
            "{said}"
        );
        let refused = |status: &Value| {
            let problems = status["problems"].as_array();
            problems.is_some_and(|all| all.iter().any(|it| it["id"] == "reload-refused"))
        };
        ensure!(refused(&line.node.status()?), "no problem");
        std::fs::write(line.node.file(), good)?;
        reload(&line.node)?;
        ensure!(!refused(&line.node.status()?), "the problem stays");

        // What would be interrupted is said, and is not done.
        let before = line.lost()?;
        line.node.reconfigure(|config| {
            config.tunnels[1].more.push("area = \"0.0.0.2\"".to_owned());
        })?;
        let told = line.node.l2ha(&["reload", "--dry-run"])?;
        ensure!(told.contains("area 0.0.0.0 -> 0.0.0.2"), "{told}");
        ensure!(told.contains("interrupts: its adjacency"), "{told}");
        line.node.reconfigure(|config| {
            config.tunnels[1].more.pop();
        })?;

        // Intervals, at one node after the other.
        for daemon in [&line.left, &line.node, &line.right] {
            daemon.reconfigure(|config| {
                if let Some(ospf) = &mut config.ospf {
                    (ospf.hello, ospf.dead) = (2, 7);
                }
            })?;
            reload(daemon)?;
            thread::sleep(Duration::from_millis(300));
        }
        thread::sleep(AFTER);
        ensure!(
            line.lost()? == before,
            "{before:?}, then {:?}",
            line.lost()?
        );

        // Another name of the underlay's interface.
        let ns = &line.hosts[1].ns;
        ns.run(["ip", "link", "set", "dev", UNDERLAY, "name", "wan0"])?;
        line.node
            .reconfigure(|config| config.interface = "wan0".to_owned())?;
        reload(&line.node)?;
        let status = line.node.status()?;
        let underlay = &status["underlay"];
        ensure!(underlay["problem"].is_null(), "{underlay}");
        ensure!(underlay["interface"] == "wan0", "{underlay}");
        line.wait_up()?;

        // Without OSPF, and with it again: the main loop waits for neither.
        let with_ospf = line.node.config().clone();
        line.node.reconfigure(|config| {
            config.ospf = None;
            config.more.clear();
            for tunnel in &mut config.tunnels {
                tunnel.more.clear();
            }
        })?;
        let gone = reload(&line.node)?;
        ensure!(pause(&gone)? < Duration::from_secs(1), "{gone}");
        line.node.reconfigure(|config| *config = with_ospf)?;
        let back = reload(&line.node)?;
        ensure!(pause(&back)? < Duration::from_secs(1), "{back}");
        lab.say(format_args!(
            "main loop: {:?} for the end of OSPF, {:?} for its return",
            pause(&gone)?,
            pause(&back)?
        ));
        wait_for("two neighbours again", PATIENCE, || {
            let full = line.node.full_neighbours()?;
            ensure!(full.len() == 2, "{full:?}");
            Ok(Some(()))
        })?;
        ensure!(line.node.pid()? == pid, "it was restarted");
        ensure!(
            real_time(&line.node)? == priority,
            "BFD has another priority"
        );
        Ok(())
    })
}
