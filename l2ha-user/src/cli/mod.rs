//! The command line: one file per subcommand.

mod against;
mod bfd;
mod capture;
mod check;
mod clean;
mod doctor;
mod drain;
mod explain;
mod genkey;
mod init;
mod log;
mod members;
mod monitor;
mod ospf;
mod output;
mod reload;
mod run;
mod sessions;
mod socket;
mod status;
mod stream;
mod table;

use std::{path::PathBuf, process::ExitCode};

use clap::{CommandFactory as _, Parser, Subcommand};

/// Everything went well.
const FINE: u8 = 0;
/// It did not.
const FAILED: u8 = 1;
/// The command line or the configuration is wrong; clap uses it too.
const USAGE: u8 = 2;

/// High availability for servers on networks that carry only unicast: L2TPv3 pseudowires, OSPFv3
/// over them, and anycast addresses that outlive their servers.
#[derive(Debug, Parser)]
#[command(
    name = "l2ha",
    version,
    after_help = "Examples:
  l2ha init
  l2ha genkey --output /etc/l2ha/client.receive
  l2ha check
  l2ha doctor
  l2ha run --config /etc/l2ha/l2ha.toml
  l2ha status
  l2ha capture | tshark -r -

Exit status: 0 fine, 1 failed, 2 wrong usage or configuration; of `l2ha status` 0 healthy, 1 degraded,
2 failed."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Run),
    Check(check::Check),
    Doctor(doctor::Doctor),
    Status(status::Status),
    Explain(explain::Explain),
    Sessions(sessions::Sessions),
    Monitor(monitor::Monitor),
    Capture(capture::Capture),
    Ospf(ospf::Ospf),
    Bfd(bfd::Bfd),
    Drain(drain::Drain),
    Reload(reload::Reload),
    Clean(clean::Clean),
    Genkey(genkey::Genkey),
    Init(init::Init),
    Members(members::Members),
    Join(members::Join),
    Leave(members::Leave),
    Forget(members::Forget),
    Accept(members::Accept),
}

/// `--config` of the commands that read a file.
#[derive(Debug, clap::Args)]
struct ConfigFile {
    /// Configuration file
    #[arg(long = "config", value_name = "FILE", default_value = config::DEFAULT_FILE)]
    path: PathBuf,
    /// Which node of the file's [cluster] this is, where its address does not tell
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
}

impl ConfigFile {
    /// Whose configuration is wanted.
    fn who(&self) -> anyhow::Result<config::Who> {
        node::who(self.node.clone())
    }
}

/// Runs the command; what `main` does.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(run) => run.main(),
        Command::Check(check) => check.main(),
        Command::Doctor(doctor) => doctor.main(),
        Command::Status(status) => status.main(),
        Command::Explain(explain) => explain.main(),
        Command::Sessions(sessions) => sessions.main(),
        Command::Monitor(monitor) => monitor.main(),
        Command::Capture(capture) => capture.main(),
        Command::Ospf(ospf) => ospf.main(),
        Command::Bfd(bfd) => bfd.main(),
        Command::Drain(drain) => drain.main(),
        Command::Reload(reload) => reload.main(),
        Command::Clean(clean) => clean.main(),
        Command::Genkey(genkey) => genkey.main(),
        Command::Init(init) => init.main(),
        Command::Members(members) => members.main(),
        Command::Join(join) => join.main(),
        Command::Leave(leave) => leave.main(),
        Command::Forget(forget) => forget.main(),
        Command::Accept(accept) => accept.main(),
    };
    let code = result.unwrap_or_else(|error| {
        if output::is_closed_pipe(&error) {
            return FINE;
        }
        output::error(&format!("l2ha: {error:#}"));
        FAILED
    });
    ExitCode::from(code)
}

/// The command line's description, for what is compared with it.
pub fn command() -> clap::Command {
    Cli::command()
}
