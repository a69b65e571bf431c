//! cargo-nextest: one process a test, side by side as `.config/nextest.toml` has it.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::cmd::{self, cargo, output, root, say};

/// The version that is built where none is installed, or one that is too old.
const VERSION: &str = "0.9.143";
/// The oldest that reads our configuration (as `nextest-version` there says).
const OLDEST: (u32, u32, u32) = (0, 9, 100);

/// A call of cargo-nextest over the whole workspace, so that it is built once for all tiers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Run {
    /// The tests that need root too (they are `#[ignore]`d).
    pub(crate) privileged: bool,
    /// The profile of `.config/nextest.toml`, if not the default one.
    pub(crate) profile: Option<&'static str>,
    /// Only tests with one of these in their names; all if there are none.
    pub(crate) names: Vec<String>,
    /// Only those that this expression selects.
    pub(crate) filter: Option<String>,
    /// What the tests find in their environment.
    pub(crate) environment: Vec<(&'static str, String)>,
}

impl Run {
    /// Builds and runs the tests.
    ///
    /// # Errors
    ///
    /// When something does not build, or a test fails.
    pub(crate) fn run(&self) -> Result<()> {
        cmd::run(&mut self.command("run")?)
    }

    /// Names the tests.
    ///
    /// # Errors
    ///
    /// When something does not build.
    pub(crate) fn list(&self) -> Result<()> {
        cmd::run(&mut self.command("list")?)
    }

    fn command(&self, verb: &str) -> Result<Command> {
        let mut command = nextest()?;
        command
            .args(["nextest", verb, "--workspace"])
            // A backtrace of a scenario hides its error, which says what was seen.
            .env("RUST_BACKTRACE", "0")
            .envs(self.environment.iter().cloned());
        if let Some(profile) = self.profile {
            command.args(["--profile", profile]);
        }
        if self.privileged {
            command.args(["--run-ignored", "all"]);
        }
        if let Some(filter) = &self.filter {
            command.args(["--filterset", filter]);
        }
        command.args(&self.names);
        Ok(command)
    }
}

/// cargo-nextest as installed, or built into `target/toolchain`.
fn nextest() -> Result<Command> {
    let home = root().join("target/toolchain");
    let own = home.join("bin/cargo-nextest");
    for program in [Path::new("cargo-nextest"), &own] {
        if is_usable(program) {
            return Ok(call(program.into()));
        }
    }
    say(format!(
        "building cargo-nextest {VERSION}, which runs the tests (some minutes, once)"
    ));
    cmd::run(
        cargo()
            .args(["install", "cargo-nextest", "--version", VERSION, "--locked"])
            .args(["--quiet", "--force", "--debug"])
            .args(["--no-default-features", "--features", "default-no-update"])
            .arg("--root")
            .arg(&home)
            .arg("--target-dir")
            .arg(home.join("build"))
            .env("CARGO_PROFILE_DEV_DEBUG", "0"),
    )
    .context("cargo-nextest does not build: install it by hand (https://nexte.st)")?;
    let _ = std::fs::remove_dir_all(home.join("build"));
    Ok(call(own))
}

fn call(program: PathBuf) -> Command {
    let mut command = Command::new(OsString::from(program));
    command.current_dir(root());
    command
}

fn is_usable(program: &Path) -> bool {
    let said = output(Command::new(program).args(["nextest", "--version"]));
    said.ok()
        .and_then(|said| version(&said))
        .is_some_and(|version| version >= OLDEST)
}

/// The version in `cargo-nextest 0.9.143 (60fa45f63 2026-08-04)`.
fn version(said: &str) -> Option<(u32, u32, u32)> {
    let mut parts = said.split_whitespace().nth(1)?.split('.');
    let mut part = || parts.next()?.parse().ok();
    Some((part()?, part()?, part()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read() {
        let said = "cargo-nextest 0.9.143 (60fa45f63 2026-08-04)\nrelease: 0.9.143\n";
        assert_eq!(version(said), Some((0, 9, 143)));
        assert!(version("cargo-nextest 0.9.99").is_some_and(|it| it < OLDEST));
        assert_eq!(version("error"), None);
    }
}
