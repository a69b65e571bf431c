//! `l2ha run`.

use anyhow::Result;
use config::Config;

use super::{ConfigFile, FINE, USAGE, log, output};

/// Run the daemon in the foreground, until SIGTERM or SIGINT
///
/// SIGHUP reads the configuration again; a file with mistakes changes nothing. SIGUSR1 ends the
/// daemon for a restart: the neighbours are asked to wait for the next start, and everything stays
/// in its place.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  l2ha run
  l2ha run --config /etc/l2ha/l2ha.toml --log debug
  l2ha run --node server-1
  l2ha run --log info,l2ha::routing=debug")]
pub(super) struct Run {
    #[command(flatten)]
    config: ConfigFile,
    /// What to log: error, warn, info, debug or trace, or module=level, with commas
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = log::parse)]
    log: String,
}

impl Run {
    pub(super) fn main(self) -> Result<u8> {
        // Before there is a thread that does not inherit it, or a secret.
        let guarded = node::guard_process();
        let log = log::start(&self.log)?;
        if let Err(error) = guarded {
            tracing::warn!(%error, "core dumps may have secrets, and what checks start may gain rights");
        }
        match Config::load(&self.config.path, &self.config.who()?) {
            Ok(config) => {
                for note in config.notes() {
                    tracing::info!("note: {note}");
                }
                node::run(self.config.path, config, log.lost())?;
                Ok(FINE)
            }
            Err(errors) => {
                output::error(&errors.to_string());
                Ok(USAGE)
            }
        }
    }
}
