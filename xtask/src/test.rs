//! `cargo xtask test`: everything, in phases, with what was skipped and why.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    cmd::{cargo, root, run, say, target_dir},
    packages, setup,
    tee::{failed_tests, faults, run_kept},
};

/// How often a test may be tried under `--again`.
const TRIES: usize = 3;

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
    /// Run those tests of a lab or virtual machine that failed once or twice more at the end, and tell what
    /// passed only then: their times depend on what else the machine does
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
    /// At this try; how it failed at the first.
    PassedAgain(usize, Failure),
    Failed(Failure),
    Skipped(String),
}

/// A phase that did not pass.
#[derive(Default)]
struct Failure {
    why: String,
    /// What it printed.
    output: String,
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
            _ => play(options, phase, &[], 1),
        };
        results.push((phase.name.as_str(), outcome, start.elapsed()));
    }
    if options.again {
        for (phase, (_, outcome, took)) in phases.iter().zip(&mut results) {
            let start = Instant::now();
            try_again(options, phase, outcome);
            *took += start.elapsed();
        }
    }
    report(&results, options.no_skip)
}

/// Runs what has failed of a phase that depends on times until it passes or was tried often enough.
fn try_again(options: &Options, phase: &Phase, outcome: &mut Outcome) {
    if !phase.depends_on_times() {
        return;
    }
    let Outcome::Failed(first) = outcome else {
        return;
    };
    let mut names = failed_tests(&first.output);
    for number in 2..=TRIES {
        say(format!("try {number}: {} {}", phase.name, names.join(" ")));
        match play(options, phase, &names, number) {
            Outcome::Failed(failure) => {
                let still = failed_tests(&failure.output);
                // Where it did not come to its end, all have to be tried again.
                names.retain(|name| still.is_empty() || still.contains(name));
            }
            _ => {
                let first = std::mem::take(first);
                *outcome = Outcome::PassedAgain(number, first);
                return;
            }
        }
    }
}

/// Runs a phase, or the tests of it with these names, for the time with this number.
fn play(options: &Options, phase: &Phase, names: &[String], number: usize) -> Outcome {
    let name = phase.name.replace(':', "-");
    let log = match number {
        1 => format!("{name}.log"),
        _ => format!("{name}-{number}.log"),
    };
    let log = target_dir().join("test-logs").join(log);
    let mut command = with_kernel(options, &phase.arguments);
    if !names.is_empty() {
        command.arg("--exact").args(names);
    }
    match run_kept(&mut command, &log) {
        Ok(()) => Outcome::Passed,
        Err(error) => Outcome::Failed(Failure {
            why: format!("{error:#}"),
            output: fs::read(&log)
                .map(|output| String::from_utf8_lossy(&output).into_owned())
                .unwrap_or_default(),
        }),
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
                "dataplane",
                "--package",
                "routing",
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
    for (binary, module) in scenarios()? {
        let group = if binary == "vm" { "vm" } else { "lab" };
        phases.push(phase(
            &format!("{group}:{module}"),
            true,
            &[
                "test",
                "--package",
                "l2ha-tests",
                "--test",
                binary,
                "--",
                "--ignored",
                "--nocapture",
                &format!("{module}::"),
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

/// The test binaries with scenarios, virtual machines last: they take longest.
const KINDS: [&str; 3] = ["converge", "timed", "vm"];

/// One scenario a file, with the binary it belongs to.
fn scenarios() -> Result<Vec<(&'static str, String)>> {
    let mut scenarios = Vec::new();
    for kind in KINDS {
        let folder = root().join("tests/tests").join(kind);
        let entries =
            fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        let mut names: Vec<String> = entries
            .flatten()
            .map(|entry| entry.path())
            // Those without belong to the unit tests.
            .filter(|path| fs::read_to_string(path).is_ok_and(|text| text.contains("#[ignore")))
            .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
            .collect();
        names.sort();
        scenarios.extend(names.into_iter().map(|name| (kind, name)));
    }
    Ok(scenarios)
}

/// The table at the end, and the verdict.
fn report(results: &[(&str, Outcome, Duration)], no_skip: bool) -> Result<()> {
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for (name, outcome, _) in results {
        if let Outcome::Failed(failure) | Outcome::PassedAgain(_, failure) = outcome {
            println!("\n{name}, at the first try:");
            for line in faults(&failure.output) {
                println!("  {line}");
            }
        }
    }
    println!();
    for (name, outcome, time) in results {
        let (word, detail) = match outcome {
            Outcome::Passed => {
                passed += 1;
                ("passed", String::new())
            }
            Outcome::PassedAgain(number, _) => {
                passed += 1;
                ("AGAIN", format!("passed at try {number}"))
            }
            Outcome::Failed(failure) => {
                failed += 1;
                ("FAILED", failure.why.clone())
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
