//! `cargo xtask test`: everything, in phases, with what was skipped and why.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    cmd::{cargo, root, run, say},
    packages, setup,
};

/// Options of `cargo xtask test`.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask test\n  cargo xtask test --only unit\n  \
    cargo xtask test --only lab:frr\n  \
    cargo xtask test --kernel 6.12\n  cargo xtask test --list"
)]
pub(crate) struct Options {
    /// Only phases whose name begins with this
    #[arg(long, value_name = "PHASE")]
    only: Option<String>,
    /// Only the phases with virtual machines, and these with Debian's newest kernel of a series
    #[arg(long, value_name = "SERIES", conflicts_with = "only",
          value_parser = ["6.1", "6.12", "7.x"])]
    kernel: Option<String>,
    /// Name the phases and end
    #[arg(long)]
    list: bool,
    /// Fail where a phase has to be skipped (as the gate does)
    #[arg(long)]
    no_skip: bool,
    /// Run a lab or virtual machine that failed once more at the end, and tell what passed only then: its
    /// times depend on what else the machine does
    #[arg(long)]
    again: bool,
}

/// A part of the tests.
struct Phase {
    name: String,
    /// Needs root: namespaces, BPF, virtual machines.
    privileged: bool,
    arguments: Vec<String>,
}

/// How a phase went.
enum Outcome {
    Passed,
    /// At the second time; how it failed at the first.
    PassedAgain(String),
    Failed(String),
    Skipped(String),
}

/// Runs the tests.
///
/// # Errors
///
/// When a phase fails, or the toolchain cannot be set up.
pub(crate) fn test(options: &Options) -> Result<()> {
    let phases: Vec<Phase> = phases()?
        .into_iter()
        .filter(|phase| {
            let only = match &options.kernel {
                Some(_) => Some("vm:"),
                None => options.only.as_deref(),
            };
            only.is_none_or(|only| phase.name.starts_with(only))
        })
        .collect();
    if phases.is_empty() {
        bail!("no phase has that name: `cargo xtask test --list` shows them");
    }
    if options.list {
        for phase in phases {
            println!("{:<24} cargo {}", phase.name, phase.arguments.join(" "));
        }
        return Ok(());
    }
    setup::run_if_needed()?;
    let obstacle = obstacle(&phases);
    say("building l2ha");
    run(cargo().args(["build", "--package", "l2ha-user"]))?;

    let mut results = Vec::new();
    let count = phases.len();
    for (number, phase) in phases.iter().enumerate() {
        say(format!("[{}/{count}] {}", number + 1, phase.name));
        let start = Instant::now();
        let outcome = match &obstacle {
            Some(why) if phase.privileged => Outcome::Skipped(why.clone()),
            _ => play(options, phase),
        };
        results.push((phase.name.as_str(), outcome, start.elapsed()));
    }
    for (phase, (name, outcome, took)) in phases.iter().zip(&mut results) {
        let Outcome::Failed(why) = outcome else {
            continue;
        };
        if !options.again || !phase.depends_on_times() {
            continue;
        }
        say(format!("once more: {name}"));
        let start = Instant::now();
        if let Outcome::Passed = play(options, phase) {
            *outcome = Outcome::PassedAgain(std::mem::take(why));
        }
        *took += start.elapsed();
    }
    report(&results, options.no_skip)
}

fn play(options: &Options, phase: &Phase) -> Outcome {
    match run(&mut with_kernel(options, &phase.arguments)) {
        Ok(()) => Outcome::Passed,
        Err(error) => Outcome::Failed(format!("{error:#}")),
    }
}

impl Phase {
    /// Whether it plays in real time, among processes.
    fn depends_on_times(&self) -> bool {
        self.name.starts_with("lab:") || self.name.starts_with("vm:")
    }
}

/// The call of cargo for a phase; its virtual machines boot the wanted kernel.
fn with_kernel(options: &Options, arguments: &[String]) -> std::process::Command {
    let mut command = cargo();
    command.args(arguments);
    // A backtrace of a scenario hides its error, which says what was seen.
    command.env("RUST_BACKTRACE", "0");
    if let Some(kernel) = &options.kernel {
        command.env(l2ha_lab::vm::SERIES, kernel);
    }
    command
}

