//! `l2ha doctor`: each finding is brought about for real, and is gone after the command that was
//! printed.

use std::{fs, net::Ipv4Addr, path::PathBuf, sync::Arc};

use anyhow::{Context as _, Result, bail, ensure};
use l2ha_lab::{
    Cloud, CloudOptions, Daemon, Foreign, Frr, Host, Kind, Lab, LinkHook, NodeConfig, NodeFile,
    RouterConfig, TunnelConfig, UNDERLAY, attached,
};
use serde_json::Value;

/// Exit status of `l2ha doctor`.
const FINE: i32 = 0;
const WARNING: i32 = 1;
const ERROR: i32 = 2;

/// A host to look at.
struct Patient<'a> {
    lab: &'a Lab,
    cloud: Arc<Cloud>,
    host: Arc<Host>,
    binary: PathBuf,
}

impl<'a> Patient<'a> {
    fn new(lab: &'a Lab, mtu: u16) -> Result<Self> {
        let options = CloudOptions {
            mtu,
            ..CloudOptions::default()
        };
        let (cloud, hosts) = lab.cloud(options, &["host"])?;
        Ok(Self {
            lab,
            cloud,
            host: Arc::clone(&hosts[0]),
            binary: lab.binary()?,
        })
    }

    /// What `l2ha doctor --json` says, and its exit status.
    fn examine(&self, arguments: &[&str]) -> Result<(Value, i32)> {
        let binary = self.binary.to_string_lossy();
        let mut words = vec![&*binary, "doctor", "--json"];
        words.extend(arguments);
        let (status, text) = self.host.ns.try_run(&words)?;
        let answer: Value =
            serde_json::from_str(&text).with_context(|| format!("{words:?}: {text}"))?;
        ensure!(
            answer["unknown"] == Value::Array(Vec::new()),
            "not learned: {}",
            answer["unknown"]
        );
        Ok((answer, status.code().context("a signal")?))
    }

    fn find(&self, arguments: &[&str], id: &str) -> Result<Option<Value>> {
        let (answer, _) = self.examine(arguments)?;
        let findings = answer["findings"].as_array().context("no findings")?;
        Ok(findings.iter().find(|it| it["id"] == id).cloned())
    }

    /// The finding is there with this exit status; its command is run as it was printed; it is gone.
    /// Returns its text.
    fn mend(&self, arguments: &[&str], id: &str, expected: i32) -> Result<String> {
        let (answer, status) = self.examine(arguments)?;
        ensure!(status == expected, "{id}: exit status {status}: {answer}");
        let Some(finding) = self.find(arguments, id)? else {
            bail!("{id} is not found: {answer}");
        };
        let command = finding["command"]
            .as_str()
            .with_context(|| format!("no command: {finding}"))?;
        self.host.ns.run(["sh", "-c", command])?;
        let after = self.find(arguments, id)?;
        ensure!(after.is_none(), "after `{command}`: {after:?}");
        self.lab.say(format_args!("{id}: {command}"));
        Ok(finding["text"].as_str().unwrap_or_default().to_owned())
    }

    /// Nothing, not even a note, is found.
    fn must_be_healthy(&self, arguments: &[&str]) -> Result<()> {
        let (answer, status) = self.examine(arguments)?;
        let findings = answer["findings"].as_array().context("no findings")?;
        ensure!(findings.is_empty() && status == FINE, "{status}: {answer}");
        Ok(())
    }

    /// What hangs on the host's interfaces.
    fn programs(&self) -> Result<Vec<u64>> {
        let programs = attached(&self.host.ns)?;
        Ok(programs.iter().map(|program| program.id).collect())
    }
}

