//! What is wrong is found and said: `l2ha status` alone names the tunnel or the service, the cause and the line to
//! change in its first five lines. Then it is mended, and the node is healthy.

use std::{
    fs,
    net::{Ipv6Addr, SocketAddrV6, UdpSocket},
    process::Command,
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{
    CloudOptions, Daemon, Lab, Link, NodeConfig, PATIENCE, Process, join, secret_file, wait_for,
};
use ospfv3::wire::{ALL_SPF_ROUTERS, Header, Packet, PacketBody};
use socket2::{Domain, Protocol, Socket, Type};

/// Lines in which it must stand.
const FIRST: usize = 5;

/// What is wrong at one of two nodes, and what our node says of it.
struct Case {
    name: &'static str,
    /// Whether it is our own file that is wrong.
    ours: bool,
    change: fn(&mut NodeConfig),
    id: &'static str,
    words: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        name: "wrong session id",
        ours: false,
        change: |config| config.tunnels[0].peer_session_id += 4000,
        id: "session-unknown",
        words: &["tunnel them", "session id", "peer_session_id = "],
    },
    Case {
        name: "wrong cookie",
        ours: false,
        change: |config| {
            let good = config.tunnels[0].send_cookie.clone();
            let other = good.expect("a cookie").with_extension("other");
            secret_file(&other, "0011223344556677").expect("a cookie file");
            config.tunnels[0].send_cookie = Some(other);
        },
        id: "cookie-refused",
        words: &["tunnel them", "cookie", "receive_cookie_file"],
    },
    Case {
        name: "wrong remote",
        ours: true,
        change: |config| config.tunnels[0].remote = [10, 77, 0, 200].into(),
        id: "remote-mismatch",
        words: &["tunnel them", "10.77.0.200", "remote = "],
    },
    Case {
        name: "wrong port",
        ours: false,
        change: |config| config.tunnels[0].ports.0 = 1702,
        id: "port-mismatch",
        words: &["tunnel them", "1702", "remote_port = 1702"],
    },
    Case {
        name: "the peer does not hear us",
        ours: true,
        change: |config| config.tunnels[0].peer_session_id += 4000,
        id: "peer-deaf",
        words: &["tunnel them", "does not hear this node", "peer_session_id"],
    },
    Case {
        name: "BFD at one end only",
        ours: true,
        change: |config| {
            if let Some(ospf) = &mut config.ospf {
                ospf.bfd = Some("50x3".to_owned());
            }
        },
        id: "bfd-one-sided",
        words: &["tunnel them", "no BFD", "3784"],
    },
];

/// Two nodes with an adjacency between them.
pub(super) fn pair(lab: &Lab) -> Result<(Arc<Daemon>, Arc<Daemon>)> {
    let (_cloud, hosts) = lab.cloud(CloudOptions::default(), &["us", "them"])?;
    let mut ours = NodeConfig::new(lab, &hosts[0])?;
    let mut theirs = NodeConfig::new(lab, &hosts[1])?;
    join(&mut ours, &mut theirs, Link::default())?;
    for config in [&mut ours, &mut theirs] {
        if let Some(ospf) = &mut config.ospf {
            ospf.more.push("graceful_restart = 0".into());
        }
    }
    let ours = Daemon::start(lab, ours)?;
    let theirs = Daemon::start(lab, theirs)?;
    wait_healthy(&ours)?;
    Ok((ours, theirs))
}

#[track_caller]
pub(super) fn wait_healthy(daemon: &Daemon) -> Result<()> {
    wait_for("a healthy node", PATIENCE, || {
        let status = daemon.status()?;
        ensure!(status["health"] == "healthy", "{}", status["problems"]);
        Ok(Some(()))
    })
}

