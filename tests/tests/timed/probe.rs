//! The probe over plain routes: its figures are right when the truth is known.

use std::{
    net::Ipv6Addr,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use l2ha_lab::{CloudOptions, HttpServer, Lab, PATIENCE, Probe, ProbeOptions, fetch_once, judged};

/// What a busy machine may hold back.
const BUSY: Duration = Duration::from_millis(250);

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_cut_of_known_length_is_measured() -> Result<()> {
    Lab::run("probe", |lab| {
        let (cloud, hosts) = lab.cloud(CloudOptions::default(), &["client", "server"])?;
        let [client, server] = &hosts[..] else {
            unreachable!()
        };
        let _web = HttpServer::start(&server.ns, Ipv6Addr::UNSPECIFIED, "server")?;
        let answer = fetch_once(&client.ns, server.v6, Duration::from_secs(5))?;
        ensure!(answer == "server", "{answer}");

        let start = Instant::now();
        let probe = Probe::start(&client.ns, server.v6, ProbeOptions::default())?;
        probe.wait_served_by("server", start, 50, PATIENCE)?;
        judged(lab, "undisturbed", |step| {
            let quiet = Instant::now();
            std::thread::sleep(Duration::from_secs(1));
            let to = Instant::now();
            let undisturbed = probe.longest_gap(quiet, to);
            let answers = probe.answers_since(quiet).len();
            lab.say(format_args!(
                "undisturbed: {answers} answers in 1 s, longest gap {undisturbed:?}"
            ));
            step.window(quiet, to, BUSY);
            ensure!(undisturbed < BUSY, "{undisturbed:?}");
            ensure!(answers > 50, "{answers} answers");
            Ok(())
        })?;

        judged(lab, "a cut of known length", |step| {
            let cut = Instant::now();
            cloud.cut(server)?;
            std::thread::sleep(Duration::from_millis(500));
            cloud.heal(server)?;
            let healed = Instant::now();
            let length = healed - cut;
            probe.wait_served_by("server", healed, 10, PATIENCE)?;
            let to = Instant::now();
            let gap = probe.longest_gap(cut, to);
            lab.say(format_args!("cut for {length:?}: longest gap {gap:?}"));
            step.window(cut, to, BUSY);
            ensure!(gap > Duration::from_millis(480), "{gap:?}");
            // An attempt that hung in the cut must not hide that later ones already succeed.
            ensure!(gap < length + BUSY, "{gap:?}");
            Ok(())
        })?;
        let (failures, why) = probe.failures();
        ensure!(failures > 0, "nothing failed in a cut: {why:?}");
        Ok(())
    })
}
