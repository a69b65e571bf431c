//! The process of a service dies, hangs, or comes late: the address goes where it lives.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use l2ha_lab::{ANYCAST, Lab, Probe, SERVER_1, SERVER_2, Seller, Shop, is_deep, judged};

/// How often each check is made, and what it takes to fail and to pass.
const CHECK: &str = "interval = \"100ms\", timeout = \"200ms\", fall = 2, rise = 3";
/// How long a service serves again before it fails again: less than LSAs are apart that follow each other.
const APART: Duration = Duration::from_millis(500);
/// How long a change is watched.
const SETTLE: Duration = Duration::from_millis(300);

/// The service asked by HTTP.
fn http() -> String {
    format!("check = {{ http = \"http://[{ANYCAST}]/\", {CHECK} }}")
}

/// Plays a failure of the preferred server's service some times: each gap within its limit, and the median too.
fn drills(
    lab: &Lab,
    keys: &str,
    what: &str,
    (limit, median): (u64, u64),
    act: impl Fn(&Seller) -> Result<()>,
    undo: impl Fn(&Seller) -> Result<()>,
) -> Result<()> {
    let [limit, median] = [limit, median].map(Duration::from_millis);
    let shop = Shop::start(lab, keys)?;
    let (probes, server) = (shop.probes()?, &shop.servers[0]);
    let mut gaps = Vec::new();
    for _ in 0..if is_deep() { 20 } else { 3 } {
        gaps.push(judged(lab, what, |step| {
            thread::sleep(APART);
            let from = Instant::now();
            act(server)?;
            Shop::wait_served_by(&probes, SERVER_2, from)?;
            thread::sleep(SETTLE);
            let to = Instant::now();
            let gaps = probes.iter().map(|probe| probe.longest_gap(from, to));
            let gap = gaps.max().unwrap_or_default();
            step.window(from, to, limit);
            server.wait_state("failed", true)?;
            let from = Instant::now();
            undo(server)?;
            Shop::wait_served_by(&probes, SERVER_1, from)?;
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

fn kill(server: &Seller) -> Result<()> {
    server.service.kill();
    Ok(())
}

fn run(server: &Seller) -> Result<()> {
    server.service.run()
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_closed_socket_is_noticed_at_once() -> Result<()> {
    Lab::run("health-closed", |lab| {
        drills(lab, &http(), "closed", (60, 60), kill, run)
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_killed_service_is_noticed_by_its_intervals() -> Result<()> {
    Lab::run("health-killed", |lab| {
        // A program has no socket that could be looked for, and is started anew for each look, which takes a busy
        // machine as long as the timeout lets it: two intervals and two timeouts.
        let script = format!("exec 3<>/dev/tcp/{ANYCAST}/80");
        let keys = format!("check = {{ exec = [\"/bin/bash\", \"-c\", \"{script}\"], {CHECK} }}");
        drills(lab, &keys, "killed", (600, 250), kill, run)
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_service_that_hangs_is_noticed_by_the_timeout() -> Result<()> {
    Lab::run("health-hung", |lab| {
        let hang = |server: &Seller| server.service.hang();
        let go_on = |server: &Seller| server.service.go_on();
        drills(lab, &http(), "hung", (700, 700), hang, go_on)
    })
}

/// How many questions of all clients have failed, and how many of these were on their way when the address moved:
/// the next server does not know the connection.
fn failures(probes: &[Probe]) -> (u64, u64) {
    let failures = probes.iter().map(|probe| probe.failures().0);
    (failures.sum(), probes.iter().map(Probe::cut_off).sum())
}

/// Nothing may have failed but what was on its way at one of so many moves, one question of each client.
fn must_have_lost_nothing(probes: &[Probe], before: (u64, u64), moves: u64) -> Result<()> {
    let after = failures(probes);
    let (failed, cut_off) = (after.0 - before.0, after.1 - before.1);
    let clients: u64 = probes.len().try_into()?;
    ensure!(
        failed == cut_off && cut_off <= moves * clients,
        "{failed} questions failed, of which {cut_off} were on their way at {moves} moves"
    );
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_service_that_comes_late_after_a_boot_loses_nothing() -> Result<()> {
    Lab::run("health-boot", |lab| {
        let shop = Shop::start(lab, &http())?;
        let (probes, server) = (shop.probes()?, &shop.servers[0]);
        judged(lab, "boot", |step| {
            let from = Instant::now();
            server.daemon.stop()?;
            Shop::wait_served_by(&probes, SERVER_2, from)?;
            server.service.kill();
            let from = Instant::now();
            let before = failures(&probes);
            server.daemon.run()?;
            server.wait_state("waiting", false)?;
            thread::sleep(Duration::from_secs(3));
            server.wait_state("waiting", false)?;
            let late = Instant::now();
            server.service.run()?;
            Shop::wait_served_by(&probes, SERVER_1, late)?;
            thread::sleep(SETTLE);
            step.window(from, Instant::now(), Duration::from_millis(100));
            must_have_lost_nothing(&probes, before, 1)
        })
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_check_that_fails_everywhere_moves_nothing() -> Result<()> {
    Lab::run("health-wrong", |lab| {
        let file = lab.dir().join("database");
        fs::write(&file, "")?;
        let keys = format!("check = {{ exec = [\"/bin/test\", \"-e\", {file:?}], {CHECK} }}");
        let shop = Shop::start(lab, &keys)?;
        let probes = shop.probes()?;
        judged(lab, "everywhere", |step| {
            let from = Instant::now();
            let before = failures(&probes);
            fs::remove_file(&file)?;
            for server in &shop.servers {
                server.wait_state("failed", true)?;
            }
            Shop::wait_served_by(&probes, SERVER_1, Instant::now())?;
            let to = Instant::now();
            let answers = probes.iter().flat_map(|probe| probe.answers_since(from));
            let last = answers.map(|answer| answer.server).next_back();
            step.window(from, to, Duration::from_millis(100));
            let status = shop.servers[0].daemon.status()?;
            fs::write(&file, "")?;
            for server in &shop.servers {
                server.wait_state("passing", false)?;
            }
            Shop::wait_served_by(&probes, SERVER_1, Instant::now())?;
            // The servers' checks fail one after another, and pass so again.
            must_have_lost_nothing(&probes, before, 6)?;
            ensure!(last.as_deref() == Some(SERVER_1), "{last:?}");
            let health = &status["services"][0]["health"];
            ensure!(
                health["reason"] == "/bin/test ended with status 1" && health["check"] == 1,
                "{health}"
            );
            Ok(())
        })
    })
}
