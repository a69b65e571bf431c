//! What neighbours do where a restart is not to be helped.

use anyhow::{Result, ensure};
use l2ha_lab::{Lab, PATIENCE, Trio, TrioOptions, wait_for};

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn without_graceful_restart_the_neighbours_notice() -> Result<()> {
    Lab::run("graceful-off", |lab| {
        let trio = Trio::start(lab, TrioOptions::default())?;
        trio.wait_full()?;
        trio.first.daemon.reconfigure(|config| {
            if let Some(ospf) = &mut config.ospf {
                ospf.more.push("graceful_restart = 0".to_owned());
            }
        })?;
        let before = trio.client.counter(&["adjacencies_lost"])?;
        trio.first.daemon.kill()?;
        trio.first.daemon.run()?;
        trio.wait_full()?;
        wait_for("a lost adjacency", PATIENCE, || {
            let lost = trio.client.counter(&["adjacencies_lost"])?;
            ensure!(lost > before, "the client has lost none");
            Ok(Some(()))
        })?;
        let begun = trio.client.counter(&["graceful", "helps_begun"])?;
        ensure!(begun == 0, "{begun} helps");
        Ok(())
    })
}