/// Waits until the node has the problem, and reads its status as a person would.
#[track_caller]
pub(super) fn wait_said(daemon: &Daemon, id: &str, words: &[&str]) -> Result<String> {
    wait_for(id, PATIENCE, || {
        let status = daemon.status()?;
        let problems = status["problems"].as_array().context("no list")?;
        ensure!(problems.iter().any(|it| it["id"] == id), "{problems:?}");
        let output = daemon.command(&["status"])?.output()?;
        ensure!(matches!(output.status.code(), Some(1 | 2)), "{output:?}");
        let text = String::from_utf8(output.stdout)?;
        let first: Vec<&str> = text.lines().take(FIRST).map(str::trim).collect();
        let first = first.join(" ");
        for word in words {
            ensure!(first.contains(word), "`{word}` is not in: {first}");
        }
        ensure!(text.lines().all(|it| it.chars().count() <= 80), "{text}");
        Ok(Some(first))
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn status_alone_names_the_cause_and_the_line_to_change() -> Result<()> {
    Lab::run("problems", |lab| {
        let (ours, theirs) = pair(lab)?;
        for case in CASES {
            let wrong = if case.ours { &ours } else { &theirs };
            let good = wrong.config().clone();
            // Both from the start: what was heard before does not count.
            theirs.stop()?;
            ours.stop()?;
            wrong.reconfigure(case.change)?;
            ours.run()?;
            theirs.run()?;
            let said = wait_said(&ours, case.id, case.words).context(case.name)?;
            lab.say(format_args!("{}: {said}", case.name));
            let explained = ours.l2ha(&["explain", "them"])?;
            ensure!(explained.contains("STOPS"), "{}: {explained}", case.name);
            wrong.stop()?;
            wrong.reconfigure(|config| *config = good)?;
            wrong.run()?;
            wait_healthy(&ours).context(case.name)?;
        }
        theirs.stop()?;
        let words = &["tunnel them", "nothing comes", "start l2ha at"];
        let said = wait_said(&ours, "tunnel-silent", words)?;
        lab.say(format_args!("peer off: {said}"));
        theirs.run()?;
        wait_healthy(&ours)?;
        names_doubled(lab, &ours, &theirs)?;
        port_taken(lab, &ours)
    })
}

/// OSPF's packets come from our own address, as from a peer of the same names behind NAT.
fn names_doubled(lab: &Lab, ours: &Daemon, theirs: &Daemon) -> Result<()> {
    let neighbors = theirs.ospf("neighbors")?;
    let address = neighbors[0]["address"].as_str().context("no neighbour")?;
    let source: Ipv6Addr = address.parse()?;
    let host = Arc::clone(&theirs.config().host);
    let interface = theirs.config().tunnel("us").interface.clone();
    let index = host.ns.ifindex(&interface)?.context("no interface")?;
    let network = format!("{source}/64");
    let words = ["ip", "addr", "add", &network, "dev", &interface, "nodad"];
    host.ns.run(words)?;
    let socket = host.ns.enter(|| -> Result<Socket> {
        let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::from(89)))?;
        socket.bind_device(Some(interface.as_bytes()))?;
        socket.set_multicast_if_v6(index)?;
        socket.bind(&SocketAddrV6::new(source, 0, 0, index).into())?;
        Ok(socket)
    })??;
    let body = PacketBody::LinkStateAck(Vec::new());
    let header = Header {
        router_id: [10, 0, 0, 9].into(),
        area: [0; 4].into(),
        instance_id: 0,
    };
    let bytes = Packet { header, body }.encode(source, ALL_SPF_ROUTERS);
    let group = SocketAddrV6::new(ALL_SPF_ROUTERS, 0, 0, index);
    socket.send_to(&bytes, &group.into())?;
    let words = &["tunnel them", "this node's own address", "[node].name"];
    let said = wait_said(ours, "names-doubled", words)?;
    lab.say(format_args!("doubled names: {said}"));
    let words = ["ip", "addr", "del", &network, "dev", &interface];
    host.ns.run(words)?;
    Ok(())
}

/// Another process has the port when our node starts.
fn port_taken(lab: &Lab, ours: &Daemon) -> Result<()> {
    let host = Arc::clone(&ours.config().host);
    ours.stop()?;
    let taken = host.ns.enter(|| UdpSocket::bind((host.v4, 1701)))??;
    ours.run()?;
    let words = &["node", "1701", "local_port"];
    let said = wait_said(ours, "port-taken", words)?;
    lab.say(format_args!("port taken: {said}"));
    drop(taken);
    wait_healthy(ours)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_dead_service_and_a_refused_file_are_said_first() -> Result<()> {
    Lab::run("problems-service", |lab| {
        let (ours, _theirs) = pair(lab)?;
        let alive = lab.dir().join("alive");
        fs::write(&alive, "")?;
        ours.stop()?;
        ours.reconfigure(|config| {
            config.more.push_str(&format!(
                "[[services]]\nname = \"web\"\naddress = \"2001:db8::80\"\n\
                 check = {{ exec = [\"/usr/bin/test\", \"-e\", {alive:?}], interval = \"100ms\" }}\n"
            ));
        })?;
        ours.run()?;
        wait_healthy(&ours)?;
        fs::remove_file(&alive)?;
        let words = &[
            "service web",
            "last resort",
            "start what serves 2001:db8::80",
        ];
        let said = wait_said(&ours, "service-failed", words)?;
        lab.say(format_args!("dead service: {said}"));
        fs::write(&alive, "")?;
        wait_healthy(&ours)?;

        let good = fs::read_to_string(ours.file())?;
        fs::write(ours.file(), format!("{good}\n[osfp]\n"))?;
        ours.signal(nix::sys::signal::Signal::SIGHUP)?;
        let words = &["node", "not in force", "l2ha check"];
        let said = wait_said(&ours, "reload-refused", words)?;
        lab.say(format_args!("refused file: {said}"));
        fs::write(ours.file(), good)?;
        ours.signal(nix::sys::signal::Signal::SIGHUP)?;
        wait_healthy(&ours)
    })
}

/// Lines of a log, without what the doctor says of this machine.
fn lines(log: &str) -> Vec<&str> {
    log.lines()
        .filter(|line| !line.contains("doctor:"))
        .collect()
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_start_has_twenty_lines_and_a_failover_five() -> Result<()> {
    Lab::run("problems-log", |lab| {
        let names = ["us", "a", "b", "c", "d"];
        let (_cloud, hosts) = lab.cloud(CloudOptions::default(), &names)?;
        let mut ours = NodeConfig::new(lab, &hosts[0])?;
        let mut theirs = Vec::new();
        for host in &hosts[1..] {
            let mut config = NodeConfig::new(lab, host)?;
            join(&mut ours, &mut config, Link::default())?;
            theirs.push(config);
        }
        for config in theirs.iter_mut().chain([&mut ours]) {
            if let Some(ospf) = &mut config.ospf {
                ospf.bfd = Some("50x3".to_owned());
                ospf.more.push("graceful_restart = 0".into());
            }
        }
        let theirs: Vec<Arc<Daemon>> = theirs
            .into_iter()
            .map(|config| Daemon::start(lab, config))
            .collect::<Result<_>>()?;
        let ours = Daemon::start(lab, ours)?;
        wait_healthy(&ours)?;
        let log = ours.log_since(0);
        let said = lines(&log);
        lab.say(format_args!(
            "{} lines for a start:\n{}",
            said.len(),
            said.join("\n")
        ));
        ensure!(said.len() <= 20, "{} lines: {said:#?}", said.len());
        // No number stands for an interface or a reason, and nothing is shown as the source code has it.
        for number in ["interface=4294967295", "ours=", "Some(", " { "] {
            ensure!(!log.contains(number), "{number}: {log}");
        }
        let limits = fs::read_to_string(format!("/proc/{}/limits", ours.pid()?))?;
        let files = limits.lines().find(|it| it.starts_with("Max open files"));
        let words: Vec<&str> = files.unwrap_or_default().split_whitespace().collect();
        ensure!(words.get(3) == words.get(4), "not raised: {files:?}");

        let mark = ours.log_mark();
        theirs[0].kill()?;
        wait_said(&ours, "peer-without-ospf", &["tunnel a"])
            .or_else(|_| wait_said(&ours, "tunnel-silent", &["tunnel a"]))?;
        let log = ours.log_since(mark);
        let said = lines(&log);
        lab.say(format_args!(
            "{} lines for a failover:\n{}",
            said.len(),
            said.join("\n")
        ));
        ensure!(
            (1..=5).contains(&said.len()),
            "{} lines: {said:#?}",
            said.len()
        );
        ensure!(
            said.iter()
                .any(|line| line.contains("WARN") && line.contains("lost")),
            "{said:#?}"
        );
        Ok(())
    })
}

/// A daemon whose standard error nobody reads.
fn unread(daemon: &Daemon) -> Result<(Process, std::io::PipeReader)> {
    let (reader, writer) = std::io::pipe()?;
    let config = daemon.config();
    let mut command = Command::new(daemon.binary());
    command
        .args(["run", "--log", "trace", "--config"])
        .arg(daemon.file())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    Ok((config.host.ns.spawn(command)?, reader))
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn fault_20_a_log_that_nobody_reads_holds_up_nothing() -> Result<()> {
    Lab::run("problems-unread", |lab| {
        let (ours, theirs) = pair(lab)?;
        ours.stop()?;
        let (process, _reader) = unread(&ours)?;
        let words = &["node", "the log loses lines", "standard error"];
        // `trace` fills pipe and queue.
        wait_for("lost lines", PATIENCE, || {
            let status = ours.status()?;
            ensure!(status["log_lines_lost"].as_u64() > Some(0), "none yet");
            Ok(Some(()))
        })?;
        wait_said(&ours, "log-lost", words)?;
        // Routing goes on, and so does the peer's view of it.
        wait_for("an adjacency", PATIENCE, || {
            ensure!(theirs.full_neighbours()?.len() == 1, "none");
            Ok(Some(()))
        })?;
        let lost = theirs.status()?["ospf"]["counters"]["adjacencies_lost"].clone();
        thread::sleep(Duration::from_secs(4));
        let after = theirs.status()?["ospf"]["counters"]["adjacencies_lost"].clone();
        ensure!(lost == after, "{lost} and {after} adjacencies lost");
        let status = process.terminate(PATIENCE)?;
        ensure!(status.success(), "{status}");
        ours.run()?;
        wait_healthy(&ours)
    })
}
