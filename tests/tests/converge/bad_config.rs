//! Mistakes in the configuration: each is refused with its line and what to write instead, and a
//! daemon that runs is not touched by a bad file.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{
    CloudOptions, Daemon, Lab, Link, NodeConfig, PATIENCE, Snapshot, binary, join, wait_for,
};
use nix::sys::signal::Signal;

/// A file without a mistake; `DIR` stands for the folder of the cookies.
const GOOD: &str = r#"[node]
name = "server-1"
run_dir = "/run/l2ha"

[underlay]
interface = "eth0"
addresses = ["10.77.0.1"]
mode = "auto"

[[tunnels]]
name = "client"
interface = "l2-client"
remote = "10.77.0.9"
encapsulation = "udp"
local_port = 1701
session_id = 1001
peer_session_id = 2001
receive_cookie_file = "DIR/receive"
send_cookie_file = "DIR/send"
sublayer = "none"
mtu = 1442
addresses = ["fd00:1::1/64"]
ospf = true
cost = 11

[[tunnels]]
name = "other"
interface = "l2-other"
remote = "10.77.0.8"
session_id = 1002
peer_session_id = 2002

[ospf]
router_id = "10.0.0.1"
area = "0.0.0.0"
hello_interval = 1
dead_interval = 4
route_metric = 20

[[services]]
name = "web"
address = "2001:db8::80"
metric = 0
"#;

/// A mistake: the line that is replaced, what it becomes, and which line must be named.
struct Mistake {
    line: &'static str,
    becomes: &'static str,
    /// The line that must be named, by its text; the changed one when empty.
    blamed: &'static str,
    /// What the message must contain: the key or another word that tells.
    says: &'static str,
}

const fn mistake(line: &'static str, becomes: &'static str, says: &'static str) -> Mistake {
    Mistake {
        line,
        becomes,
        blamed: "",
        says,
    }
}

/// A mistake that shows at another line than the one that was changed.
const fn elsewhere(
    line: &'static str,
    becomes: &'static str,
    blamed: &'static str,
    says: &'static str,
) -> Mistake {
    Mistake {
        line,
        becomes,
        blamed,
        says,
    }
}

