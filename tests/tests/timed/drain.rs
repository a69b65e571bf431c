//! A server that others shall take over from, and a service that is taken away, while everything runs:
//! nothing is lost, in no family.

use std::{
    cell::Cell,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use l2ha_lab::{
    ANYCAST, ANYCAST4, Both, Ipv4Links, Lab, Member, PATIENCE, SERVER_1, SERVER_2, Trio,
    TrioOptions, is_deep, judged, wait_for, wait_quiet,
};
use serde_json::Value;

/// BFD of 50 ms x 4: a machine that pauses for so long looks like a failure.
const DETECTION: Duration = Duration::from_millis(200);
/// How long it is watched that no other server answers any more.
const WATCHED: Duration = Duration::from_millis(300);
/// What Debian's systemd sets, for IPv4.
const HOSTS: &[(&str, &str)] = &[
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "2"),
];

/// A running trio, and questions to its anycast addresses.
struct Served<'a> {
    lab: &'a Lab,
    trio: Trio,
    both: Both,
}

impl<'a> Served<'a> {
    fn start(lab: &'a Lab) -> Result<Self> {
        let options = TrioOptions {
            bfd: Some((50.0, 4)),
            ipv4: Some(Ipv4Links::Bare),
            sysctls: HOSTS,
            ..TrioOptions::default()
        };
        let trio = Trio::start(lab, options)?;
        trio.wait_up()?;
        let both = Both::start(&trio)?;
        trio.wait_settled()?;
        Ok(Self { lab, trio, both })
    }

    /// Does something, waits until `server` serves both families and nothing changes any more: nothing is lost. To do
    /// it once more it must be undone first.
    fn moves(
        &self,
        what: &str,
        server: &str,
        act: impl Fn() -> Result<()>,
        undo: impl Fn() -> Result<()>,
    ) -> Result<()> {
        let mut again = false;
        judged(self.lab, what, |step| {
            if again {
                undo()?;
                wait_quiet(&self.trio.members())?;
            }
            again = true;
            let from = Instant::now();
            act()?;
            self.both.wait_served_by(server, from, 500)?;
            wait_quiet(&self.trio.members())?;
            let late = Instant::now();
            thread::sleep(WATCHED);
            let to = Instant::now();
            let gaps = self.both.gaps(self.lab, what, from, to);
            step.window(from, to, DETECTION);
            ensure!(gaps.iter().all(|gap| gap.lost == 0), "{gaps:?}");
            for by in self.both.answered_by(late) {
                ensure!(by.len() == 1 && by.contains(server), "answers by {by:?}");
            }
            Ok(())
        })
    }

    /// The same of what can be done again as it is.
    fn repeats(&self, what: &str, server: &str, act: impl Fn() -> Result<()>) -> Result<()> {
        self.moves(what, server, act, || Ok(()))
    }
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

/// Drains it, or ends that; it must not have been so already.
fn change(member: &Member, drained: bool) -> Result<()> {
    let words: &[&str] = if drained { &[] } else { &["--off"] };
    let answer = drain(member, words)?;
    ensure!(
        answer["drained"] == drained && answer["changed"] == true,
        "{answer}"
    );
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_server_is_drained_and_serves_again_and_nothing_is_lost() -> Result<()> {
    Lab::run("drain", |lab| {
        let served = Served::start(lab)?;
        let trio = &served.trio;
        let server = &trio.first;
        let (on, off) = (|| change(server, true), || change(server, false));
        says_drained(server, false)?;
        served.moves("drain", SERVER_2, on, off)?;
        says_drained(server, true)?;
        let again = drain(server, &[])?;
        ensure!(again["changed"] == false, "{again}");

        served.repeats("reload", SERVER_2, || server.daemon.reload(|_| {}))?;
        says_drained(server, true)?;
        served.repeats("restart", SERVER_2, || {
            server.daemon.leave()?;
            server.daemon.run()?;
            trio.wait_up()
        })?;
        says_drained(server, true)?;
        let grace = Cell::new(60);
        served.repeats("[ospf] changed", SERVER_2, || {
            server.daemon.reload(|config| {
                if let Some(ospf) = &mut config.ospf {
                    ospf.more
                        .retain(|line| !line.starts_with("graceful_restart"));
                    ospf.more
                        .push(format!("graceful_restart = {}", grace.get()));
                }
            })?;
            grace.set(grace.get() + 1);
            trio.wait_up()
        })?;
        says_drained(server, true)?;

        served.moves("drain --off", SERVER_1, off, on)?;
        says_drained(server, false)?;

        // The last resort is one: the other leaves.
        served.moves("drain again", SERVER_2, on, off)?;
        let back = || {
            trio.second.daemon.run()?;
            trio.wait_up()
        };
        let stop = || trio.second.daemon.stop();
        served.moves("the other stops", SERVER_1, stop, back)?;
        back()?;
        // A clean stop ends it.
        server.daemon.stop()?;
        server.daemon.run()?;
        trio.wait_up()?;
        says_drained(server, false)
    })
}

/// Takes the services of a server away, or gives them back, by a reload.
fn serve(member: &Member, on: bool) -> Result<()> {
    member.daemon.reload(|config| {
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
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_service_is_taken_away_and_given_back_and_nothing_is_lost() -> Result<()> {
    Lab::run("drain-service", |lab| {
        let served = Served::start(lab)?;
        let server = &served.trio.first;
        let (on, off) = (|| serve(server, true), || serve(server, false));
        let addresses = || server.host.ns.run(["ip", "addr", "show", "dev", "lo"]);
        for _ in 0..if is_deep() { 3 } else { 1 } {
            served.moves("taken away", SERVER_2, off, on)?;
            wait_for("the addresses to be gone", PATIENCE, || {
                let left = addresses()?;
                let (six, four) = (ANYCAST.to_string(), ANYCAST4.to_string());
                ensure!(!left.contains(&six) && !left.contains(&four), "{left}");
                Ok(Some(()))
            })?;
            served.moves("given back", SERVER_1, on, off)?;
        }
        // Given back before it is gone.
        let nearly = || {
            off()?;
            thread::sleep(Duration::from_millis(500));
            Ok(())
        };
        nearly()?;
        served.moves("given back at once", SERVER_1, on, nearly)?;
        let there = addresses()?;
        ensure!(there.contains(&ANYCAST.to_string()), "{there}");
        ensure!(there.contains(&ANYCAST4.to_string()), "{there}");
        Ok(())
    })
}
