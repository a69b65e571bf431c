//! The frames go on without the daemon.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use l2ha_lab::{Lab, Trio, TrioOptions, judged};

/// What a daemon that is killed may cost: nothing, but a probe's attempt may be held back.
const LIMIT: Duration = Duration::from_millis(350);

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn after_kill_9_the_frames_go_on() -> Result<()> {
    Lab::run("restart-gap", |lab| {
        let trio = Trio::start(lab, TrioOptions::default())?;
        trio.wait_settled()?;
        let probe = trio.probe()?;
        for member in [&trio.client, &trio.first] {
            let name = &member.host.name;
            judged(lab, name, |step| {
                let from = Instant::now();
                member.daemon.kill()?;
                thread::sleep(Duration::from_millis(500));
                let to = Instant::now();
                let gap = probe.longest_gap(from, to);
                lab.say(format_args!(
                    "{name}: 0.5 s without a daemon: longest gap {gap:.1?}"
                ));
                step.window(from, to, LIMIT);
                member.daemon.run()?;
                trio.wait_settled()?;
                let restart = probe.longest_gap(to, Instant::now());
                lab.say(format_args!("{name}: restart: longest gap {restart:.1?}"));
                ensure!(gap < LIMIT, "{gap:?}");
                Ok(())
            })?;
        }
        Ok(())
    })
}
