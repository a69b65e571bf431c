//! Who owns the underlay's interface: one daemon, the one before it, or nobody any more.

use std::{net::UdpSocket, process::Command};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{
    CloudOptions, Daemon, Lab, Link, NodeConfig, PATIENCE, Pair, Snapshot, attached, join, wait_for,
};
use serde_json::Value;

/// Runs `l2ha` with these words in a host's namespace: its exit status, and what it says.
fn l2ha(daemon: &Daemon, words: &[&str]) -> Result<(Option<i32>, String)> {
    let mut command = Command::new(daemon.binary());
    command.args(words);
    daemon.config().host.ns.place(&mut command)?;
    let output = command.output()?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.code(), String::from_utf8(said)?))
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_second_daemon_on_the_interface_is_refused_and_names_the_first() -> Result<()> {
    Lab::run("owners-second", |lab| {
        let pair = Pair::start(lab, "tc")?;
        let first = &pair.sender;
        let mut second = first.config().clone();
        second.name.push_str("-second");
        // Nothing in common but the interface.
        second.run_dir = Some(lab.dir().join("another-run"));
        let file = lab.dir().join("second.toml");
        std::fs::write(&file, second.toml())?;
        let file = file.to_str().context("a path")?;
        let mark = first.log_mark();
        let before = attached(&pair.hosts[0].ns)?;
        let (code, said) = l2ha(first, &["run", "--config", file])?;
        lab.say(said.trim());
        ensure!(code == Some(1), "{code:?}: {said}");
        let process = format!("process {}", first.pid()?);
        let config_file = first.file().display().to_string();
        let name = format!("node {},", first.config().name);
        for word in ["another l2ha runs on", &name, &process, &config_file] {
            ensure!(said.contains(word), "{word}: {said}");
        }
        ensure!(
            attached(&pair.hosts[0].ns)? == before,
            "others are attached"
        );
        ensure!(!second.pins().exists(), "it has pinned something");
        ensure!(
            !first.log_since(mark).contains("repair"),
            "it was disturbed"
        );
        pair.wait()?;

        // Nor does anything of it keep the first one's place when that is gone.
        first.kill()?;
        first.run()?;
        pair.wait()
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_node_with_another_name_takes_over_what_it_left_under_the_old_one_with_xdp() -> Result<()> {
    Lab::run("owners-renamed-xdp", |lab| renamed(lab, "xdp"))
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_node_with_another_name_takes_over_what_it_left_under_the_old_one_with_tc() -> Result<()> {
    Lab::run("owners-renamed-tc", |lab| renamed(lab, "tc"))
}

fn renamed(lab: &Lab, mode: &str) -> Result<()> {
    let (_cloud, hosts) = lab.cloud(CloudOptions::default(), &["us", "them"])?;
    let mut ours = NodeConfig::new(lab, &hosts[0])?;
    let mut theirs = NodeConfig::new(lab, &hosts[1])?;
    join(&mut ours, &mut theirs, Link::default())?;
    ours.mode = mode.into();
    ours.services.push(("old".into(), "2001:db8::81".parse()?));
    let ours = Daemon::start(lab, ours)?;
    let theirs = Daemon::start(lab, theirs)?;
    let full = || -> Result<()> {
        wait_for("an adjacency", PATIENCE, || {
            ensure!(ours.full_neighbours()?.len() == 1, "none here");
            ensure!(theirs.full_neighbours()?.len() == 1, "none there");
            Ok(Some(()))
        })
    };
    full()?;
    let ns = &hosts[0].ns;
    for (round, end) in ["SIGUSR1", "a crash"].into_iter().enumerate() {
        let before = attached(ns)?;
        let old = ours.config().name.clone();
        let pins = ours.config().pins();
        if round == 0 {
            ours.leave()?;
        } else {
            ours.kill()?;
        }
        let service = format!("2001:db8::9{round}");
        let address = service.parse()?;
        ours.reconfigure(|config| {
            config.name.push_str(&format!("-{round}"));
            config.services = vec![("new".into(), address)];
            // The virtual interface has another name, too, the second time.
            if round == 1 {
                config.tunnels[0].interface = "l2-renamed".into();
            }
        })?;
        ours.run()?;
        full().with_context(|| format!("after {end}"))?;
        let log = ours.log_since(0);
        ensure!(log.contains(&format!("what node {old} had left")), "{log}");
        ensure!(!pins.exists(), "{} is still there", pins.display());
        let run_dir = ours.config().run_dir.clone().context("no run folder")?;
        for file in std::fs::read_dir(run_dir)? {
            let file = file?.file_name();
            let text = file.to_string_lossy();
            ensure!(!text.starts_with(&format!("{old}.")), "{text} is left");
        }
        // Each program was replaced in its place, by one of ours.
        let status = ours.status()?;
        ensure!(status["underlay"]["hook"] == mode, "{status}");
        let after = attached(ns)?;
        ensure!(
            before.len() == after.len() && after.iter().all(|now| !before.contains(now)),
            "{before:#?} and then {after:#?}"
        );
        // The former address is withdrawn first, and stays while neighbours still send to it.
        wait_for("the addresses of now", PATIENCE, || {
            let addresses = ns.run(["ip", "-6", "addr", "show", "dev", "lo"])?;
            let former = [
                "2001:db8::81".to_owned(),
                format!("2001:db8::9{}", 1 - round),
            ];
            ensure!(
                addresses.contains(&service) && former.iter().all(|it| !addresses.contains(it)),
                "{addresses}"
            );
            Ok(Some(()))
        })?;
        let device = ours.config().tunnels[0].interface.clone();
        let links = ns.ip_json(&["link", "show", "type", "veth"])?;
        let ours_of = links.as_array().into_iter().flatten();
        let names = ours_of.filter_map(|link| link["ifname"].as_str());
        let names: Vec<&str> = names.filter(|name| name.starts_with("l2-")).collect();
        ensure!(names == [device.as_str()], "{names:?}");
        // Its link-local address goes with the name.
        let local = ns.ip_json(&["-6", "addr", "show", "dev", &device, "scope", "link"])?;
        let count = local[0]["addr_info"].as_array().map(Vec::len);
        ensure!(count == Some(1), "{local}");
    }
    ours.stop()?;
    ensure!(attached(ns)?.is_empty(), "{:#?}", attached(ns)?);
    ensure!(!ours.config().pins().exists(), "pins are left");
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn clean_removes_what_a_daemon_left_and_leaves_one_that_runs_alone() -> Result<()> {
    Lab::run("owners-clean", |lab| {
        for mode in ["xdp", "tc"] {
            let (_cloud, hosts) = lab.cloud(CloudOptions::default(), &["us", "them"])?;
            let mut ours = NodeConfig::new(lab, &hosts[0])?;
            let mut theirs = NodeConfig::new(lab, &hosts[1])?;
            join(&mut ours, &mut theirs, Link::default())?;
            ours.mode = mode.into();
            ours.services.push(("web".into(), "2001:db8::81".parse()?));
            let (run_dir, pins) = (ours.run_dir.clone().context("no folder")?, ours.pins());
            let ns = &hosts[0].ns;
            let before = Snapshot::take(ns, &pins)?;
            let ours = Daemon::prepare(lab, ours)?;
            ours.run()?;
            let name = ours.config().name.clone();
            let file = ours.file().to_str().context("a path")?.to_owned();
            let clean = |more: &[&str]| {
                let words = ["clean", "--config", &file];
                l2ha(&ours, &[&words[..], more].concat())
            };
            let runs = Snapshot::take(ns, &pins)?;
            let (code, said) = clean(&[])?;
            ensure!(
                code == Some(1) && said.contains("its daemon runs"),
                "{said}"
            );
            let now = Snapshot::take(ns, &pins)?;
            ensure!(runs.changes(&now).is_empty(), "{:#?}", runs.changes(&now));

            ours.kill()?;
            let (code, said) = clean(&["--dry-run"])?;
            ensure!(code == Some(0), "{said}");
            for word in [
                &name,
                "would remove",
                "interface l2-them",
                "address 2001:db8::81/128 on lo",
                "programs on eth0",
                "pins in",
                ".made.json",
            ] {
                ensure!(said.contains(word), "{word}: {said}");
            }
            ensure!(pins.exists(), "a dry run removes nothing");
            let (code, said) = clean(&["--json"])?;
            ensure!(code == Some(0), "{said}");
            let answer: Value = serde_json::from_str(&said)?;
            ensure!(answer["nodes"][0]["node"] == name.as_str(), "{answer}");
            lab.say(format_args!("{mode}: {}", answer["nodes"][0]["left"]));
            let now = Snapshot::take(ns, &pins)?;
            ensure!(
                before.changes(&now).is_empty(),
                "{mode}: {:#?}",
                before.changes(&now)
            );
            let left: Vec<_> = std::fs::read_dir(&run_dir)?.flatten().collect();
            ensure!(left.is_empty(), "{left:?}");
            let (code, said) = clean(&[])?;
            ensure!(
                code == Some(0) && said.contains("nothing is left"),
                "{said}"
            );
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_port_that_another_process_has_is_a_problem_that_names_it() -> Result<()> {
    Lab::run("owners-port", |lab| {
        let (_cloud, hosts) = lab.cloud(CloudOptions::default(), &["us", "them"])?;
        let mut ours = NodeConfig::new(lab, &hosts[0])?;
        let mut theirs = NodeConfig::new(lab, &hosts[1])?;
        join(&mut ours, &mut theirs, Link::default())?;
        let address = format!("{}:1701", hosts[0].v4);
        let taken = hosts[0].ns.enter(|| UdpSocket::bind(&address))??;
        let ours = Daemon::start(lab, ours)?;
        let _theirs = Daemon::start(lab, theirs)?;
        // The tunnel carries frames all the same: the programs take them before any socket does.
        wait_for("an adjacency", PATIENCE, || {
            ensure!(ours.full_neighbours()?.len() == 1, "none");
            Ok(Some(()))
        })?;
        let own = std::process::id().to_string();
        let first = || -> Result<String> {
            let output = ours.command(&["status"])?.output()?;
            let text = String::from_utf8(output.stdout)?;
            Ok(text.lines().take(5).collect::<Vec<_>>().join("\n"))
        };
        let said = wait_for("the problem", PATIENCE, || {
            let said = first()?;
            for word in ["degraded", &address, &own, "local_port"] {
                ensure!(said.contains(word), "{word}: {said}");
            }
            Ok(Some(said))
        })?;
        lab.say(said);
        drop(taken);
        wait_for("the port", PATIENCE, || {
            let said = first()?;
            ensure!(!said.contains(&address), "{said}");
            Ok(Some(()))
        })?;
        Ok(())
    })
}
