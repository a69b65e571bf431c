//! Many daemons on two cores: a torus in which each has four neighbours, watched by BFD. Nobody is taken for dead who is
//! not.

use std::{
    fs,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{CloudOptions, Daemon, Lab, Link, NodeConfig, is_deep, join, judged, wait_for};

/// How long a side of the torus is, and for how long it is watched: in the gate, and with `L2HA_DEEP=1`.
const SIDE: [usize; 2] = [3, 8];
const WATCHED: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(600)];
const NEIGHBOURS: usize = 4;
/// What a daemon may take of a processor while nothing happens, in the mean of all.
const MOST: f64 = 0.03;
/// 300 ms, of which three may be lost.
const BFD: &str = "300x3";
const DETECTION: Duration = Duration::from_millis(900);
const PATIENCE: Duration = Duration::from_secs(300);

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn nobody_is_taken_for_dead() -> Result<()> {
    let (side, watched) = (
        SIDE[usize::from(is_deep())],
        WATCHED[usize::from(is_deep())],
    );
    Lab::run("torus", |lab| {
        let names: Vec<String> = (0..side * side).map(|node| format!("n{node}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (_cloud, hosts) = lab.cloud(CloudOptions::default(), &names)?;
        let mut configs: Vec<NodeConfig> = hosts
            .iter()
            .map(|host| NodeConfig::new(lab, host))
            .collect::<Result<_>>()?;
        for config in &mut configs {
            config.ospf.as_mut().context("no OSPF")?.bfd = Some(BFD.to_owned());
        }
        for node in 0..names.len() {
            let (row, column) = (node / side, node % side);
            for other in [
                row * side + (column + 1) % side,
                (row + 1) % side * side + column,
            ] {
                let [a, b] = configs
                    .get_disjoint_mut([node, other])
                    .ok()
                    .context("a node beside itself")?;
                join(a, b, Link::default())?;
            }
        }
        let mut daemons = Vec::new();
        for config in configs {
            daemons.push(Daemon::start(lab, config)?);
        }
        wait_up(&daemons)?;
        judged(lab, "quiet", |step| {
            let (before, used, from) = (downs(&daemons)?, costs(&daemons)?, Instant::now());
            thread::sleep(watched);
            let after = costs(&daemons)?;
            step.window(from, Instant::now(), DETECTION);
            let part = after.since(&used, from.elapsed(), daemons.len());
            lab.say(format_args!(
                "{} daemons for {watched:?}: each {:.2} % of a processor, {:.0} wake-ups a second, {} threads, {} KiB",
                daemons.len(),
                part.processor * 100.0,
                part.wakeups,
                after.threads / daemons.len(),
                after.kibibytes / daemons.len()
            ));
            ensure!(
                downs(&daemons)? == before,
                "sessions of BFD or adjacencies fell"
            );
            ensure!(
                part.processor < MOST,
                "{:.2} % each",
                part.processor * 100.0
            );
            Ok(())
        })?;
        for daemon in &daemons {
            daemon.kill()?;
        }
        Ok(())
    })
}

fn wait_up(daemons: &[Arc<Daemon>]) -> Result<()> {
    for (number, daemon) in daemons.iter().enumerate() {
        wait_for("four neighbours Full and watched by BFD", PATIENCE, || {
            let full = daemon.full_neighbours()?.len();
            let sessions = daemon.bfd_sessions()?;
            let up = sessions.iter().filter(|it| it["state"] == "up").count();
            ensure!(
                (full, up) == (NEIGHBOURS, NEIGHBOURS),
                "n{number}: {full} Full, {up} up"
            );
            Ok(Some(()))
        })?;
    }
    Ok(())
}

/// Sessions of BFD and adjacencies that have fallen.
fn downs(daemons: &[Arc<Daemon>]) -> Result<u64> {
    let mut downs = 0;
    for daemon in daemons {
        for session in daemon.bfd_sessions()? {
            downs += session["counters"]["downs"].as_u64().context("no count")?;
        }
        for interface in daemon.ospf("interfaces")?.as_array().context("no list")? {
            downs += interface["adjacencies_lost"].as_u64().context("no count")?;
        }
    }
    Ok(downs)
}

/// What all daemons have used so far.
#[derive(Clone, Copy, Debug, Default)]
struct Costs {
    ticks: u64,
    switches: u64,
    threads: usize,
    kibibytes: usize,
}

/// What one has used, of each second.
struct Part {
    processor: f64,
    wakeups: f64,
}

/// Ticks of the clock in which processor time is counted (`USER_HZ`, proc(5)).
const TICKS: f64 = 100.0;

impl Costs {
    fn since(&self, before: &Self, time: Duration, daemons: usize) -> Part {
        let all = time.as_secs_f64() * daemons as f64;
        Part {
            processor: (self.ticks - before.ticks) as f64 / TICKS / all,
            wakeups: (self.switches - before.switches) as f64 / all,
        }
    }
}

fn costs(daemons: &[Arc<Daemon>]) -> Result<Costs> {
    let mut costs = Costs::default();
    for daemon in daemons {
        let process = format!("/proc/{}", daemon.pid()?);
        let stat = fs::read_to_string(format!("{process}/stat"))?;
        // After the name, which ends with the last parenthesis: state is the first, utime and stime are the
        // 12th and 13th (proc(5)).
        let (_, fields) = stat.rsplit_once(')').context("no name")?;
        let times = fields.split_whitespace().skip(11).take(2);
        for time in times {
            costs.ticks += time.parse::<u64>()?;
        }
        let of = |text: &str, name: &str| -> Result<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let value = line.and_then(|line| line.split_whitespace().next());
            Ok(value.with_context(|| format!("no {name}"))?.parse()?)
        };
        let status = fs::read_to_string(format!("{process}/status"))?;
        costs.kibibytes += usize::try_from(of(&status, "VmRSS:")?)?;
        for thread in fs::read_dir(format!("{process}/task"))? {
            let status = fs::read_to_string(thread?.path().join("status"))?;
            costs.switches += of(&status, "voluntary_ctxt_switches:")?;
            costs.threads += 1;
        }
    }
    Ok(costs)
}
