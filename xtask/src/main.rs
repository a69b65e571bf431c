//! Everything that is done with l2ha's source: `cargo xtask --help`.

mod cmd;
mod setup;

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
}

fn main() -> Result<()> {
    match Cli::parse().task {
        Task::Setup(options) => setup::run(&options),
    }
}
