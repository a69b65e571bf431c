//! What is wrong is found and said: `l2ha status` alone names the tunnel or the service, the cause and the line to
//! change in its first five lines. Then it is mended, and the node is healthy.

use std::{fs, process::Command, sync::Arc, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{CloudOptions, Daemon, Lab, Link, NodeConfig, PATIENCE, Process, join, wait_for};
use nix::sys::signal::Signal;

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
            let tunnel = &mut config.tunnels[0];
            std::mem::swap(&mut tunnel.send_cookie, &mut tunnel.receive_cookie);
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
        words: &["tunnel them", "sends no BFD", "3784"],
    },
];

/// Two nodes with an adjacency between them.
fn pair(lab: &Lab) -> Result<(Arc<Daemon>, Arc<Daemon>)> {
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
fn wait_healthy(daemon: &Daemon) -> Result<()> {
    wait_for("a healthy node", PATIENCE, || {
        let status = daemon.status()?;
        ensure!(status["health"] == "healthy", "{}", status["problems"]);
        Ok(Some(()))
    })
}

/// Waits until the node has the problem, and reads its status as a person would.
#[track_caller]
fn wait_said(daemon: &Daemon, id: &str, words: &[&str]) -> Result<String> {
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
        wait_healthy(&ours)
    })
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
        ours.signal(Signal::SIGHUP)?;
        let words = &["node", "not in force", "l2ha check"];
        let said = wait_said(&ours, "reload-refused", words)?;
        lab.say(format_args!("refused file: {said}"));
        fs::write(ours.file(), good)?;
        ours.signal(Signal::SIGHUP)?;
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
        // No number stands for an interface.
        ensure!(
            !log.contains("interface=4294967295") && !log.contains("Nexthop {"),
            "{log}"
        );

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
    // The smallest there is: a page.
    nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETPIPE_SZ(4096))?;
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
        wait_for("an answer", PATIENCE, || ours.status().map(Some))?;
        // Mistakes fill pipe and queue.
        let good = fs::read_to_string(ours.file())?;
        let mistakes: String = (0..1000).map(|at| format!("mistake_{at} = 1\n")).collect();
        fs::write(ours.file(), format!("{good}{mistakes}"))?;
        wait_for("lost lines", PATIENCE, || {
            process.signal(Signal::SIGHUP)?;
            let status = ours.status()?;
            ensure!(status["log_lines_lost"].as_u64() > Some(0), "none yet");
            Ok(Some(()))
        })?;
        fs::write(ours.file(), good)?;
        process.signal(Signal::SIGHUP)?;
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
