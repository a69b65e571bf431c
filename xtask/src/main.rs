//! Everything that is done with l2ha's source: `cargo xtask --help`.

#[cfg(test)]
mod architecture;
mod bench;
mod cmd;
mod deps;
mod drill;
mod fuzz;
mod lint;
mod packages;
mod run;
mod setup;
mod tee;
mod test;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Get the BPF toolchain (a nightly with rust-src, a matching bpf-linker) into target/toolchain
    Setup(setup::Options),
    /// Show the main job live in network namespaces; with --config, run the daemon on this host
    Run(run::Options),
    /// Measure l2ha side by side with plain, VXLAN and the kernel's l2tp
    Bench(bench::Options),
    /// Let servers fail again and again in the lab, and measure what a client notices
    Drill(drill::Options),
    /// Look for inputs that the protocol crates and the kernel programs cannot stand
    Fuzz(fuzz::Options),
    /// Check formatting, lints, and the dependencies' licences and versions
    Lint(lint::Options),
    /// Run every test; install what they need
    Test(test::Options),
}

fn main() -> ExitCode {
    match play(Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        // Without a backtrace, which would push what was said before out of sight.
        Err(error) => {
            cmd::say(format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn play(task: Task) -> Result<()> {
    match task {
        Task::Setup(options) => setup::run(&options),
        Task::Run(options) => run::run(&options),
        Task::Bench(options) => bench::bench(&options),
        Task::Drill(options) => drill::drill(&options),
        Task::Fuzz(options) => fuzz::fuzz(&options),
        Task::Lint(options) => lint::lint(&options),
        Task::Test(options) => test::test(&options),
    }
}
