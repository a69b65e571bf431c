//! A server that others shall take over from, and a service that is taken away, while everything runs:
//! nothing is lost, in no family.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{
    ANYCAST, ANYCAST4, Beats, Gap, Ipv4Links, Lab, Member, PATIENCE, SERVER_1, SERVER_2, Trio,
    TrioOptions, wait_for,
};
use nix::sys::signal::Signal;
use serde_json::Value;

/// How long adjacencies may take to count everywhere.
const SETTLE: Duration = Duration::from_secs(3);
/// What Debian's systemd sets, for IPv4.
const HOSTS: &[(&str, &str)] = &[
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "2"),
];

/// Questions to the anycast addresses of both families.
struct Both([Beats; 2]);

impl Both {
    fn start(trio: &Trio) -> Result<Self> {
        Ok(Self([trio.beats()?, trio.beats_ipv4()?]))
    }

    /// Does something, waits until `server` serves both families, and some seconds more: nothing is lost.
    fn moves(
        &self,
        lab: &Lab,
        what: &str,
        server: &str,
        act: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let from = Instant::now();
        act()?;
        for beats in &self.0 {
            beats
                .wait_served_by(server, from, 500, PATIENCE)
                .with_context(|| what.to_owned())?;
        }
        thread::sleep(SETTLE);
        let late = Instant::now();
        thread::sleep(Duration::from_millis(300));
        let to = Instant::now();
        thread::sleep(Duration::from_millis(300));
        let gaps: Vec<Gap> = self.0.iter().map(|beats| beats.gap(from, to)).collect();
        lab.say(format_args!("{what}: IPv6 and IPv4 {gaps:?}"));
        ensure!(gaps.iter().all(|gap| gap.lost == 0), "{what}: {gaps:?}");
        for beats in &self.0 {
            let by = beats.answered_by(late);
            ensure!(by.len() == 1 && by.contains(server), "{what}: {by:?}");
        }
        Ok(())
    }
}

fn start(lab: &Lab) -> Result<(Trio, Both)> {
    let options = TrioOptions {
        bfd: Some((50.0, 4)),
        ipv4: Some(Ipv4Links::Bare),
        sysctls: HOSTS,
        ..TrioOptions::default()
    };
    let trio = Trio::start(lab, options)?;
    wait_full(&trio)?;
    let both = Both::start(&trio)?;
    thread::sleep(SETTLE);
    Ok((trio, both))
}

#[track_caller]
fn wait_full(trio: &Trio) -> Result<()> {
    trio.wait_full()?;
    trio.wait_full_ipv4()?;
    trio.wait_watched()
}

/// Whether a member says that it is drained, in JSON and to people, and is healthy all the same.
fn says_drained(member: &Member, drained: bool) -> Result<()> {
    let status = member.daemon.status()?;
    ensure!(status["drained"] == drained, "{status}");
    wait_for("a healthy node", PATIENCE, || {
        // Exit status 0.
        let text = member.daemon.l2ha(&["status"])?;
        let head = text.lines().next().unwrap_or_default();
        ensure!(head.contains("healthy"), "{text}");
        ensure!(head.contains("drained") == drained, "{text}");
        ensure!(text.contains("last resort") == drained, "{text}");
        Ok(Some(()))
    })
}

