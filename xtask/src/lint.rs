//! `cargo xtask lint`: formatting, clippy on the host and on the kernel's side, dependencies.

use std::process::Command;

use anyhow::{Result, bail};

use crate::{
    cmd::{cargo, root, run, say},
    deps, setup,
};

/// Options of `cargo xtask lint`.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  cargo xtask lint\n  cargo xtask lint --fix")]
pub(crate) struct Options {
    /// Format the source before it is looked at
    #[arg(long)]
    fix: bool,
}

/// Looks at the source in every way; all that is wrong is shown, not only the first.
///
/// # Errors
///
/// Names the steps that found something.
pub(crate) fn lint(options: &Options) -> Result<()> {
    setup::run_if_needed()?;
    let format = match options.fix {
        true => &["fmt", "--all"][..],
        false => &["fmt", "--all", "--check"][..],
    };
    // The fuzzer's programs need a feature that nothing is built with here.
    let clippy = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--features",
        "l2ha-fuzz/libfuzzer",
        "--",
        "-D",
        "warnings",
    ];
    type Step<'a> = (&'static str, &'a dyn Fn() -> Result<()>);
    let steps: [Step<'_>; 4] = [
        ("formatting (`cargo xtask lint --fix` mends it)", &|| {
            run(cargo().args(format))
        }),
        ("dependencies", &deps::check),
        ("clippy, kernel programs", &|| run(&mut bpf_clippy()?)),
        ("clippy, everything else", &|| run(cargo().args(clippy))),
    ];
    let mut failed = Vec::new();
    for (name, step) in steps {
        say(name);
        if let Err(error) = step() {
            say(format!("{error:#}"));
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!("not clean: {}", failed.join("; "));
    }
    say("clean");
    Ok(())
}

/// clippy for the kernel programs, with the toolchain that builds them (see l2ha-user/dataplane/build.rs).
fn bpf_clippy() -> Result<Command> {
    let bin = root().join("target/toolchain/sysroot/bin");
    for tool in ["cargo-clippy", "clippy-driver"] {
        if !bin.join(tool).exists() {
            bail!(
                "the nightly in target/toolchain has no {tool}: call `rustup component add clippy \
                 --toolchain nightly`, then `cargo xtask setup`"
            );
        }
    }
    let mut path = vec![bin.clone()];
    path.extend(std::env::split_paths(
        &std::env::var_os("PATH").unwrap_or_default(),
    ));
    let arch = std::env::consts::ARCH;
    let mut command = Command::new(bin.join("cargo"));
    command
        .args(["clippy", "--package", "l2ha-ebpf", "--bin", "l2ha-ebpf"])
        .args(["--features", "bpf", "--target", "bpfel-unknown-none"])
        .args(["-Zbuild-std=core", "--release", "--target-dir"])
        .arg(root().join("target/bpf"))
        .args(["--", "-D", "warnings"])
        .current_dir(root())
        // cargo finds its subcommand `clippy` by PATH: it must be this toolchain's.
        .env("PATH", std::env::join_paths(path)?)
        .env("RUSTC", bin.join("rustc"))
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            format!("--cfg=bpf_target_arch=\"{arch}\""),
        )
        .env_remove("CARGO")
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER");
    Ok(command)
}
