//! The process of a service dies, hangs, or comes late: the address goes where it lives.

use std::{
    env,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{
    ANYCAST, Lab, Member, PATIENCE, Probe, Process, SERVER_1, SERVER_2, Trio, TrioOptions, is_deep,
    judged, wait_for,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use socket2::{Domain, Protocol, Socket, Type};

/// Set for the process that is the service: what it answers.
const NAME: &str = "L2HA_LAB_SERVICE";
/// What the check asks, every 100 ms, with 2 failures and 3 successes.
const CHECK: &str = "interval = \"100ms\", timeout = \"200ms\", fall = 2, rise = 3";
/// A metric that changes twice within this time is told late (MinLSInterval), so drills are further apart.
const APART: Duration = Duration::from_secs(6);
/// How long a change is watched.
const SETTLE: Duration = Duration::from_millis(300);

/// Not a test but the service of the others, in a process of its own that can be killed.
#[test]
#[ignore = "the service of the other tests"]
fn service() -> Result<()> {
    let Ok(name) = env::var(NAME) else {
        return Ok(());
    };
    let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_freebind_v6(true)?;
    socket.bind(&SocketAddr::from((ANYCAST, 80)).into())?;
    socket.listen(256)?;
    for stream in TcpListener::from(socket).incoming() {
        let name = name.clone();
        let stream = stream?;
        thread::spawn(move || reply(stream, &name));
    }
    Ok(())
}

/// Answers one question; a client that goes away is its own affair.
fn reply(mut stream: TcpStream, name: &str) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    while !head.ends_with(b"\r\n\r\n") {
        let length = stream.read(&mut piece)?;
        if length == 0 {
            return Ok(());
        }
        head.extend_from_slice(&piece[..length]);
    }
    let length = name.len() + 1;
    let answer =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{name}\n");
    stream.write_all(answer.as_bytes())
}

/// Starts the service on a server.
fn start(member: &Member) -> Result<Process> {
    let mut command = Command::new(env::current_exe()?);
    command
        .args(["--exact", "health::service", "--ignored", "--nocapture"])
        .env(NAME, &member.host.name)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    member.host.ns.spawn(command)
}

fn signal(process: &Process, signal: Signal) -> Result<()> {
    kill(Pid::from_raw(i32::try_from(process.pid())?), signal).context("cannot signal the service")
}

/// Two servers whose services are processes, both healthy, and a client.
struct Checked {
    trio: Trio,
    services: [Mutex<Process>; 2],
}

impl Checked {
    fn start(lab: &Lab, check: &str) -> Result<Self> {
        let options = TrioOptions {
            web: false,
            ..TrioOptions::default()
        };
        let trio = Trio::start(lab, options)?;
        let services = [start(&trio.first)?, start(&trio.second)?].map(Mutex::new);
        for member in [&trio.first, &trio.second] {
            set_check(member, check)?;
            wait_state(member, "passing", false)?;
        }
        trio.wait_full()?;
        Ok(Self { trio, services })
    }

    /// The process of the preferred server's service.
    fn first(&self) -> std::sync::MutexGuard<'_, Process> {
        self.services[0]
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Starts the preferred server's service again, and waits until it serves for long enough to be told of anew.
    fn restart(&self, probe: &Probe) -> Result<()> {
        let from = Instant::now();
        *self.first() = start(&self.trio.first)?;
        probe.wait_served_by(SERVER_1, from, 20, PATIENCE)?;
        thread::sleep(APART);
        Ok(())
    }
}

/// Gives the service of a server this check.
fn set_check(member: &Member, check: &str) -> Result<()> {
    let service =
        format!("\n[[services]]\nname = \"web\"\naddress = \"{ANYCAST}\"\ncheck = {{ {check} }}\n");
    member.daemon.reload(|config| {
        config.services.clear();
        config.more = service;
    })
}

/// Waits until the service of a server is in a state, and the last resort or not.
fn wait_state(member: &Member, state: &str, last_resort: bool) -> Result<()> {
    wait_for(&format!("a service that is {state}"), PATIENCE, || {
        let status = member.daemon.status()?;
        let service = &status["services"][0];
        let so = service["health"]["state"] == state && service["last_resort"] == last_resort;
        ensure!(so, "{service}");
        Ok(Some(()))
    })
}

/// What the client's longest gap is when something happens to the service of the preferred server.
fn gap(
    checked: &Checked,
    probe: &Probe,
    act: impl Fn() -> Result<()>,
) -> Result<(Instant, Duration)> {
    let from = Instant::now();
    act()?;
    probe.wait_served_by(SERVER_2, from, 20, PATIENCE)?;
    thread::sleep(SETTLE);
    wait_state(&checked.trio.first, "failed", true)?;
    Ok((from, probe.longest_gap(from, Instant::now())))
}

/// Plays a failure some times: each gap within its limit, and the median too.
fn drills(
    lab: &Lab,
    checked: &Checked,
    what: &str,
    (limit, median): (u64, u64),
    act: impl Fn() -> Result<()>,
    undo: impl Fn(&Probe) -> Result<()>,
) -> Result<()> {
    let [limit, median] = [limit, median].map(Duration::from_millis);
    let probe = checked.trio.probe()?;
    thread::sleep(APART);
    let mut gaps = Vec::new();
    for _ in 0..if is_deep() { 20 } else { 3 } {
        gaps.push(judged(lab, what, |step| {
            let (from, gap) = gap(checked, &probe, &act)?;
            step.window(from, Instant::now(), limit);
            undo(&probe)?;
            ensure!(gap <= limit, "{what}: {gap:.1?}, allowed {limit:?}");
            Ok(gap)
        })?);
    }
    gaps.sort_unstable();
    lab.say(format_args!("{what}: {gaps:.1?}"));
    let middle = gaps[gaps.len() / 2];
    ensure!(
        middle <= median,
        "{what}: median {middle:.1?}, allowed {median:?}"
    );
    Ok(())
}

/// The service asked by HTTP.
fn http() -> String {
    format!("http = \"http://[{ANYCAST}]/\", {CHECK}")
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_closed_socket_is_noticed_at_once() -> Result<()> {
    Lab::run("health-closed", |lab| {
        let checked = Checked::start(lab, &http())?;
        let act = || signal(&checked.first(), Signal::SIGKILL);
        let undo = |probe: &Probe| checked.restart(probe);
        drills(lab, &checked, "closed", (60, 60), act, undo)?;
        // All is as it was.
        let status = checked.trio.first.daemon.l2ha(&["status"])?;
        ensure!(status.contains("healthy"), "{status}");
        Ok(())
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_killed_service_is_noticed_by_its_intervals() -> Result<()> {
    Lab::run("health-killed", |lab| {
        // A program has no socket that could be looked for.
        let script = format!("exec 3<>/dev/tcp/{ANYCAST}/80");
        let check = format!("exec = [\"/bin/bash\", \"-c\", \"{script}\"], {CHECK}");
        let checked = Checked::start(lab, &check)?;
        let act = || signal(&checked.first(), Signal::SIGKILL);
        let undo = |probe: &Probe| checked.restart(probe);
        drills(lab, &checked, "killed", (350, 250), act, undo)
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_service_that_hangs_is_noticed_by_the_timeout() -> Result<()> {
    Lab::run("health-hung", |lab| {
        let checked = Checked::start(lab, &http())?;
        let act = || signal(&checked.first(), Signal::SIGSTOP);
        let undo = |probe: &Probe| {
            let from = Instant::now();
            signal(&checked.first(), Signal::SIGCONT)?;
            probe.wait_served_by(SERVER_1, from, 20, PATIENCE)?;
            thread::sleep(APART);
            Ok(())
        };
        drills(lab, &checked, "hung", (700, 700), act, undo)
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_service_that_comes_late_after_a_boot_loses_nothing() -> Result<()> {
    Lab::run("health-boot", |lab| {
        let checked = Checked::start(lab, &http())?;
        let server = &checked.trio.first;
        let probe = checked.trio.probe()?;
        thread::sleep(APART);
        let from = Instant::now();
        server.daemon.stop()?;
        probe.wait_served_by(SERVER_2, from, 20, PATIENCE)?;
        signal(&checked.first(), Signal::SIGKILL)?;
        judged(lab, "boot", |step| {
            let from = Instant::now();
            let (failures, _) = probe.failures();
            server.daemon.run()?;
            checked.trio.wait_full()?;
            wait_state(server, "waiting", false)?;
            thread::sleep(Duration::from_secs(3));
            let late = Instant::now();
            *checked.first() = start(server)?;
            probe.wait_served_by(SERVER_1, late, 20, PATIENCE)?;
            thread::sleep(SETTLE);
            step.window(from, Instant::now(), Duration::from_millis(100));
            let lost = probe.failures();
            // To be played again.
            signal(&checked.first(), Signal::SIGKILL)?;
            server.daemon.stop()?;
            probe.wait_served_by(SERVER_2, late, 20, PATIENCE)?;
            ensure!(lost.0 == failures, "{} lost: {lost:?}", lost.0 - failures);
            Ok(())
        })
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_check_that_fails_everywhere_moves_nothing() -> Result<()> {
    Lab::run("health-wrong", |lab| {
        let file = lab.dir().join("database");
        std::fs::write(&file, "")?;
        let check = format!("exec = [\"/bin/test\", \"-e\", {file:?}], {CHECK}");
        let checked = Checked::start(lab, &check)?;
        let probe = checked.trio.probe()?;
        thread::sleep(APART);
        let (failures, _) = probe.failures();
        std::fs::remove_file(&file)?;
        let servers = [&checked.trio.first, &checked.trio.second];
        for server in servers {
            wait_state(server, "failed", true)?;
        }
        let from = Instant::now();
        probe.wait_served_by(SERVER_1, from, 100, PATIENCE)?;
        let lost = probe.failures();
        ensure!(lost.0 == failures, "{} lost: {lost:?}", lost.0 - failures);
        let status = servers[0].daemon.status()?;
        let health = &status["services"][0]["health"];
        ensure!(
            health["reason"] == "/bin/test ended with status 1" && health["check"] == 1,
            "{health}"
        );
        Ok(())
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_service_is_drained_alone_and_its_changes_are_told() -> Result<()> {
    Lab::run("health-drain", |lab| {
        let checked = Checked::start(lab, &http())?;
        let server = &checked.trio.first;
        let told = lab.dir().join("told");
        let script = format!(
            "echo $L2HA_SERVICE $L2HA_STATE $L2HA_REASON >> {}",
            told.display()
        );
        server.daemon.reload(|config| {
            let tell = format!("on_change = [\"/bin/sh\", \"-c\", \"{script}\"]\n");
            config.more.push_str(&tell);
        })?;
        let probe = checked.trio.probe()?;
        thread::sleep(APART);
        let from = Instant::now();
        server.daemon.l2ha(&["drain", "--service", "web"])?;
        probe.wait_served_by(SERVER_2, from, 20, PATIENCE)?;
        wait_state(server, "passing", true)?;
        // The node itself is not drained, and healthy.
        let status = server.daemon.l2ha(&["status"])?;
        ensure!(
            status.contains("healthy") && status.contains("last resort, drained"),
            "{status}"
        );
        // It stays so over a restart.
        server.daemon.leave()?;
        server.daemon.run()?;
        checked.trio.wait_full()?;
        wait_state(server, "passing", true)?;
        let from = Instant::now();
        server
            .daemon
            .l2ha(&["drain", "--service", "web", "--off"])?;
        probe.wait_served_by(SERVER_1, from, 20, PATIENCE)?;
        signal(&checked.first(), Signal::SIGKILL)?;
        wait_state(server, "failed", true)?;
        let reason = format!("web last-resort GET http://[{ANYCAST}]/");
        wait_for("the changes to be told", PATIENCE, || {
            let text = std::fs::read_to_string(&told)?;
            let lines: Vec<&str> = text.lines().collect();
            ensure!(
                lines.len() == 3
                    && lines[0] == "web last-resort drained"
                    && lines[1].trim_end() == "web advertised"
                    && lines[2].starts_with(&reason),
                "{text}"
            );
            Ok(Some(()))
        })
    })
}
