//! A service is advertised once packets to its address stay on this node, and not before.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::Ipv6Addr,
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{CloudOptions, Daemon, Lab, Namespace, NodeConfig, UNDERLAY};
use nix::sys::signal::Signal;
use serde_json::Value;

/// How many services are put in place, one after another.
const TIMES: u16 = 50;
const PATIENCE: Duration = Duration::from_secs(30);

/// The kernel installs the local route of a new IPv6 address up to some milliseconds after it has
/// acknowledged the address; until then packets to it go where another server's route leads.
#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_new_service_is_advertised_when_its_address_is_local() -> Result<()> {
    Lab::run("services-local", |lab| {
        let (_cloud, hosts) = lab.cloud(CloudOptions::default(), &["host"])?;
        let host = &hosts[0];
        // As a route to other servers of the same address would.
        host.ns
            .run(["ip", "route", "add", "2001:db8:80::/64", "dev", UNDERLAY])?;
        let daemon = Daemon::start(lab, NodeConfig::new(lab, host)?)?;
        let mut lookup = RouteLookup::start(&host.ns)?;
        let mut early = Vec::new();
        for number in 1..=TIMES {
            let name = format!("service-{number}");
            let address = Ipv6Addr::new(0x2001, 0xdb8, 0x80, 0, 0, 0, 0, number);
            daemon.reconfigure(|config| config.services.push((name.clone(), address)))?;
            let socket = daemon.config().socket();
            daemon.signal(Signal::SIGHUP)?;
            wait_advertised(&socket, &name)?;
            let route = lookup.route(address)?;
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

/// Waits for a service without pausing: what is asked next is a matter of microseconds. For the
/// same reason this asks as `l2ha status` does, but without starting a process.
fn wait_advertised(socket: &Path, name: &str) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        let mut client = UnixStream::connect(socket)?;
        client.write_all(b"{\"command\":\"status\"}\n")?;
        let mut line = String::new();
        BufReader::new(client).read_line(&mut line)?;
        let status: Value = serde_json::from_str(&line)?;
        let services = status["data"]["services"].as_array();
        let advertised = services
            .with_context(|| line.clone())?
            .iter()
            .any(|service| service["name"] == name && service["advertised"] == true);
        if advertised {
            return Ok(());
        }
        ensure!(
            Instant::now() < until,
            "{name} is not advertised within {PATIENCE:?}: {line}"
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
