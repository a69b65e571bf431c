//! The same story with real routing peers on one side: neighbours, one database, the route, a cut,
//! and clean packets all along.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    capture::Capture,
    cloud::Host,
    config::router_id,
    lab::{Lab, PATIENCE, wait_for},
    probe::ProbeOptions,
    routing::{LsaKey, differences},
    stall::judged,
    trio::{ANYCAST, Member, SERVER_1, SERVER_2, Speaker, Trio, TrioOptions},
    tshark::{Framing, check},
};

const LINK_LSA: u16 = 0x0008;
/// Slower than usual: every packet is dissected afterwards.
const PACE: ProbeOptions = ProbeOptions {
    every: Duration::from_millis(20),
    timeout: Duration::from_millis(100),
    scope: 0,
};
/// The dead interval, and what other labs or another's router may add: BIRD computes on a tick of 1 s, and FRR may hold
/// a computation back. What our own client takes is measured where nothing else runs.
const LIMIT: Duration = Duration::from_secs(10);

/// Runs the story with `servers` and `client` as the speakers of OSPF.
///
/// # Errors
///
/// When anything in it is not as it should be.
pub fn interoperate(name: &str, servers: Speaker, client: Speaker) -> Result<()> {
    Lab::run(name, |lab| {
        let options = TrioOptions {
            servers,
            client,
            ..TrioOptions::default()
        };
        let trio = Trio::start(lab, options)?;
        let capture = Capture::cloud(lab, &trio.cloud, "udp or proto 115", "wire")?;
        trio.wait_full()?;
        lab.say("every neighbour Full, on both sides");
        let lsas = wait_one_database(&trio.members())?;
        lab.say(format_args!("{lsas} LSAs, the same in every database"));
        wait_route(&trio.client.host, SERVER_1)?;
        let probe = trio.probe_with(PACE)?;
        lab.say(format_args!("{SERVER_1} answers over the pseudowire"));

        let cut = trio.silent_cut(&probe)?;
        lab.say(format_args!("silent cut: longest gap {:.1?}", cut.gap));
        ensure!(cut.gap <= LIMIT, "the cut cost {:?}", cut.gap);
        wait_route(&trio.client.host, SERVER_2)?;
        let heal = trio.heal(&probe)?;
        lab.say(format_args!("heal: longest gap {:.1?}", heal.gap));
        wait_route(&trio.client.host, SERVER_1)?;
        trio.wait_full()?;
        wait_one_database(&trio.members())?;
        let stop = trio.clean_stop(&probe)?;
        lab.say(format_args!("clean stop: longest gap {:.1?}", stop.gap));
        wait_route(&trio.client.host, SERVER_2)?;
        drop(probe);

        let seen = check(capture.finish()?, Framing::default(), "")?;
        lab.say(format_args!(
            "tshark: {} frames, all good: {:?}",
            seen.frames, seen.protocols
        ));
        ensure!(seen.ospf > 20, "{:?}", seen.stacks);
        ensure!(seen.count("http") > 20, "{:?}", seen.stacks);
        ensure!(seen.count("l2tp") == seen.frames, "{:?}", seen.stacks);
        Ok(())
    })
}

/// Waits until every member holds the same database; returns how many LSAs of the area it has.
///
/// # Errors
///
/// With the differences, when that takes too long.
#[track_caller]
pub fn wait_one_database(members: &[&Member]) -> Result<usize> {
    wait_for("one database", PATIENCE, || {
        one_database(members, Member::database).map(Some)
    })
}

/// The same of the instances that route IPv4.
///
/// # Errors
///
/// As there.
#[track_caller]
pub fn wait_one_database_ipv4(members: &[&Member]) -> Result<usize> {
    wait_for("one database for IPv4", PATIENCE, || {
        one_database(members, Member::database_ipv4).map(Some)
    })
}

