//! `cargo xtask test --deep`: what takes hours, and the line it leaves in docs/deep-tests.md.

use std::{
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::nextest::Run;
use crate::{
    cmd::{self, cargo, root, say},
    host,
};

/// What the labs look for: more rounds of what is repeated (`tests/src`).
const DEEP: &str = "L2HA_DEEP";
/// Debian's kernels beside the oldest, which the first phase boots.
const NEWER: [&str; 2] = ["6.12", "7.x"];
const TABLE: &str = "docs/deep-tests.md";

/// A part, and how it went.
struct Part {
    name: String,
    passed: bool,
    took: Duration,
}

/// Plays everything, also behind a part that fails, and writes the line.
///
/// # Errors
///
/// Names the parts that failed.
pub(crate) fn deep(base: &Run) -> Result<()> {
    // Of before this run, which itself changes a file.
    let commit = host::commit();
    let start = Instant::now();
    let all = Run {
        profile: Some("deep"),
        environment: vec![(DEEP, "1".to_owned())],
        ..base.clone()
    };
    let mut parts = vec![part("all tests, 6.1", || all.run())];
    if base.privileged {
        // Side by side: an emulated machine keeps one processor busy.
        parts.extend(thread::scope(|scope| {
            let all = &all;
            let played = NEWER.map(|series| {
                scope.spawn(move || {
                    part(&format!("machines, {series}"), || {
                        of_kernel(all, series).run()
                    })
                })
            });
            played.map(|part| {
                part.join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        }));
    }
    parts.push(part("1,000 seeds of 20 routers", || {
        simulate(&["--seeds", "1000", "--routers", "20", "--found"])
    }));
    parts.push(part("100 seeds of 200 routers", || {
        simulate(&["--seeds", "100", "--routers", "200"])
    }));
    if base.privileged {
        parts.push(part("soak: 10 minutes of BFD under load", soak));
    }
    write(&commit, &parts, start.elapsed())?;
    let failed: Vec<&str> = parts
        .iter()
        .filter(|part| !part.passed)
        .map(|part| part.name.as_str())
        .collect();
    if !failed.is_empty() {
        bail!("failed: {}", failed.join("; "));
    }
    Ok(())
}

/// The tests with virtual machines, which boot Debian's newest kernel of a series.
pub(crate) fn of_kernel(base: &Run, series: &str) -> Run {
    let mut run = Run {
        profile: Some("deep"),
        filter: Some("binary_id(l2ha-tests::vm)".to_owned()),
        ..base.clone()
    };
    run.environment
        .push((l2ha_lab::vm::SERIES, series.to_owned()));
    run
}

fn part(name: &str, play: impl FnOnce() -> Result<()>) -> Part {
    say(format!("deep: {name}"));
    let start = Instant::now();
    let verdict = play();
    if let Err(error) = &verdict {
        say(format!("{name}: {error:#}"));
    }
    Part {
        name: name.to_owned(),
        passed: verdict.is_ok(),
        took: start.elapsed(),
    }
}

/// Networks of speakers in virtual time, one for each seed.
fn simulate(arguments: &[&str]) -> Result<()> {
    cmd::run(
        cargo()
            .args(["run", "--release", "--quiet", "--package", "ospfv3"])
            .args(["--example", "simulate", "--"])
            .args(arguments),
    )
}

/// No BFD session may fall while the processors are busy and nothing fails.
fn soak() -> Result<()> {
    let this = std::env::current_exe()?;
    cmd::run(
        Command::new(this)
            .args(["drill", "--watch", "10", "--load"])
            .current_dir(root()),
    )
}

/// Adds the line behind the others.
fn write(commit: &str, parts: &[Part], took: Duration) -> Result<()> {
    let path = root().join(TABLE);
    let mut text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let list = |passed: bool| {
        let parts = parts.iter().filter(|part| part.passed == passed);
        let names: Vec<String> = parts
            .map(|part| format!("{} ({:.0} s)", part.name, part.took.as_secs_f64()))
            .collect();
        match names.is_empty() {
            true => "-".to_owned(),
            false => names.join("; "),
        }
    };
    text.push_str(&format!(
        "| {} | {commit} | {} | {} | {} | {:.0} min |\n",
        host::date()?,
        host::machine()?,
        list(true),
        list(false),
        took.as_secs_f64() / 60.0
    ));
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    say(format!("added a line to {TABLE}"));
    Ok(())
}
