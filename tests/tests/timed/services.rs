//! A service is advertised once packets to its address stay on this node, and not before. This keeps
//! all processors busy in real-time priority, so nothing else that measures time may run beside it.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::Ipv6Addr,
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use l2ha_lab::{
    CloudOptions, Daemon, Lab, Link, Namespace, NodeConfig, UNDERLAY, cores, join, stay_on,
    stay_on_last_core,
};
use nix::{sys::signal::Signal, unistd::gettid};
use serde_json::Value;

/// How many services are put in place, one after another.
const TIMES: u16 = 50;
const PATIENCE: Duration = Duration::from_secs(30);

/// The kernel installs the local route of a new IPv6 address in a work queue after it has
/// acknowledged the address; until then packets to it go where another server's route leads.
#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_new_service_is_advertised_when_its_address_is_local() -> Result<()> {
    Lab::run("services-local", |lab| {
        let mut others = cores()?;
        others.pop();
        hold_processor()?;
        let (_cloud, hosts) = lab.cloud(CloudOptions::default(), &["host", "other"])?;
        let [host, other] = hosts.as_slice() else {
            bail!("two hosts were asked for");
        };
        // As a route to other servers of the same address would.
        host.ns
            .run(["ip", "route", "add", "2001:db8:80::/64", "dev", UNDERLAY])?;
        let mut config = NodeConfig::new(lab, host)?;
        // OSPF needs a tunnel; there is no daemon at its other end.
        let mut absent = NodeConfig::new(lab, other)?;
        join(&mut config, &mut absent, Link::default())?;
        let daemon = Daemon::start(lab, config)?;
        let mut lookup = RouteLookup::start(&host.ns)?;
        let mut early = Vec::new();
        for number in 1..=TIMES {
            let name = format!("service-{number}");
            let address = Ipv6Addr::new(0x2001, 0xdb8, 0x80, 0, 0, 0, 0, number);
            daemon.reconfigure(|config| config.services.push((name.clone(), address)))?;
            let socket = daemon.config().socket();
            let route = while_processors_are_busy(&others, || {
                daemon.signal(Signal::SIGHUP)?;
                route_when_advertised(&socket, &name, address, &mut lookup)
            })?;
            if !route.starts_with("local ") {
                early.push(route);
            }
        }
        lab.say(format_args!(
            "{} of {TIMES} services were advertised before their address was local",
            early.len()
        ));
        ensure!(early.is_empty(), "{early:#?}");
        Ok(())
    })
}

/// Puts this thread, and with it the daemon and the `ip` that it starts, on the last processor in
/// real-time priority.
fn hold_processor() -> Result<()> {
    stay_on_last_core()?;
    let status = Command::new("chrt")
        .args(["--fifo", "--pid", "1"])
        .arg(gettid().to_string())
        .status()
        .context("cannot start chrt")?;
    ensure!(status.success(), "chrt: {status}");
    Ok(())
}

/// Does `work` while the other processors are busy in real-time priority too. The kernel's work queue
/// comes only when this thread, the daemon and `ip` all wait: without that, the local route would
/// most often be there before anything could be seen of its absence.
fn while_processors_are_busy<T>(cores: &[usize], work: impl FnOnce() -> T) -> T {
    let (done, ready) = (AtomicBool::new(false), Barrier::new(cores.len() + 1));
    thread::scope(|scope| {
        for core in cores {
            scope.spawn(|| {
                let moved = stay_on(*core);
                ready.wait();
                while moved.is_ok() && !done.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        ready.wait();
        let result = work();
        done.store(true, Ordering::Relaxed);
        result
    })
}

/// Asks as `l2ha status` does until a service is advertised, and the kernel for the route to its
/// address as soon as that answer is there, before it is read: every millisecond counts.
fn route_when_advertised(
    socket: &Path,
    name: &str,
    address: Ipv6Addr,
    lookup: &mut RouteLookup,
) -> Result<String> {
    let until = Instant::now() + PATIENCE;
    loop {
        let mut client = UnixStream::connect(socket)?;
        client.write_all(b"{\"command\":\"status\"}\n")?;
        let mut answer = String::new();
        BufReader::new(client).read_line(&mut answer)?;
        let route = lookup.route(address)?;
        let status: Value = serde_json::from_str(&answer)?;
        let services = status["data"]["services"].as_array();
        let advertised = services
            .with_context(|| answer.clone())?
            .iter()
            .any(|service| service["name"] == name && service["advertised"] == true);
        if advertised {
            return Ok(route);
        }
        ensure!(
            Instant::now() < until,
            "{name} is not advertised within {PATIENCE:?}: {answer}"
        );
    }
}

/// A running `ip -6 -batch` to ask the kernel for routes.
struct RouteLookup {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl RouteLookup {
    fn start(ns: &Namespace) -> Result<Self> {
        let mut command = Command::new("ip");
        command
            .args(["-6", "-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        ns.place(&mut command)?;
        let mut child = command.spawn().context("cannot start ip")?;
        Ok(Self {
            commands: child.stdin.take().context("no standard input")?,
            answers: BufReader::new(child.stdout.take().context("no standard output")?),
            child,
        })
    }

    /// What `ip -6 route get` says.
    fn route(&mut self, address: Ipv6Addr) -> Result<String> {
        writeln!(self.commands, "route get {address}")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line)
    }
}

impl Drop for RouteLookup {
    fn drop(&mut self) {
        // It has ended already if that fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