const MISTAKES: &[Mistake] = &[
    // The file as TOML.
    mistake(r#"name = "server-1""#, "name = server-1", "quotes"),
    mistake(r#"interface = "eth0""#, r#"interface = "eth0"#, "quotes"),
    mistake("[underlay]", "[underlay", "[underlay]"),
    mistake("metric = 0", "metric: 0", "TOML"),
    elsewhere(
        "cost = 11",
        "cost = 11\ncost = 12 # again",
        "cost = 12 # again",
        "duplicate key",
    ),
    // Keys and sections.
    mistake(
        r#"run_dir = "/run/l2ha""#,
        r#"colour = "blue""#,
        "node.colour",
    ),
    mistake(r#"mode = "auto""#, r#"mod = "auto""#, "mode"),
    mistake("cost = 11", "costs = 11", "did you mean"),
    elsewhere(r#"name = "server-1""#, "", "[node]", "node.name"),
    elsewhere(
        r#"interface = "eth0""#,
        "",
        "[underlay]",
        "underlay.interface",
    ),
    elsewhere(
        r#"remote = "10.77.0.8""#,
        "",
        "[[tunnels]]#2",
        "tunnels[1].remote",
    ),
    elsewhere(r#"router_id = "10.0.0.1""#, "", "[ospf]", "ospf.router_id"),
    elsewhere(
        r#"address = "2001:db8::80""#,
        "",
        "[[services]]",
        "services[0].address",
    ),
    mistake("[[services]]", "[[service]]", "services"),
    // Types.
    mistake(r#"name = "server-1""#, "name = 1", "node.name"),
    mistake(
        r#"addresses = ["10.77.0.1"]"#,
        r#"addresses = "10.77.0.1""#,
        "underlay.addresses",
    ),
    mistake(
        "session_id = 1001",
        r#"session_id = "1001""#,
        "tunnels[0].session_id",
    ),
    mistake("ospf = true", r#"ospf = "yes""#, "tunnels[0].ospf"),
    mistake(
        "hello_interval = 1",
        "hello_interval = 0.5",
        "ospf.hello_interval",
    ),
    // Values.
    mistake(r#"name = "server-1""#, r#"name = "Server 1""#, "server-1"),
    mistake(
        r#"interface = "l2-client""#,
        r#"interface = "l2-to-the-client""#,
        "15",
    ),
    mistake(
        r#"addresses = ["10.77.0.1"]"#,
        r#"addresses = ["10.77.0.300"]"#,
        "underlay.addresses",
    ),
    mistake(
        r#"addresses = ["10.77.0.1"]"#,
        r#"addresses = ["10.77.0.1", "10.77.0.2"]"#,
        "underlay.addresses",
    ),
    mistake(
        r#"addresses = ["10.77.0.1"]"#,
        "addresses = []",
        "underlay.addresses",
    ),
    mistake(r#"mode = "auto""#, r#"mode = "xpd""#, "xdp"),
    mistake(
        r#"remote = "10.77.0.9""#,
        r#"remote = "peer.example""#,
        "tunnels[0].remote",
    ),
    mistake(
        r#"remote = "10.77.0.9""#,
        r#"remote = "fd77::9""#,
        "tunnels[0].remote",
    ),
    mistake(
        r#"remote = "10.77.0.9""#,
        r#"remote = "10.77.0.1""#,
        "tunnels[0].remote",
    ),
    mistake(
        r#"remote = "10.77.0.9""#,
        r#"remote = "224.0.0.5""#,
        "tunnels[0].remote",
    ),
    mistake(
        r#"encapsulation = "udp""#,
        r#"encapsulation = "gre""#,
        "tunnels[0].encapsulation",
    ),
    elsewhere(
        r#"encapsulation = "udp""#,
        r#"encapsulation = "ip""#,
        "local_port = 1701",
        "tunnels[0].local_port",
    ),
    mistake(
        "local_port = 1701",
        "local_port = 70000",
        "tunnels[0].local_port",
    ),
    mistake(
        "session_id = 1001",
        "session_id = 0",
        "tunnels[0].session_id",
    ),
    mistake(
        "peer_session_id = 2001",
        "peer_session_id = 4294967296",
        "tunnels[0].peer_session_id",
    ),
    mistake(
        "session_id = 1002",
        "session_id = 1001",
        "tunnels[1].session_id",
    ),
    mistake(r#"name = "other""#, r#"name = "client""#, "tunnels[1].name"),
    mistake(
        r#"interface = "l2-other""#,
        r#"interface = "l2-client""#,
        "tunnels[1].interface",
    ),
    mistake(
        r#"receive_cookie_file = "DIR/receive""#,
        r#"receive_cookie_file = "DIR/absent""#,
        "tunnels[0].receive_cookie_file",
    ),
    mistake(
        r#"receive_cookie_file = "DIR/receive""#,
        r#"receive_cookie_file = "DIR/garbled""#,
        "tunnels[0].receive_cookie_file",
    ),
    mistake(
        r#"send_cookie_file = "DIR/send""#,
        r#"send_cookie_file = "DIR/open""#,
        "tunnels[0].send_cookie_file",
    ),
    mistake(
        r#"sublayer = "none""#,
        r#"sublayer = "atm""#,
        "tunnels[0].sublayer",
    ),
    mistake("mtu = 1442", "mtu = 500", "tunnels[0].mtu"),
    mistake(
        r#"addresses = ["fd00:1::1/64"]"#,
        r#"addresses = ["fd00:1::1/129"]"#,
        "tunnels[0].addresses",
    ),
    mistake("cost = 11", "cost = 0", "tunnels[0].cost"),
    mistake("cost = 11", "cost = 65536", "tunnels[0].cost"),
    mistake(
        r#"router_id = "10.0.0.1""#,
        r#"router_id = "0.0.0.0""#,
        "ospf.router_id",
    ),
    mistake(
        "dead_interval = 4",
        "dead_interval = 1",
        "ospf.dead_interval",
    ),
    mistake("route_metric = 20", "route_metric = 0", "ospf.route_metric"),
    mistake(
        r#"address = "2001:db8::80""#,
        r#"address = "169.254.0.80""#,
        "services[0].address",
    ),
    mistake(
        r#"address = "2001:db8::80""#,
        r#"address = "fe80::80""#,
        "services[0].address",
    ),
    mistake("metric = 0", "metric = -1", "services[0].metric"),
];

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn every_mistake_is_refused_with_line_and_remedy() -> Result<()> {
    Lab::run("bad-config", |lab| {
        cookies(lab.dir())?;
        let file = lab.dir().join("l2ha.toml");
        let good = GOOD.replace("DIR", &lab.dir().display().to_string());
        fs::write(&file, &good)?;
        let output = check(&file)?;
        ensure!(output.status.success(), "the good file: {}", said(&output));

        ensure!(MISTAKES.len() >= 30, "only {} mistakes", MISTAKES.len());
        let mut faults = Vec::new();
        for mistake in MISTAKES {
            if let Err(fault) = must_refuse(lab.dir(), &file, &good, mistake) {
                faults.push(format!("{:?}: {fault:#}", mistake.becomes));
            }
        }
        ensure!(
            faults.is_empty(),
            "{} of {} mistakes:\n{}",
            faults.len(),
            MISTAKES.len(),
            faults.join("\n")
        );
        lab.say(format_args!(
            "{} mistakes, each refused with its line and remedy",
            MISTAKES.len()
        ));
        Ok(())
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_running_daemon_is_not_touched_by_a_bad_file() -> Result<()> {
    Lab::run("bad-reload", |lab| {
        let (_cloud, hosts) = lab.cloud(CloudOptions::default(), &["server-1", "client"])?;
        let mut config = NodeConfig::new(lab, &hosts[0])?;
        let mut peer = NodeConfig::new(lab, &hosts[1])?;
        join(&mut config, &mut peer, Link::default())?;
        config.services.push(("web".into(), l2ha_lab::ANYCAST));
        let pins = config.pins();
        let daemon = Daemon::start(lab, config)?;
        let ns = &hosts[0].ns;
        let (pid, before) = (daemon.pid()?, Snapshot::take(ns, &pins)?);

        let good = fs::read_to_string(daemon.file())?;
        for (line, becomes) in [
            ("dead_interval = 3", "dead_interval = 1"),
            ("[ospf]", "[ospf"),
            ("[underlay]", "[underlay]\ncolour = \"blue\""),
            ("interface = \"eth0\"", "interface = \"\""),
        ] {
            ensure!(good.contains(line), "the lab's file has no {line}");
            fs::write(daemon.file(), good.replace(line, becomes))?;
            let mark = daemon.log_mark();
            daemon.signal(Signal::SIGHUP)?;
            let said = wait_for("a word in the log", PATIENCE, || {
                let said = daemon.log_since(mark);
                Ok(Some(said).filter(|said| said.contains(".toml:")))
            })
            .with_context(|| format!("after SIGHUP with `{becomes}`"))?;
            lab.say(format_args!("SIGHUP with `{becomes}`: {}", said.trim()));
            std::thread::sleep(std::time::Duration::from_millis(200));
            ensure!(daemon.pid()? == pid, "another daemon");
            let changes = before.changes(&Snapshot::take(ns, &pins)?);
            ensure!(changes.is_empty(), "it was touched: {changes:#?}");
            let status = daemon.status()?;
            ensure!(status["tunnels"][0]["up"] == true, "{status}");
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_daemon_with_a_bad_file_does_not_start_and_makes_nothing() -> Result<()> {
    Lab::run("bad-start", |lab| {
        let (_cloud, hosts) = lab.cloud(CloudOptions::default(), &["server-1"])?;
        let config = NodeConfig::new(lab, &hosts[0])?;
        let pins = config.pins();
        let file = lab.dir().join("bad.toml");
        fs::write(
            &file,
            config
                .toml()
                .replace("dead_interval = 3", "dead_interval = 1"),
        )?;
        let before = Snapshot::take(&hosts[0].ns, &pins)?;
        let binary = lab.binary()?.display().to_string();
        let path = file.display().to_string();
        let (status, said) = hosts[0].ns.try_run([&binary, "run", "--config", &path])?;
        ensure!(!status.success(), "it ran: {said}");
        ensure!(said.contains("ospf.dead_interval"), "{said}");
        let changes = before.changes(&Snapshot::take(&hosts[0].ns, &pins)?);
        ensure!(changes.is_empty(), "{changes:#?}");
        Ok(())
    })
}

/// Cookie files: good ones, one with something else in it, and one that all may read.
fn cookies(dir: &Path) -> Result<()> {
    for (name, text, mode) in [
        ("receive", "0123456789abcdef\n", 0o600),
        ("send", "fedcba9876543210\n", 0o600),
        ("garbled", "not a cookie\n", 0o600),
        ("open", "fedcba9876543210\n", 0o644),
    ] {
        let path = dir.join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

fn check(file: &Path) -> Result<Output> {
    Command::new(binary()?)
        .args(["check", "--config"])
        .arg(file)
        .output()
        .context("cannot start l2ha")
}

fn said(output: &Output) -> String {
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.push_str(&String::from_utf8_lossy(&output.stderr));
    said
}

fn must_refuse(dir: &Path, file: &Path, good: &str, mistake: &Mistake) -> Result<()> {
    let dir = dir.display().to_string();
    let [line, becomes] = [mistake.line, mistake.becomes].map(|text| text.replace("DIR", &dir));
    ensure!(
        good.lines().filter(|other| *other == line).count() == 1,
        "the good file must have the line `{line}` once"
    );
    let text: String = good
        .lines()
        .map(|other| if other == line { &becomes } else { other })
        .map(|line| format!("{line}\n"))
        .collect();
    // Where the line was changed, or, as said: `text#2` is the second line of that text.
    let number = if mistake.blamed.is_empty() {
        1 + good
            .lines()
            .position(|other| other == line)
            .context("the line is there")?
    } else {
        let (blamed, which) = match mistake.blamed.split_once('#') {
            Some((blamed, "2")) => (blamed, 2),
            _ => (mistake.blamed, 1),
        };
        1 + text
            .lines()
            .enumerate()
            .filter(|(_, line)| *line == blamed)
            .nth(which - 1)
            .with_context(|| format!("no line `{blamed}`"))?
            .0
    };
    fs::write(file, &text)?;
    let output = check(file)?;
    let said = said(&output);
    ensure!(!output.status.success(), "accepted: {said}");
    let place = format!("{}:{number}:", file.display());
    let blame: Vec<_> = said.lines().filter(|line| line.contains(&place)).collect();
    ensure!(!blame.is_empty(), "line {number} is not blamed: {said}");
    ensure!(
        blame.iter().any(|line| line.contains(mistake.says)),
        "`{}` is not said: {said}",
        mistake.says
    );
    for line in blame {
        let remedy = line.split_once("; ").map_or("", |(_, remedy)| remedy);
        ensure!(!remedy.trim().is_empty(), "no remedy: {line}");
    }
    Ok(())
}
