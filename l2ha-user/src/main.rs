//! The `l2ha` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    l2ha::cli::main()
}