/// Why the privileged phases cannot run here, if they cannot.
fn obstacle(phases: &[Phase]) -> Option<String> {
    if !phases.iter().any(|phase| phase.privileged) {
        return None;
    }
    if !packages::is_root() {
        return Some(
            "needs root: namespaces, BPF and virtual machines (sudo cargo xtask test)".into(),
        );
    }
    packages::install().err().map(|error| format!("{error:#}"))
}

/// The phases in their order: what is quick and tells most comes first.
fn phases() -> Result<Vec<Phase>> {
    let mut phases = vec![
        phase("unit", false, &["test", "--workspace", "--quiet"]),
        phase(
            "speaker",
            false,
            &[
                "test",
                "--release",
                "--package",
                "ospfv3",
                "--",
                "--ignored",
                "--nocapture",
            ],
        ),
        simulation("1000", "20", &["--found"]),
        simulation("100", "200", &[]),
        phase(
            "bpf",
            true,
            &[
                "test",
                "--package",
                "l2ha-user",
                "--tests",
                "--",
                "--ignored",
            ],
        ),
    ];
    phases.push(phase(
        "fuzz",
        true,
        &["run", "--package", "xtask", "--", "fuzz", "--smoke"],
    ));
    phases.push(phase(
        "bench",
        true,
        &["run", "--package", "xtask", "--", "bench", "--smoke"],
    ));
    for scenario in scenarios()? {
        let group = if scenario.starts_with("vm_") {
            "vm"
        } else {
            "lab"
        };
        phases.push(phase(
            &format!("{group}:{scenario}"),
            true,
            &[
                "test",
                "--package",
                "l2ha-tests",
                "--test",
                &scenario,
                "--",
                "--ignored",
                "--nocapture",
            ],
        ));
    }
    Ok(phases)
}

fn phase(name: &str, privileged: bool, arguments: &[&str]) -> Phase {
    Phase {
        name: name.to_owned(),
        privileged,
        arguments: arguments
            .iter()
            .map(|&argument| argument.to_owned())
            .collect(),
    }
}

/// Networks of speakers in virtual time, one for each seed.
fn simulation(seeds: &str, routers: &str, more: &[&str]) -> Phase {
    let arguments = [
        "run",
        "--release",
        "--quiet",
        "--package",
        "ospfv3",
        "--example",
        "simulate",
        "--",
        "--seeds",
        seeds,
        "--routers",
        routers,
    ];
    phase(
        &format!("simulate:{routers}"),
        false,
        &[&arguments, more].concat(),
    )
}

/// One scenario a file.
fn scenarios() -> Result<Vec<String>> {
    let folder = root().join("tests/tests");
    let entries =
        fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        // Those without belong to the unit tests.
        .filter(|path| fs::read_to_string(path).is_ok_and(|text| text.contains("#[ignore")))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    // Virtual machines last: they take longest.
    names.sort_by_key(|name| (name.starts_with("vm_"), name.clone()));
    Ok(names)
}

/// The table at the end, and the verdict.
fn report(results: &[(&str, Outcome, Duration)], no_skip: bool) -> Result<()> {
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    println!();
    for (name, outcome, time) in results {
        let (word, detail) = match outcome {
            Outcome::Passed => {
                passed += 1;
                ("passed", String::new())
            }
            Outcome::PassedAgain(why) => {
                passed += 1;
                (
                    "AGAIN",
                    format!("passed at the second time; at the first: {why}"),
                )
            }
            Outcome::Failed(why) => {
                failed += 1;
                ("FAILED", why.clone())
            }
            Outcome::Skipped(why) => {
                skipped += 1;
                ("skipped", why.clone())
            }
        };
        println!(
            "{name:<24} {word:<8} {:>6.1} s  {detail}",
            time.as_secs_f64()
        );
    }
    println!("\n{passed} passed, {failed} failed, {skipped} skipped");
    if failed > 0 {
        bail!("{failed} of {} phases failed", results.len());
    }
    if no_skip && skipped > 0 {
        bail!("{skipped} of {} phases were skipped", results.len());
    }
    Ok(())
}
