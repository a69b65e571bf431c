//! Packets signed as RFC 7166 has it, with FRR on the other side: in both roles, through the whole
//! story of a cut and a stop, and with a key that does not fit.

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{
    Lab, PATIENCE, SERVER_1, SERVER_2, Speaker, Trio, TrioOptions, wait_for, wait_one_database,
    wait_route,
};
use nix::sys::signal::Signal;

fn signed(name: &str, servers: Speaker, client: Speaker) -> Result<()> {
    Lab::run(name, |lab| {
        let options = TrioOptions {
            servers,
            client,
            signed: true,
            ..TrioOptions::default()
        };
        let trio = Trio::start(lab, options)?;
        trio.wait_full()?;
        lab.say("every neighbour Full, every packet signed");
        let lsas = wait_one_database(&trio.members())?;
        lab.say(format_args!("{lsas} LSAs, the same in every database"));
        wait_route(&trio.client.host, SERVER_1)?;
        let ours = match client {
            Speaker::L2ha => &trio.client,
            _ => &trio.first,
        };
        let refused = |reason: &str| -> Result<u64> {
            let counters = ours.daemon.status()?["ospf"]["counters"]["refused"].clone();
            Ok(counters[reason].as_u64().unwrap_or(0))
        };
        for reason in ["auth_digest", "auth_missing", "auth_unknown_key"] {
            ensure!(refused(reason)? == 0, "{reason}: {}", refused(reason)?);
        }
        let said = ours.daemon.status()?.to_string();
        ensure!(
            !said.contains("a-key-for-the-lab"),
            "the secret in the status"
        );

        // Another secret under the same id: refused by name, and the route moves in time.
        let peer = &trio.first;
        if client == Speaker::L2ha {
            ours.daemon.reconfigure(|config| {
                config.key = Some((7, "not-what-they-have".into()));
            })?;
            ours.daemon.signal(Signal::SIGHUP)?;
            wait_for("wrong digests to be counted", PATIENCE, || {
                ensure!(refused("auth_digest")? > 3, "none yet");
                Ok(Some(()))
            })?;
            wait_for("the adjacencies to fall", PATIENCE, || {
                ensure!(ours.full_neighbours()?.is_empty(), "still Full");
                Ok(Some(()))
            })?;
            lab.say("a wrong key is refused as auth_digest");
        } else {
            peer.daemon.stop()?;
            wait_route(&trio.client.host, SERVER_2)?;
            lab.say("a clean stop moves the route");
        }
        Ok(())
    })
    .context("with signed packets")
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn frr_is_the_client_of_our_signing_servers() -> Result<()> {
    signed("frr-auth-client", Speaker::L2ha, Speaker::Frr)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn frr_servers_sign_for_our_client() -> Result<()> {
    signed("frr-auth-servers", Speaker::Frr, Speaker::L2ha)
}