fn drain(member: &Member, words: &[&str]) -> Result<Value> {
    let words = [&["drain", "--json"], words].concat();
    Ok(serde_json::from_str(&member.daemon.l2ha(&words)?)?)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_server_is_drained_and_serves_again_and_nothing_is_lost() -> Result<()> {
    Lab::run("drain", |lab| {
        let (trio, both) = start(lab)?;
        let server = &trio.first;
        says_drained(server, false)?;
        both.moves(lab, "drain", SERVER_2, || {
            let answer = drain(server, &[])?;
            ensure!(answer["drained"] == true && answer["changed"] == true);
            Ok(())
        })?;
        says_drained(server, true)?;
        let again = drain(server, &[])?;
        ensure!(again["changed"] == false, "{again}");

        both.moves(lab, "reload", SERVER_2, || {
            let mark = server.daemon.log_mark();
            server.daemon.signal(Signal::SIGHUP)?;
            wait_for("the reload", PATIENCE, || {
                let log = server.daemon.log_since(mark);
                Ok(log.contains("configuration reloaded").then_some(()))
            })
        })?;
        says_drained(server, true)?;
        both.moves(lab, "restart", SERVER_2, || {
            server.daemon.leave()?;
            server.daemon.run()?;
            wait_full(&trio)
        })?;
        says_drained(server, true)?;
        both.moves(lab, "[ospf] changed", SERVER_2, || {
            server.daemon.reconfigure(|config| {
                if let Some(ospf) = &mut config.ospf {
                    ospf.more.push("graceful_restart = 60".to_owned());
                }
            })?;
            let mark = server.daemon.log_mark();
            server.daemon.signal(Signal::SIGHUP)?;
            wait_for("OSPF anew", PATIENCE, || {
                let log = server.daemon.log_since(mark);
                Ok(log.contains("configuration reloaded").then_some(()))
            })?;
            wait_full(&trio)
        })?;
        says_drained(server, true)?;

        both.moves(lab, "drain --off", SERVER_1, || {
            let answer = drain(server, &["--off"])?;
            ensure!(answer["drained"] == false && answer["changed"] == true);
            Ok(())
        })?;
        says_drained(server, false)?;

        // The last resort is one: the other leaves.
        both.moves(lab, "drain again", SERVER_2, || {
            drain(server, &[]).map(drop)
        })?;
        both.moves(lab, "the other stops", SERVER_1, || {
            trio.second.daemon.stop()
        })?;
        trio.second.daemon.run()?;
        wait_full(&trio)?;
        // A clean stop ends it.
        server.daemon.stop()?;
        server.daemon.run()?;
        wait_full(&trio)?;
        says_drained(server, false)
    })
}

/// Takes the services of a server away, or gives them back, by a reload.
fn serve(member: &Member, on: bool) -> Result<()> {
    member.daemon.reconfigure(|config| {
        config.services.clear();
        // IPv4 stays routed either way.
        config.more = String::new();
        if on {
            config.services.push(("web".into(), ANYCAST));
            config.more = format!("\n[[services]]\nname = \"v4\"\naddress = \"{ANYCAST4}\"\n");
        }
        if let Some(ospf) = &mut config.ospf {
            ospf.more = vec!["ipv4 = true".to_owned()];
        }
    })?;
    member.daemon.signal(Signal::SIGHUP)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_service_is_taken_away_and_given_back_and_nothing_is_lost() -> Result<()> {
    Lab::run("drain-service", |lab| {
        let (trio, both) = start(lab)?;
        let server = &trio.first;
        let addresses = || server.host.ns.run(["ip", "addr", "show", "dev", "lo"]);
        for _ in 0..3 {
            both.moves(lab, "taken away", SERVER_2, || serve(server, false))?;
            wait_for("the addresses to be gone", PATIENCE, || {
                let left = addresses()?;
                let (six, four) = (ANYCAST.to_string(), ANYCAST4.to_string());
                ensure!(!left.contains(&six) && !left.contains(&four), "{left}");
                Ok(Some(()))
            })?;
            both.moves(lab, "given back", SERVER_1, || serve(server, true))?;
        }
        // Given back before it is gone.
        serve(server, false)?;
        thread::sleep(Duration::from_millis(500));
        both.moves(lab, "given back at once", SERVER_1, || serve(server, true))?;
        let there = addresses()?;
        ensure!(there.contains(&ANYCAST.to_string()), "{there}");
        ensure!(there.contains(&ANYCAST4.to_string()), "{there}");
        Ok(())
    })
}
