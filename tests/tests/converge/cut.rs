//! A silent cut, noticed by the dead interval, of servers on which FRR or BIRD speaks OSPF.

use std::time::Duration;

use anyhow::{Result, ensure};
use l2ha_lab::{Lab, Speaker, Trio, TrioOptions, judged};

/// The dead interval, and what a silent cut may cost beyond that.
const DEAD: Duration = Duration::from_secs(3);
const MARGIN: Duration = Duration::from_millis(500);

fn cut(name: &str, servers: Speaker) -> Result<()> {
    Lab::run(name, |lab| {
        let options = TrioOptions {
            servers,
            ..TrioOptions::default()
        };
        let trio = Trio::start(lab, options)?;
        trio.wait_settled()?;
        let probe = trio.probe()?;
        judged(lab, "silent cut", |step| {
            let cut = trio.silent_cut(&probe)?;
            lab.say(format_args!("silent cut: longest gap {:.1?}", cut.gap));
            step.window(cut.from, cut.to, MARGIN);
            trio.heal(&probe)?;
            trio.wait_settled()?;
            ensure!(cut.gap <= DEAD + MARGIN, "{cut:?}");
            Ok(())
        })
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn our_client_leaves_servers_of_frr_in_time() -> Result<()> {
    cut("cut-frr-servers", Speaker::Frr)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn our_client_leaves_servers_of_bird_in_time() -> Result<()> {
    cut("cut-bird-servers", Speaker::Bird)
}
