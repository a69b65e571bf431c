//! Packets signed as RFC 7166 has it, with FRR or BIRD on the other side: in both roles, through the whole
//! story of a cut and a stop, and with a key that does not fit.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{
    BFD_KEY, Lab, PATIENCE, SERVER_1, SERVER_2, Speaker, Trio, TrioOptions, secret_file, wait_for,
    wait_one_database, wait_route,
};
use serde_json::Value;

/// FRR before 9.1 appends the protocol id with the low byte first, later ones and BIRD do not; nothing is said of it
/// in our file.
fn signed(name: &str, algorithm: &'static str, servers: Speaker, client: Speaker) -> Result<()> {
    Lab::run(name, |lab| {
        let options = TrioOptions {
            servers,
            client,
            signed: Some(algorithm),
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

        // A rotation of which the neighbours know nothing: they skip what our Hellos say of it (RFC 5613), and we
        // sign as they do.
        if client == Speaker::L2ha && algorithm == "hmac-sha-256" {
            let next = lab.dir().join("next-key");
            secret_file(&next, "the-key-after-this-one")?;
            ours.daemon.reload(|config| {
                let former = config.key_file();
                for tunnel in &mut config.tunnels {
                    tunnel.more.extend([
                        format!("ospf_key_file = {next:?}"),
                        "ospf_key_id = 9".to_owned(),
                        format!("ospf_key_previous_file = {former:?}"),
                        "ospf_key_previous_id = 7".to_owned(),
                    ]);
                }
            })?;
            thread::sleep(Duration::from_secs(5));
            let status = ours.daemon.status()?;
            let former = status["rotation"]["former"].as_array().map(Vec::len);
            ensure!(former == Some(2), "{}", status["rotation"]);
            let lost = &status["ospf"]["counters"]["adjacencies_lost"];
            ensure!(
                *lost == 0,
                "{lost} adjacencies lost by link-local signalling"
            );
            ensure!(ours.full_neighbours()?.len() == 2, "not Full any more");
            lab.say("a rotation is none of the neighbours' business");
        }

        // Another secret under the same id: refused by name, and the route moves in time.
        let peer = &trio.first;
        if client == Speaker::L2ha {
            ours.daemon.reload(|config| {
                config.key = Some((7, "not-what-they-have".into()));
                for tunnel in &mut config.tunnels {
                    tunnel.more.retain(|line| !line.starts_with("ospf_key"));
                }
            })?;
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
fn bird_is_the_client_of_our_signing_servers() -> Result<()> {
    signed(
        "bird-auth-client",
        "hmac-sha-256",
        Speaker::L2ha,
        Speaker::Bird,
    )
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn bird_servers_sign_for_our_client() -> Result<()> {
    signed(
        "bird-auth-servers",
        "hmac-sha-256",
        Speaker::Bird,
        Speaker::L2ha,
    )
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn frr_is_the_client_of_our_signing_servers() -> Result<()> {
    signed(
        "frr-auth-client",
        "hmac-sha-256",
        Speaker::L2ha,
        Speaker::Frr,
    )
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn frr_servers_sign_for_our_client() -> Result<()> {
    signed(
        "frr-auth-servers",
        "hmac-sha-256",
        Speaker::Frr,
        Speaker::L2ha,
    )
}

/// As Cisco's routers may be set up.
#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_neighbour_signs_with_hmac_sha_1() -> Result<()> {
    signed(
        "bird-auth-sha-1",
        "hmac-sha-1",
        Speaker::Bird,
        Speaker::L2ha,
    )
}

/// BFD with every algorithm of RFC 5880 6.7, and with a key that does not fit.
fn bfd_signed(algorithm: &'static str) -> Result<()> {
    Lab::run(&format!("bird-bfd-{algorithm}"), |lab| {
        let options = TrioOptions {
            servers: Speaker::Bird,
            // Slowly: it is the signatures that are looked at, and other labs run at the same time.
            bfd: Some((200.0, 5)),
            bfd_algorithm: Some(algorithm),
            ..TrioOptions::default()
        };
        let trio = Trio::start(lab, options)?;
        trio.wait_full()?;
        trio.wait_watched()?;
        let daemon = &trio.client.daemon;
        // Long enough for a sequence number that BIRD does not expect to end it.
        thread::sleep(Duration::from_secs(3));
        for session in daemon.bfd_sessions()? {
            ensure!(session["state"] == "up", "{session}");
            ensure!(session["key"][1] == algorithm, "{session}");
            ensure!(session["counters"]["downs"] == 0, "{session}");
            let refused = session["refused"].as_object().context("no refused")?;
            ensure!(refused.is_empty(), "{session}");
        }
        let said = daemon.l2ha(&["bfd"])?;
        ensure!(said.contains(algorithm), "{said}");
        ensure!(
            !daemon.status()?.to_string().contains(BFD_KEY.1),
            "the secret in the status"
        );
        lab.say(format_args!("{algorithm}: sessions up"));

        // Without the key nothing of BIRD's is taken, nor anything of ours by BIRD, whose session falls;
        // ours knows by Echo that the path works.
        daemon.reload(|config| config.bfd_algorithm = None)?;
        let unexpected = |it: &Value| it["refused"]["auth_unexpected"].as_u64() > Some(0);
        wait_for("signed packets to be refused", PATIENCE, || {
            let sessions = daemon.bfd_sessions()?;
            ensure!(sessions.iter().any(unexpected), "{sessions:#?}");
            Ok(Some(()))
        })?;
        let bird = trio.first.bird.as_ref().context("no BIRD")?;
        wait_for("BIRD's session to fall", PATIENCE, || {
            let sessions = bird.ask("show bfd sessions")?;
            ensure!(
                sessions.contains("l2-client") && sessions.contains("Down"),
                "{sessions}"
            );
            Ok(Some(()))
        })?;
        daemon.reload(|config| config.bfd_algorithm = Some(algorithm))?;
        trio.wait_full()?;
        trio.wait_watched()?;
        lab.say(format_args!(
            "{algorithm}: refused without the key, and up again with it"
        ));
        Ok(())
    })
    .with_context(|| format!("BFD with {algorithm}"))
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn bird_checks_our_bfd_and_we_check_its() -> Result<()> {
    for algorithm in [
        "simple",
        "keyed-md5",
        "meticulous-keyed-md5",
        "keyed-sha1",
        "meticulous-keyed-sha1",
    ] {
        bfd_signed(algorithm)?;
    }
    Ok(())
}