/// Compares the databases of all members: the area's among all of them, and each link's between
/// the two that share it.
fn one_database(members: &[&Member], read: fn(&Member) -> Result<Vec<LsaKey>>) -> Result<usize> {
    let databases = members
        .iter()
        .map(|member| read(member))
        .collect::<Result<Vec<_>>>()?;
    let is_link = |lsa: &&LsaKey| lsa.ls_type & 0x6000 == 0;
    let area = |database: &[LsaKey]| -> Vec<LsaKey> {
        database
            .iter()
            .filter(|lsa| !is_link(lsa))
            .cloned()
            .collect()
    };
    let reference = area(&databases[0]);
    // A Router-LSA of each, and from the servers a prefix.
    ensure!(
        reference.len() > members.len(),
        "only {} LSAs: {reference:x?}",
        reference.len()
    );
    for (member, database) in members.iter().zip(&databases).skip(1) {
        let different = differences(&reference, &area(database));
        ensure!(
            different.is_empty(),
            "{} (left) and {} (right): {different:#?}",
            members[0].host.name,
            member.host.name
        );
    }
    for (here, mine) in members.iter().zip(&databases) {
        for (there, theirs) in members.iter().zip(&databases) {
            let joined = here
                .daemon
                .config()
                .tunnels
                .iter()
                .any(|tunnel| tunnel.name == there.host.name);
            if !joined {
                continue;
            }
            let author = router_id(&there.host);
            let heard: Vec<_> = mine
                .iter()
                .filter(is_link)
                // FRR keeps Grace-LSAs that have been flushed.
                .filter(|lsa| lsa.router == author && lsa.ls_type == LINK_LSA)
                .collect();
            let pair = format!("{} of {}", here.host.name, there.host.name);
            ensure!(heard.len() == 1, "{pair}: Link-LSAs {heard:x?}");
            ensure!(
                theirs.iter().any(|lsa| lsa.same(heard[0])),
                "{pair}: {:x?} is not what it has: {theirs:x?}",
                heard[0]
            );
        }
    }
    Ok(reference.len())
}

/// Waits until the kernel's route to the anycast address leads over the tunnel to a server.
///
/// # Errors
///
/// With the routes there are, when that takes too long.
#[track_caller]
pub fn wait_route(host: &Host, server: &str) -> Result<()> {
    let device = format!("l2-{server}");
    wait_for(&format!("a route through {device}"), PATIENCE, || {
        let target = ANYCAST.to_string();
        let routes = host.ns.ip_json(&["-6", "route", "show", &target])?;
        let list = routes.as_array().context("no list of routes")?;
        ensure!(
            list.len() == 1 && crate::devices(&list[0]) == [device.as_str()],
            "the routes are {routes}"
        );
        // FRR and we mark theirs `ospf`, BIRD `bird`.
        let protocol = list[0]["protocol"].as_str().unwrap_or_default();
        ensure!(["ospf", "bird"].contains(&protocol), "{routes}");
        Ok(Some(()))
    })
}

/// How long the last answers may take.
const LAST: Duration = Duration::from_millis(100);

/// Cuts the preferred server off without a sign as often as said; BFD, with these milliseconds and multiplier, notices,
/// and no cut costs more than `limit`. `speakers` are those of the servers and of the client.
///
/// # Errors
///
/// When a cut costs more.
pub fn cut_with_bfd(
    name: &str,
    speakers: [Speaker; 2],
    bfd: (f64, u8),
    rounds: usize,
    limit: Duration,
) -> Result<()> {
    let [servers, client] = speakers;
    Lab::run(name, |lab| {
        let options = TrioOptions {
            servers,
            client,
            bfd: Some(bfd),
            ..TrioOptions::default()
        };
        let trio = Trio::start(lab, options)?;
        trio.wait_up()?;
        let beats = trio.beats()?;
        trio.wait_settled()?;
        let heal = || {
            let healed = Instant::now();
            trio.cloud.heal(&trio.first.host)?;
            beats.wait_served_by(SERVER_1, healed, 200, PATIENCE)?;
            trio.wait_settled()
        };
        let mut is_cut = false;
        for _ in 0..rounds {
            judged(lab, "a silent cut", |step| {
                if is_cut {
                    heal()?;
                }
                is_cut = true;
                let from = Instant::now();
                trio.cloud.cut(&trio.first.host)?;
                beats.wait_served_by(SERVER_2, from, 50, PATIENCE)?;
                let to = Instant::now();
                thread::sleep(LAST);
                let gap = beats.gap(from, to);
                lab.say(format_args!(
                    "{} ms x {}: gap {:.1?}, {} lost",
                    bfd.0, bfd.1, gap.longest, gap.lost
                ));
                step.window(from, to, limit);
                ensure!(gap.longest < limit, "{gap:?}");
                ensure!(gap.lost > 0, "a cut without a loss: nothing was cut");
                Ok(())
            })?;
        }
        // Each pair of speakers has to find back once.
        if rounds == 1 { heal() } else { Ok(()) }
    })
    .with_context(|| name.to_owned())
}
