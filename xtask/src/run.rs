//! `cargo xtask run`: the main job, live; with `--config`, this host for real.

use std::{os::unix::process::CommandExt as _, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::{
    cmd::{self, cargo, say, target_dir},
    packages, setup,
};

/// Options of `cargo xtask run`.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask run\n  cargo xtask run --keep\n  cargo xtask run --etcd\n  \
    cargo xtask run --json timeline.json\n  cargo xtask run --config /etc/l2ha/l2ha.toml"
)]
pub(crate) struct Options {
    /// Run the daemon on this host with this configuration, instead of the live show in the lab
    #[arg(long, value_name = "FILE", conflicts_with_all = ["etcd", "keep", "json"])]
    config: Option<PathBuf>,
    /// Show a node that joins by itself, through etcd, serves, and leaves
    #[arg(long, conflicts_with = "keep")]
    etcd: bool,
    /// Keep the lab after the show, to look around; Ctrl-C removes it
    #[arg(long)]
    keep: bool,
    /// Write the timeline as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Builds l2ha and runs it.
///
/// # Errors
///
/// When it does not build, needs something this machine has not, or an event did not go as told.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::run_if_needed()?;
    say("building l2ha");
    cmd::run(cargo().args(["build", "--release", "--package", "l2ha-user"]))?;
    let binary = target_dir().join("release/l2ha");
    match &options.config {
        Some(config) => deploy(&binary, config),
        None => show(&binary, options),
    }
}

/// Runs the daemon on this host: built as this user, run as root.
fn deploy(binary: &std::path::Path, config: &std::path::Path) -> Result<()> {
    let config = config
        .canonicalize()
        .with_context(|| format!("cannot find {}", config.display()))?;
    let mut command = if packages::is_root() {
        Command::new(binary)
    } else {
        say("the daemon needs root: starting it with sudo");
        let mut command = Command::new("sudo");
        command.arg(binary);
        command
    };
    command.arg("run").arg("--config").arg(&config);
    // Takes this process's place, so that signals and the exit status are the daemon's.
    Err(command.exec()).with_context(|| format!("cannot start {}", binary.display()))
}

/// Two servers, a client and a failover in namespaces.
fn show(binary: &std::path::Path, options: &Options) -> Result<()> {
    if !packages::is_root() {
        bail!("the live show makes network namespaces and needs root: sudo cargo xtask run");
    }
    packages::install()?;
    let told = l2ha_lab::show::run(&l2ha_lab::show::Options {
        binary: binary.to_owned(),
        etcd: options.etcd,
        keep: options.keep,
        json: options.json.clone(),
    })?;
    if !told {
        bail!("not every event went as told");
    }
    Ok(())
}
