//! `cargo xtask drill`: failover again and again, and what each one cost the client.

mod gaps;
mod load;
mod story;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Serialize;

use crate::{
    cmd::{self, cargo, say, target_dir},
    packages, setup,
};
use gaps::Gaps;

/// Let servers fail again and again in the lab, and measure what a client notices
///
/// Two servers hold one anycast address; a client asks it every millisecond, or fetches a page from it
/// every 5 ms where the service's process is cut. Each drill takes the preferred server away, waits until the
/// other one serves, and brings it back.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask drill
  cargo xtask drill --count 100 --bfd 10x3 --against frr
  cargo xtask drill --cut stop --count 20 --json target/drill.json
  cargo xtask drill --cut service --count 20
  cargo xtask drill --cut hang --check exec --count 20
  cargo xtask drill --load --bfd 3.3x3
  cargo xtask drill --watch 10 --load=real-time

Exit status: 0 when every failover happened, and with --watch no session fell; else 1.")]
pub(crate) struct Options {
    /// How many drills
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// What happens to the preferred server
    #[arg(long, value_enum, default_value_t = Cut::Silent)]
    cut: Cut,
    /// What checks the service where its process is cut, every 100 ms, within 200 ms [default: http]
    #[arg(long, value_enum)]
    check: Option<Check>,
    /// BFD: milliseconds between packets, `x`, and how many may be missed
    #[arg(long, value_name = "MSxN", default_value = "10x3", value_parser = bfd)]
    bfd: Bfd,
    /// Keep every core busy meanwhile
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "ordinary")]
    load: Option<load::Kind>,
    /// Let nothing fail for so long, and count the BFD sessions that fall nevertheless
    #[arg(long, value_name = "MINUTES", conflicts_with_all = ["count", "cut", "check", "against", "at_most", "json"],
          value_parser = clap::value_parser!(u32).range(1..))]
    watch: Option<u32>,
    /// Drill this as well, in the same run: FRR as the client and BIRD as the servers
    #[arg(long, value_enum)]
    against: Option<Peer>,
    /// End with the first drill that costs more milliseconds, and keep what every host has written
    #[arg(long, value_name = "MS")]
    at_most: Option<u64>,
    /// Write the figures as JSON, an object for each subject
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Options {
    /// What checks the service, where its process is cut.
    fn check(&self) -> Option<Check> {
        let cut = self.cut.is_of_the_service();
        cut.then(|| self.check.unwrap_or_default())
    }
}

/// What happens to the preferred server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Cut {
    /// Its packets vanish on the way; its link stays up
    Silent,
    /// Its routing daemon is killed (SIGKILL); its kernel goes on
    Crash,
    /// Its network interface goes down
    Nic,
    /// Its routing daemon is stopped in order (SIGTERM)
    Stop,
    /// Its service's process is killed (SIGKILL), and started again; all else goes on
    Service,
    /// Its service's process hangs (SIGSTOP), and goes on later; all else goes on
    Hang,
}

impl Cut {
    /// Whether the service's process is what is cut.
    const fn is_of_the_service(self) -> bool {
        matches!(self, Self::Service | Self::Hang)
    }
}

/// What checks a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Check {
    /// A request of the daemon's own, whose listener is watched: its end is noticed at once
    #[default]
    Http,
    /// A program that makes the same request: its end is noticed by the interval
    Exec,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Peer {
    Frr,
}

/// Intervals of BFD.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bfd {
    ms: f64,
    times: u8,
}

impl std::fmt::Display for Bfd {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{}x{}", self.ms, self.times)
    }
}

fn bfd(text: &str) -> Result<Bfd, String> {
    let wrong = || format!("`{text}` is not milliseconds, `x` and a multiplier, as in 10x3");
    let (ms, times) = text.split_once('x').ok_or_else(wrong)?;
    let bfd = Bfd {
        ms: ms.parse().map_err(|_| wrong())?,
        times: times.parse().map_err(|_| wrong())?,
    };
    if !(3.0..=10_000.0).contains(&bfd.ms) || !(2..=50).contains(&bfd.times) {
        return Err("the interval must be 3 to 10000 ms and the multiplier 2 to 50".to_owned());
    }
    Ok(bfd)
}

