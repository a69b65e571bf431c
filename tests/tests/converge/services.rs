//! A service is advertised once packets to its address stay on this node, and not before.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::Ipv6Addr,
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use l2ha_lab::{CloudOptions, Daemon, Lab, Link, Namespace, NodeConfig, UNDERLAY, join};
use nix::sys::signal::Signal;
use serde_json::Value;

/// How many times new services are put in place.
const TIMES: u16 = 50;
/// How many each time: the kernel's work queue takes longer for several, and is more likely caught
/// with the last one.
const AT_ONCE: u16 = 8;
const PATIENCE: Duration = Duration::from_secs(30);

/// The kernel installs the local route of a new IPv6 address up to some milliseconds after it has
/// acknowledged the address; until then packets to it go where another server's route leads.
#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_new_service_is_advertised_when_its_address_is_local() -> Result<()> {
    Lab::run("services-local", |lab| {
        let (_cloud, hosts) = lab.cloud(CloudOptions::default(), &["host", "absent"])?;
        let [host, absent] = hosts.as_slice() else {
            bail!("two hosts were asked for");
        };
        // As a route to other servers of the same address would.
        host.ns
            .run(["ip", "route", "add", "2001:db8:80::/64", "dev", UNDERLAY])?;
        let mut config = NodeConfig::new(lab, host)?;
        // OSPF wants a tunnel; nothing has to answer there.
        join(
            &mut config,
            &mut NodeConfig::new(lab, absent)?,
            Link::default(),
        )?;
        let daemon = Daemon::start(lab, config)?;
        let mut lookup = RouteLookup::start(&host.ns)?;
        let mut early = Vec::new();
        for time in 0..TIMES {
            let new = (0..AT_ONCE).map(|number| {
                let address = Ipv6Addr::new(0x2001, 0xdb8, 0x80, 0, 0, 0, time, number);
                (format!("service-{time}-{number}"), address)
            });
            let new: Vec<_> = new.collect();
            daemon.reconfigure(|config| config.services.clone_from(&new))?;
            let socket = daemon.config().socket();
            daemon.signal(Signal::SIGHUP)?;
            wait_advertised(&socket, &new)?;
            for (_, address) in new.iter().rev() {
                let route = lookup.route(*address)?;
                if !route.starts_with("local ") {
                    early.push(route);
                }
            }
        }
        lab.say(format_args!(
            "{} of {} services were advertised before their address was local",
            early.len(),
            TIMES * AT_ONCE
        ));
        ensure!(early.is_empty(), "{early:#?}");
        Ok(())
    })
}

/// Waits until all services are advertised, without pausing: what is asked next is a matter of
/// microseconds. For the same reason this asks as `l2ha status` does, but without starting a process.
fn wait_advertised(socket: &Path, services: &[(String, Ipv6Addr)]) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        let mut client = UnixStream::connect(socket)?;
        client.write_all(b"{\"command\":\"status\"}\n")?;
        let mut line = String::new();
        BufReader::new(client).read_line(&mut line)?;
        let status: Value = serde_json::from_str(&line)?;
        let known = status["data"]["services"].as_array();
        let known = known.with_context(|| line.clone())?;
        let advertised = |name: &str| {
            let mut known = known.iter();
            known.any(|service| service["name"] == name && service["advertised"] == true)
        };
        if services.iter().all(|(name, _)| advertised(name)) {
            return Ok(());
        }
        ensure!(
            Instant::now() < until,
            "not all of {services:?} are advertised within {PATIENCE:?}: {line}"
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
