//! What one node with a thousand tunnels costs, in figures: a table in the lab's output, for docs/scale.md. They count
//! with a release build, which `L2HA_BIN` names.

use std::{
    fs,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{CloudOptions, Daemon, Lab, NodeConfig, TunnelConfig, UNDERLAY, wait_for};

const TUNNELS: u32 = 1000;
const PATIENCE: Duration = Duration::from_secs(120);
/// After the start and between two figures.
const REST: Duration = Duration::from_secs(10);
/// The processor's use is measured over this.
const IDLE: Duration = Duration::from_secs(30);
/// So many addresses of others come or go, one in each pause.
const CHANGES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(30);

/// To nobody: each tunnel has a peer of its own, none of which answers.
#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn deep_a_thousand_tunnels_in_figures() -> Result<()> {
    Lab::run("thousand", |lab| {
        for ospf in [false, true] {
            figures(lab, ospf)?;
        }
        Ok(())
    })
}

fn figures(lab: &Lab, ospf: bool) -> Result<()> {
    let (_cloud, hosts) = lab.cloud(CloudOptions::default(), &["node"])?;
    let host = &hosts[0];
    let route = ["ip", "route", "add", "198.18.0.0/15", "dev", UNDERLAY];
    host.ns.run(route)?;
    host.ns
        .ip_batch("link add others type veth peer name others-peer\nlink set others up\n")?;
    let mut config = match ospf {
        true => NodeConfig::new(lab, host)?,
        false => NodeConfig::tunnels_only(lab, host)?,
    };
    for number in 0..TUNNELS {
        let [.., high, low] = number.to_be_bytes();
        let (name, remote) = (format!("t{number}"), [198, 18, high, low].into());
        config.tunnels.push(TunnelConfig::new(
            &name,
            remote,
            10_000 + number,
            20_000 + number,
        ));
    }
    let daemon = Daemon::prepare(lab, config)?;
    let from = Instant::now();
    daemon.run()?;
    wait_for("all tunnels", PATIENCE, || {
        let status = daemon.status()?;
        let tunnels = status["tunnels"].as_array().map_or(0, Vec::len);
        ensure!(tunnels == TUNNELS as usize, "{tunnels} are there");
        Ok(Some(()))
    })?;
    let start = from.elapsed();
    sleep(REST);
    let pid = daemon.pid()?;
    let resident = resident(pid)?;
    let (before, from) = (processor(pid)?, Instant::now());
    sleep(IDLE);
    let idle = (processor(pid)? - before).as_secs_f64() / from.elapsed().as_secs_f64();

    let (before, from) = (processor(pid)?, Instant::now());
    for number in 0..CHANGES {
        let act = if number % 2 == 0 { "add" } else { "del" };
        let address = format!("address {act} 172.20.{}.1/24 dev others\n", number / 2);
        host.ns.ip_batch(&address)?;
        sleep(PAUSE);
    }
    sleep(REST);
    let foreign = (processor(pid)? - before).as_secs_f64() - idle * from.elapsed().as_secs_f64();

    let from = Instant::now();
    daemon.reload(|config| config.tunnels[0].cost += 1)?;
    let reload = from.elapsed();
    sleep(REST);
    let from = Instant::now();
    daemon.stop()?;
    let stop = from.elapsed();
    lab.say(format_args!(
        "{TUNNELS} tunnels, OSPF {ospf}: start {start:.2?}, reload {reload:.2?}, stop {stop:.2?}, resident {} MiB, idle \
         {:.1} % of a processor, {CHANGES} foreign addresses {foreign:.2} s of processor",
        resident >> 20,
        idle * 100.0,
    ));
    Ok(())
}

/// What a process has in memory (`VmRSS` of proc(5)), in bytes.
fn resident(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    let kilobytes: u64 = kilobytes.context("no VmRSS")?.parse()?;
    Ok(kilobytes << 10)
}

/// What a process has had of the processors, with what the kernel did for it.
fn processor(pid: u32) -> Result<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // After the name, which may have anything in it, from field 3 of proc(5) on.
    let (_, fields) = text.rsplit_once(')').context("no name")?;
    let fields = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = fields.map(|field| field.parse().unwrap_or(0)).sum();
    // USER_HZ is 100 wherever Linux runs.
    Ok(Duration::from_millis(ticks * 10))
}