/// Who is drilled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Subject {
    /// All three hosts run l2ha.
    L2ha,
    /// FRR and BIRD over l2ha's pseudowires.
    Frr,
}

/// The figures of a subject.
#[derive(Debug, Serialize)]
struct Row {
    subject: Subject,
    cut: Cut,
    /// What checks the service, where that is what is cut.
    check: Option<Check>,
    bfd: String,
    load: bool,
    count: usize,
    min_ms: f64,
    median_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    lost: u64,
}

/// Drills.
///
/// # Errors
///
/// When l2ha does not build, the lab cannot be made, or a failover did not happen.
pub(crate) fn drill(options: &Options) -> Result<()> {
    if !packages::is_root() {
        bail!("drills make network namespaces and need root: sudo cargo xtask drill");
    }
    if options.against.is_some() {
        ensure!(
            matches!(options.cut, Cut::Silent | Cut::Nic),
            "--against frr is for --cut silent and nic: the others are done to l2ha itself"
        );
        ensure!(
            options.bfd.ms >= 10.0,
            "FRR's BFD sends every 10 ms at the fastest"
        );
    }
    ensure!(
        options.check.is_none() || options.cut.is_of_the_service(),
        "--check is for --cut service and hang: nothing else depends on it"
    );
    setup::run_if_needed()?;
    packages::install()?;
    l2ha_lab::catch_signals()?;
    say("building l2ha");
    cmd::run(cargo().args(["build", "--release", "--package", "l2ha-user"]))?;
    let binary = target_dir().join("release/l2ha");
    if let Some(minutes) = options.watch {
        return story::watch(
            &binary,
            options,
            Duration::from_secs(60 * u64::from(minutes)),
        );
    }
    let load = options.load.map(load::Load::start).transpose()?;
    let mut subjects = vec![Subject::L2ha];
    if options.against.is_some() {
        subjects.push(Subject::Frr);
    }
    let mut rows = Vec::new();
    for subject in subjects {
        let gaps = story::run(&binary, subject, options)
            .with_context(|| format!("drilling {subject:?}"))?;
        rows.push(row(subject, options, &gaps));
        println!("{}", gaps.text());
        if l2ha_lab::interrupted() {
            break;
        }
    }
    drop(load);
    for row in &rows {
        println!(
            "{:<5} {:?} cut{}, BFD {}{}: {} drills: min {:.1}, median {:.1}, p99 {:.1}, max {:.1} ms; \
             {} questions lost",
            format!("{:?}", row.subject).to_lowercase(),
            row.cut,
            row.check
                .map_or_else(String::new, |check| format!(", check {check:?}")),
            row.bfd,
            if row.load { ", under load" } else { "" },
            row.count,
            row.min_ms,
            row.median_ms,
            row.p99_ms,
            row.max_ms,
            row.lost
        );
    }
    if let [ours, theirs] = &rows[..] {
        println!(
            "the median is {:.2} of theirs",
            ours.median_ms / theirs.median_ms
        );
    }
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&rows)? + "\n";
        std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    ensure!(
        !l2ha_lab::interrupted(),
        "interrupted: these are the drills done until then"
    );
    Ok(())
}

fn row(subject: Subject, options: &Options, gaps: &Gaps) -> Row {
    Row {
        subject,
        cut: options.cut,
        check: options.check(),
        bfd: options.bfd.to_string(),
        load: options.load.is_some(),
        count: gaps.count(),
        min_ms: gaps.at(0.0),
        median_ms: gaps.at(0.5),
        p99_ms: gaps.at(0.99),
        max_ms: gaps.at(1.0),
        lost: gaps.lost(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_read() {
        assert_eq!(bfd("3.3x3"), Ok(Bfd { ms: 3.3, times: 3 }));
        assert_eq!(bfd("10x3").unwrap().to_string(), "10x3");
        for wrong in ["", "10", "10x", "2x3", "10x1", "x3"] {
            assert!(bfd(wrong).is_err(), "{wrong}");
        }
    }
}
