//! A silent cut with FRR or BIRD at one end, noticed by the dead interval or by BFD. What it may cost is seconds, as
//! these compute routes in their own time: so these run beside others, and are judged by the machine's pauses.

use std::time::Duration;

use anyhow::{Result, ensure};
use l2ha_lab::{Lab, Speaker, Trio, TrioOptions, cut_with_bfd, is_deep, judged};

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

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn bird_serves_and_is_watched() -> Result<()> {
    // Half of the answers may come back over the server that is cut off, at the same cost, until
    // BIRD computes routes, once a second.
    cut_with_bfd(
        "bfd-bird-servers",
        [Speaker::Bird, Speaker::L2ha],
        (50.0, 3),
        if is_deep() { 3 } else { 1 },
        Duration::from_millis(2500),
    )
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn bird_watches_our_servers() -> Result<()> {
    // BIRD computes routes once a second.
    cut_with_bfd(
        "bfd-bird-client",
        [Speaker::L2ha, Speaker::Bird],
        (50.0, 3),
        if is_deep() { 3 } else { 1 },
        Duration::from_millis(2500),
    )
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn frr_serves_and_is_watched() -> Result<()> {
    cut_with_bfd(
        "bfd-frr-servers",
        [Speaker::Frr, Speaker::L2ha],
        (50.0, 3),
        if is_deep() { 3 } else { 1 },
        Duration::from_millis(2000),
    )
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn frr_watches_our_servers() -> Result<()> {
    cut_with_bfd(
        "bfd-frr-client",
        [Speaker::L2ha, Speaker::Frr],
        (50.0, 3),
        if is_deep() { 3 } else { 1 },
        Duration::from_millis(2000),
    )
}
