//! `cargo xtask test`: everything that can tell right from wrong on this host, or a quicker or deeper look.

mod changed;
mod deep;
mod nextest;

use anyhow::{Result, bail, ensure};

use self::nextest::Run;
use crate::{
    cmd::{say, target_dir},
    packages, setup,
};

/// Options of `cargo xtask test`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask test
  cargo xtask test topologies::                   only tests whose name has this in it
  cargo xtask test -E 'package(config)'           only these, by nextest's filter language
  cargo xtask test --quick
  cargo xtask test --deep
  cargo xtask test --kernel 6.12
  cargo xtask test --list bfd

Who may run beside whom, and how long a test may take, is in .config/nextest.toml; how each went
is in target/nextest/default/junit.xml; what a failed lab leaves is in target/lab-failures.")]
pub(crate) struct Options {
    /// Only tests with one of these in their names
    names: Vec<String>,
    /// Only the tests that this expression selects (see https://nexte.st/docs/filtersets)
    #[arg(short = 'E', long, value_name = "EXPRESSION")]
    filter: Option<String>,
    /// What the uncommitted changes concern (or the last commit, if there are none), in under a minute
    #[arg(long, conflicts_with_all = ["names", "filter"])]
    quick: bool,
    /// The matrix of kernels, every form of pseudowire, long and rare things: hours. Adds a line to
    /// docs/deep-tests.md
    #[arg(long, conflicts_with_all = ["names", "filter", "quick"])]
    deep: bool,
    /// Only the tests with virtual machines, and these with Debian's newest kernel of a series
    #[arg(long, value_name = "SERIES", conflicts_with_all = ["quick", "deep", "filter"],
          value_parser = ["6.1", "6.12", "7.x"])]
    kernel: Option<String>,
    /// Name the tests and end
    #[arg(long, conflicts_with_all = ["quick", "deep"])]
    list: bool,
    /// Fail where tests have to be skipped (as the gate does)
    #[arg(long)]
    no_skip: bool,
}

/// Runs the tests.
///
/// # Errors
///
/// When a test fails, or the toolchain cannot be set up.
pub(crate) fn test(options: &Options) -> Result<()> {
    setup::run_if_needed()?;
    let mut run = Run {
        privileged: is_privileged(options.no_skip)?,
        ..Run::default()
    };
    if options.deep {
        return deep::deep(&run);
    }
    if options.quick {
        return quick(run);
    }
    run.names.clone_from(&options.names);
    run.filter.clone_from(&options.filter);
    if let Some(series) = &options.kernel {
        run = deep::of_kernel(&run, series);
    }
    if options.list {
        return run.list();
    }
    run.run()
}

/// Whether the tests that need root run too. What they need of Debian is installed.
fn is_privileged(no_skip: bool) -> Result<bool> {
    let obstacle = if packages::is_root() {
        packages::install().err().map(|error| format!("{error:#}"))
    } else {
        Some("they need root: namespaces, BPF and virtual machines (sudo cargo xtask test)".into())
    };
    if let Some(why) = &obstacle {
        say(format!("labs and kernel programs are skipped: {why}"));
        ensure!(!no_skip, "nothing may be skipped here");
    }
    Ok(obstacle.is_none())
}

/// The tests of the crates that have changed and of all that are built on them; if these make up the
/// daemon, also the main job as `cargo xtask run` shows it.
fn quick(mut run: Run) -> Result<()> {
    let packages = changed::packages()?;
    say(format!("changed: {}", packages.join(", ")));
    if packages.is_empty() {
        bail!("nothing that is tested has changed: neither uncommitted nor in the last commit");
    }
    let show = run.privileged;
    run.privileged = false;
    let concerned = packages
        .iter()
        .map(|package| format!("rdeps(={package})"))
        .collect::<Vec<_>>()
        .join(" | ");
    // Random networks and damaged files take as long as all the rest.
    run.filter = Some(format!(
        "({concerned}) - test(/^seeds::/) - test(/(^|::)mutations::/)"
    ));
    run.run()?;
    if !show {
        return Ok(());
    }
    let told = l2ha_lab::show::run(&l2ha_lab::show::Options {
        binary: target_dir().join("debug/l2ha"),
        etcd: false,
        keep: false,
        json: None,
    })?;
    ensure!(told, "not every event went as told");
    Ok(())
}
