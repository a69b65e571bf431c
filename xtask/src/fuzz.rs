//! `cargo xtask fuzz`: libFuzzer over the protocol crates and the data plane.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use l2ha_lab::{catch_signals, corpus, interrupted};

use crate::{
    cmd::{cargo, run, say, target_dir},
    packages,
};

/// Options of `cargo xtask fuzz`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask fuzz
  cargo xtask fuzz --minutes 30 ospfv3_speaker
  cargo xtask fuzz --list
  cargo xtask fuzz --replay FILE ospfv3_speaker

What reaches something new goes into tests/fuzz/corpus, one archive for each target (also after Ctrl-C); what \
fails into target/fuzz-failures.")]
pub(crate) struct Options {
    /// Only these targets
    targets: Vec<String>,
    /// Minutes for all of them together
    #[arg(long, default_value_t = 6.0, value_name = "N")]
    minutes: f64,
    /// Run one input again, such as one that failed
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// Replace each corpus by the least that covers as much
    #[arg(long, conflicts_with = "replay")]
    minimize: bool,
    /// Name the targets
    #[arg(long)]
    list: bool,
}

struct Target {
    name: &'static str,
    about: &'static str,
    /// Whether it takes more of the daemon to build than its protocols.
    daemon: bool,
    /// Whether it loads programs into the kernel.
    root: bool,
}

const fn target(name: &'static str, about: &'static str) -> Target {
    Target {
        name,
        about,
        daemon: false,
        root: false,
    }
}

const TARGETS: [Target; 7] = [
    target("ospfv3_packet", "any bytes through OSPFv3's codec and back"),
    target(
        "ospfv3_speaker",
        "a router whose neighbour misbehaves in any state",
    ),
    target(
        "bfd_session",
        "a BFD session whose peer sends anything, at any time",
    ),
    target(
        "bfd_auth",
        "BFD's authentication: any bytes, and signed ones changed",
    ),
    target(
        "l2tp_header",
        "the code of the kernel programs, on the host",
    ),
    Target {
        daemon: true,
        ..target("config", "any text as configuration file")
    },
    Target {
        daemon: true,
        root: true,
        ..target("dataplane", "the programs in the kernel, packet by packet")
    },
];

/// What libFuzzer needs to know where code leads, as `cargo fuzz --sanitizer none` asks for it: no
/// nightly is needed for that.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Ccodegen-units=1 --cfg fuzzing";

/// Builds the targets and runs them one after the other.
///
/// # Errors
///
/// When a target is unknown or does not build, and when an input fails: the text says which and how to
/// run it again.
pub(crate) fn fuzz(options: &Options) -> Result<()> {
    if options.list {
        for target in &TARGETS {
            println!("{:<16} {}", target.name, target.about);
        }
        return Ok(());
    }
    let targets = chosen(&options.targets)?;
    if targets.iter().any(|target| target.root) {
        ensure!(
            packages::is_root(),
            "the target dataplane loads programs into the kernel: call this as root, or name others"
        );
    }
    if packages::is_root() {
        packages::install()?;
    }
    build(&targets)?;
    if let Some(file) = &options.replay {
        let [target] = targets[..] else {
            bail!("--replay FILE needs the name of the one target that the file is for");
        };
        return run(&mut command(target, &[file.as_path()]));
    }
    let each = Duration::from_secs_f64(60.0 * options.minutes.max(0.0) / targets.len() as f64);
    let failures = target_dir().join("fuzz-failures");
    fs::create_dir_all(&failures)?;
    // libFuzzer ends by itself, and what it has found by then is kept.
    catch_signals()?;
    for target in targets {
        let folder = corpus::unpack(target.name)?;
        let outcome = if options.minimize {
            minimize(target, &folder)
        } else {
            search(target, &folder, each, &failures)
        };
        corpus::pack(target.name, &folder)?;
        if interrupted() {
            bail!("interrupted; what {} has found is kept", target.name);
        }
        outcome?;
    }
    Ok(())
}

/// Looks for inputs that reach something new, and adds them to the folder.
fn search(target: &Target, folder: &Path, time: Duration, failures: &Path) -> Result<()> {
    say(format!(
        "{}: {}, {:.0} s",
        target.name,
        target.about,
        time.as_secs_f64()
    ));
    let prefix = format!("{}/{}-", failures.display(), target.name);
    run(command(target, &[folder])
        .arg(format!("-max_total_time={}", time.as_secs().max(1)))
        .arg(format!("-artifact_prefix={prefix}"))
        .args([
            "-max_len=4096",
            "-timeout=20",
            "-rss_limit_mb=2048",
            "-verbosity=0",
            "-print_final_stats=1",
        ]))
    .with_context(|| {
        format!(
            "{} has failed on an input: see {}, and run it again with `cargo xtask fuzz --replay FILE {}`",
            target.name,
            failures.display(),
            target.name
        )
    })
}

/// The targets of these names, or all.
fn chosen(names: &[String]) -> Result<Vec<&'static Target>> {
    if names.is_empty() {
        return Ok(TARGETS.iter().collect());
    }
    names
        .iter()
        .map(|name| {
            let found = TARGETS.iter().find(|target| target.name == name);
            found.with_context(|| format!("no target {name}: see `cargo xtask fuzz --list`"))
        })
        .collect()
}

fn build(targets: &[&Target]) -> Result<()> {
    say("building the fuzzer's targets");
    let mut command = cargo();
    command
        .args(["build", "--quiet", "--profile", "fuzz", "--locked"])
        .args(["--package", "l2ha-fuzz", "--no-default-features"])
        .args(["--features", "libfuzzer", "--target"])
        .arg(triple())
        .env("CARGO_TARGET_DIR", target_dir().join("fuzz"))
        .env("RUSTFLAGS", FLAGS)
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    if targets.iter().any(|target| target.daemon) {
        command.args(["--features", "daemon"]);
    }
    for target in targets {
        command.args(["--bin", target.name]);
    }
    run(&mut command)
}

/// With `--target`, flags are for the targets alone, not for what builds them.
fn triple() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

fn command(target: &Target, arguments: &[&Path]) -> Command {
    let program = target_dir()
        .join("fuzz")
        .join(triple())
        .join("fuzz")
        .join(target.name);
    let mut command;
    if target.root {
        // Namespaces, interfaces and pins are gone with its last process.
        command = Command::new("unshare");
        command
            .args(["--net", "--mount", "sh", "-ec"])
            .arg("mkdir -p /run/netns; mount -t tmpfs none /run/netns; exec \"$@\"")
            .arg("sh")
            .arg(program);
    } else {
        command = Command::new(program);
    }
    command.args(arguments);
    command
}

/// Leaves of a folder's inputs what is needed to cover as much.
fn minimize(target: &Target, folder: &Path) -> Result<()> {
    let least = tempfile::tempdir_in(folder.parent().context("no folder")?)?;
    say(format!("{}: making the corpus small", target.name));
    run(command(target, &[least.path(), folder]).args([
        "-merge=1",
        "-max_len=4096",
        "-verbosity=0",
    ]))?;
    fs::remove_dir_all(folder)?;
    fs::rename(least.keep(), folder)?;
    Ok(())
}