const BARE: &[&str] = &["--interface", UNDERLAY];
const TRY: &[&str] = &["--interface", UNDERLAY, "--try"];

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn an_mtu_too_large_for_native_xdp() -> Result<()> {
    Lab::run("doctor-mtu", |lab| {
        let patient = Patient::new(lab, 9000)?;
        let said = patient.mend(TRY, "xdp-mtu", WARNING)?;
        // The driver was asked, and says the same.
        ensure!(said.contains("Peer MTU is too large"), "{said}");
        patient.must_be_healthy(TRY)?;
        ensure!(patient.programs()?.is_empty(), "the trial left a program");
        Ok(())
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn too_few_queues_for_native_xdp() -> Result<()> {
    for (name, most, command) in [
        ("doctor-queues-own", 2, "ethtool -L eth1 rx 2"),
        ("doctor-queues-other", 1, "ethtool -L up1 tx 1"),
    ] {
        Lab::run(name, |lab| {
            let patient = Patient::new(lab, 1500)?;
            let router = patient.cloud.router();
            router.ip_batch(&format!(
                "link add up1 numtxqueues 2 numrxqueues 2 type veth \
                 peer name eth1 numtxqueues {most} numrxqueues {most} netns {}\n\
                 link set up1 up\n",
                patient.host.ns.name()
            ))?;
            patient.host.ns.run(["ip", "link", "set", "eth1", "up"])?;
            for (ns, interface) in [(router, "up1"), (&patient.host.ns, "eth1")] {
                ns.run(["ethtool", "-K", interface, "tx", "off"])?;
            }
            router.run(["ethtool", "-L", "up1", "rx", "1", "tx", "2"])?;
            let channels = ["ethtool", "-L", "eth1", "rx", "1"];
            // With one queue there is nothing to be set.
            let _ = patient.host.ns.try_run(channels)?;
            let arguments = ["--interface", "eth1", "--try"];
            let found = patient.find(&arguments, "xdp-queues")?;
            let printed = found.as_ref().and_then(|it| it["command"].as_str());
            ensure!(
                printed.is_some_and(|printed| printed.ends_with(command)),
                "{found:?}"
            );
            let said = patient.mend(&arguments, "xdp-queues", WARNING)?;
            ensure!(said.contains("number of rx queues"), "{said}");
            patient.must_be_healthy(&arguments)
        })?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn offloads_that_join_packets_or_leave_checksums_open() -> Result<()> {
    Lab::run("doctor-offloads", |lab| {
        let patient = Patient::new(lab, 1500)?;
        patient.must_be_healthy(BARE)?;
        let own = &patient.host.ns;
        for (feature, id) in [
            ("rx-gro-list", "gro-list"),
            ("rx-udp-gro-forwarding", "udp-gro-forwarding"),
        ] {
            own.run(["ethtool", "-K", UNDERLAY, feature, "on"])?;
            patient.mend(BARE, id, WARNING)?;
            patient.must_be_healthy(BARE)?;
        }
        let router = patient.cloud.router();
        router.run(["ethtool", "-K", &patient.host.port(), "tx", "on"])?;
        patient.mend(BARE, "partial-checksums", WARNING)?;
        patient.must_be_healthy(BARE)
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn foreign_programs_are_named_and_can_be_detached() -> Result<()> {
    Lab::run("doctor-foreign", |lab| {
        let patient = Patient::new(lab, 1500)?;
        let ns = &patient.host.ns;
        let xdp = Foreign::load(Kind::Xdp, "their_xdp")?;
        let xdp_id = xdp.id().to_string();
        let named = |said: &str, name: &str, id: u32| {
            ensure!(said.contains(&format!("{name} (id {id}, tag ")), "{said}");
            Ok(())
        };
        for (mode, id) in [("xdpdrv", "foreign-xdp"), ("xdpgeneric", "generic-xdp")] {
            ns.run([
                "bpftool", "net", "attach", mode, "id", &xdp_id, "dev", UNDERLAY,
            ])?;
            ensure!(patient.programs()? == [u64::from(xdp.id())]);
            let said = patient.mend(BARE, id, WARNING)?;
            named(&said, "their_xdp", xdp.id())?;
            ensure!(said.contains("attached by netlink"), "{said}");
            ensure!(patient.programs()?.is_empty(), "{id} is still there");
        }
        let link = xdp.link(ns, UNDERLAY, LinkHook::Xdp)?;
        let said = patient.mend(BARE, "foreign-xdp", WARNING)?;
        named(&said, "their_xdp", xdp.id())?;
        ensure!(said.contains("attached by bpf_link"), "{said}");
        drop(link);
        links_of_other_namespaces_are_safe(&patient)?;

        let mut tc = Foreign::load(Kind::Tc, "their_tc")?;
        let pin = PathBuf::from(format!("/sys/fs/bpf/l2ha-{}-doctor", lab.prefix()));
        tc.pin(&pin)?;
        let pin = pin.to_string_lossy();
        ns.run(["tc", "qdisc", "add", "dev", UNDERLAY, "clsact"])?;
        for hook in ["ingress", "egress"] {
            ns.run([
                "tc",
                "filter",
                "add",
                "dev",
                UNDERLAY,
                hook,
                "bpf",
                "da",
                "object-pinned",
                &pin,
            ])?;
            let said = patient.mend(BARE, "foreign-tc", WARNING)?;
            named(&said, "their_tc", tc.id())?;
            ensure!(said.contains(hook), "{said}");
        }
        match tc.link(ns, UNDERLAY, LinkHook::TcxIngress) {
            Ok(_link) => {
                let said = patient.mend(BARE, "foreign-tcx", WARNING)?;
                named(&said, "their_tc", tc.id())?;
            }
            // Linux before 6.6.
            Err(error) => lab.say(format_args!("no tcx here: {error:#}")),
        }
        patient.must_be_healthy(BARE)
    })
}

/// Interfaces of other namespaces have the same index, and may have the same program.
fn links_of_other_namespaces_are_safe(patient: &Patient<'_>) -> Result<()> {
    let here = &patient.host.ns;
    let other = patient.cloud.host("other")?;
    ensure!(
        here.ifindex(UNDERLAY)? == other.ns.ifindex(UNDERLAY)?,
        "this says nothing: the interfaces have different indices"
    );
    let (first, second) = (
        Foreign::load(Kind::Xdp, "their_first")?,
        Foreign::load(Kind::Xdp, "their_second")?,
    );
    let _elsewhere = first.link(&other.ns, UNDERLAY, LinkHook::Xdp)?;
    let untouched = || -> Result<()> {
        let there: Vec<u64> = attached(&other.ns)?.iter().map(|it| it.id).collect();
        ensure!(there == [u64::from(first.id())], "elsewhere: {there:?}");
        Ok(())
    };

    // Another program, by a link; the same program, by netlink; the same program, by a link.
    let link = second.link(here, UNDERLAY, LinkHook::Xdp)?;
    patient.mend(BARE, "foreign-xdp", WARNING)?;
    drop(link);
    untouched()?;
    let id = first.id().to_string();
    here.run([
        "bpftool", "net", "attach", "xdpdrv", "id", &id, "dev", UNDERLAY,
    ])?;
    let said = patient.mend(BARE, "foreign-xdp", WARNING)?;
    ensure!(said.contains("attached by netlink"), "{said}");
    untouched()?;
    let link = first.link(here, UNDERLAY, LinkHook::Xdp)?;
    let found = patient.find(BARE, "foreign-xdp")?.context("not found")?;
    ensure!(found["command"].is_null(), "a guess: {found}");
    drop(link);
    untouched()
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn unmet_needs_of_the_configuration_are_found() -> Result<()> {
    Lab::run("doctor-config", |lab| {
        let patient = Patient::new(lab, 1500)?;
        let bpffs = lab.dir().join("bpf");
        fs::create_dir_all(&bpffs)?;
        let write = |name: &str, bpffs: &str, mtu: u16| -> Result<String> {
            let file = lab.dir().join(name);
            let mut node = NodeFile::new("patient", UNDERLAY, &[patient.host.v4.into()]);
            let remote = Ipv4Addr::new(10, 77, 0, 200).into();
            node.tunnels.push(TunnelConfig {
                more: vec![format!("mtu = {mtu}")],
                ..TunnelConfig::new("peer", remote, 1, 2)
            });
            // More of `[node]`, which comes first.
            let bpffs = format!("[node]\nbpffs = {bpffs:?}");
            fs::write(&file, node.toml().replacen("[node]", &bpffs, 1))?;
            Ok(file.to_string_lossy().into_owned())
        };
        let good = write("good.toml", "/sys/fs/bpf", 1400)?;
        patient.must_be_healthy(&["--config", &good])?;

        let address = format!("{}/32", patient.host.v4);
        let own = &patient.host.ns;
        own.run(["ip", "addr", "del", &address, "dev", UNDERLAY])?;
        patient.mend(&["--config", &good], "address-missing", ERROR)?;
        own.run(["ip", "link", "set", UNDERLAY, "down"])?;
        patient.mend(&["--config", &good], "interface-down", ERROR)?;
        let port = patient.host.port();
        let router = patient.cloud.router();
        router.run(["ip", "link", "set", &port, "down"])?;
        patient.mend(&["--config", &good], "no-carrier", ERROR)?;
        patient.must_be_healthy(&["--config", &good])?;

        let large = write("large.toml", "/sys/fs/bpf", 1500)?;
        patient.mend(&["--config", &large], "tunnel-mtu", WARNING)?;
        patient.must_be_healthy(&["--config", &large])?;

        // Mounted where no other process sees it.
        let elsewhere = write("elsewhere.toml", &bpffs.to_string_lossy(), 1400)?;
        let arguments = ["--config", elsewhere.as_str()];
        let found = patient.find(&arguments, "bpffs-missing")?;
        let found = found.context("bpffs-missing is not found")?;
        let command = found["command"].as_str().context("no command")?;
        let binary = patient.binary.display();
        let script = format!("{command} && {binary} doctor --json --config {elsewhere}");
        let after = own.run(["unshare", "--mount", "sh", "-c", &script])?;
        let after: Value = serde_json::from_str(&after)?;
        ensure!(after["findings"] == Value::Array(Vec::new()), "{after}");
        lab.say(format_args!("bpffs-missing: {command}"));

        let missing = patient.find(&["--interface", "eth9"], "interface-missing")?;
        ensure!(missing.is_some_and(|it| it["severity"] == "error"));
        Ok(())
    })
}

/// By its routes and, where FRR runs in the same network namespace, by its processes.
#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn another_routing_daemon_on_the_host_is_named() -> Result<()> {
    Lab::run("doctor-daemons", |lab| {
        let patient = Patient::new(lab, 1500)?;
        let host = &patient.host;
        let mut node = NodeConfig::new(lab, host)?;
        let remote = Ipv4Addr::new(10, 77, 0, 200).into();
        node.tunnels.push(TunnelConfig::new("peer", remote, 1, 2));
        let file = lab.dir().join("node.toml");
        fs::write(&file, node.toml())?;
        let file = file.to_string_lossy().into_owned();
        let arguments = ["--config", file.as_str()];
        let id = "routing-daemon";
        let found = patient.find(&arguments, id)?;
        ensure!(found.is_none(), "{found:?}");

        let route = "192.0.2.0/24 dev lo proto bird metric 20";
        host.ns.ip_batch(&format!("route add {route}\n"))?;
        let found = patient.find(&arguments, id)?.context("not found")?;
        let text = found["text"].as_str().context("a text")?;
        ensure!(text.contains("1 of `proto bird` metric 20"), "{text}");
        ensure!(found["severity"] == "warning", "{found}");
        host.ns.ip_batch(&format!("route del {route}\n"))?;

        let _frr = Frr::start(
            lab,
            host,
            &RouterConfig::new([10, 9, 9, 9].into(), Vec::new()),
        )?;
        let found = patient.find(&arguments, id)?.context("not found")?;
        let text = found["text"].as_str().context("a text")?;
        ensure!(text.contains("ospf6d") && text.contains("zebra"), "{text}");
        let binary = patient.binary.to_string_lossy();
        let said = host.ns.run([&*binary, "check", "--config", &file])?;
        ensure!(
            said.contains("note: this host: ") && said.contains("zebra"),
            "{said}"
        );
        Ok(())
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn the_daemon_says_the_same_at_its_start_and_leaves_others_alone() -> Result<()> {
    Lab::run("doctor-daemon", |lab| {
        let patient = Patient::new(lab, 1500)?;
        let ns = &patient.host.ns;
        let xdp = Foreign::load(Kind::Xdp, "their_xdp")?;
        let id = xdp.id().to_string();
        ns.run([
            "bpftool", "net", "attach", "xdpdrv", "id", &id, "dev", UNDERLAY,
        ])?;
        ns.run(["ethtool", "-K", UNDERLAY, "rx-gro-list", "on"])?;
        let daemon = Daemon::start(lab, NodeConfig::tunnels_only(lab, &patient.host)?)?;
        let log = daemon.log_since(0);
        for command in [
            "ethtool -K eth0 rx-gro-list off",
            "ip link set dev eth0 xdpdrv off",
        ] {
            let said = |line: &str| line.contains("WARN") && line.contains(command);
            ensure!(
                log.lines().any(said),
                "`{command}` is not in the log: {log}"
            );
        }
        let status = daemon.status()?;
        ensure!(
            status["findings"] == serde_json::json!(["gro-list", "foreign-xdp"]),
            "{}",
            status["findings"]
        );
        ensure!(status["underlay"]["hook"] == "tc", "{status}");
        ensure!(patient.programs()?.contains(&u64::from(xdp.id())));
        let text = daemon.l2ha(&["status"])?;
        ensure!(text.contains("see `l2ha doctor`"), "{text}");

        // Its own programs are none of the findings, nor are those of another node's tc filters.
        ns.run(["sh", "-c", "ip link set dev eth0 xdpdrv off"])?;
        ns.run(["sh", "-c", "ethtool -K eth0 rx-gro-list off"])?;
        daemon.stop()?;
        daemon.run()?;
        let status = daemon.status()?;
        ensure!(status["underlay"]["hook"] == "xdp", "{status}");
        let file = daemon.file().to_string_lossy().into_owned();
        patient.must_be_healthy(&["--config", &file])?;
        patient.must_be_healthy(BARE)
    })
}
