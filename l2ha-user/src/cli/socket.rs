//! Which daemon is asked.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use config::{DEFAULT_RUN_DIR, Node};
use control::{self, Command, Reply, Returns};
use serde::de::DeserializeOwned;

use super::{FINE, output};

/// How the commands that ask find the daemon.
#[derive(Debug, clap::Args)]
pub(super) struct Daemon {
    /// Control socket of the daemon [default: the only one in /run/l2ha]
    #[arg(long, value_name = "PATH", conflicts_with = "config")]
    socket: Option<PathBuf>,
    /// Configuration file of the daemon: its [node] says where the socket is
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Daemon {
    /// Its configuration file, if that was named.
    pub(super) fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// Asks it.
    ///
    /// # Errors
    ///
    /// When it cannot be found, or does not answer.
    pub(super) fn ask<T>(&self, command: impl FnOnce(Returns<T>) -> Command) -> Result<Reply<T>> {
        control::ask(&self.path()?, command)
    }

    /// The path of its socket.
    ///
    /// # Errors
    ///
    /// When it cannot be found.
    pub(super) fn path(&self) -> Result<PathBuf> {
        match (&self.socket, &self.config) {
            (Some(socket), _) => Ok(socket.clone()),
            (None, Some(config)) => Ok(Node::load(config, &node::who(None)?)?.socket()),
            (None, None) => only_one(Path::new(DEFAULT_RUN_DIR)),
        }
    }
}

/// How the commands that ask print the answer.
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    #[command(flatten)]
    pub(super) daemon: Daemon,
    /// Print the daemon's JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl Show {
    /// Asks, and prints the JSON as it came, or what it says as text.
    ///
    /// # Errors
    ///
    /// As [`Daemon::ask`]; when the answer is not understood, or cannot be printed.
    pub(super) fn print<T: DeserializeOwned>(
        &self,
        command: impl FnOnce(Returns<T>) -> Command,
        text: impl FnOnce(&T) -> String,
    ) -> Result<u8> {
        let reply = self.daemon.ask(command)?;
        if self.json {
            output::json(&reply.json)?;
        } else {
            output::line(&text(&reply.data()?))?;
        }
        Ok(FINE)
    }
}

/// The only socket of a folder.
fn only_one(folder: &Path) -> Result<PathBuf> {
    let shown = folder.display();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries.collect::<Result<Vec<_>, _>>(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    };
    let entries = entries.with_context(|| format!("cannot look into {shown}"))?;
    let mut sockets: Vec<PathBuf> = entries
        .into_iter()
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "sock")
        })
        .collect();
    sockets.sort();
    match &sockets[..] {
        [] => bail!(
            "no daemon runs here: {shown} has no socket; start one with `l2ha run --config FILE`, \
             or say with --socket or --config where it is"
        ),
        [socket] => Ok(socket.clone()),
        several => {
            let list: Vec<String> = several
                .iter()
                .map(|socket| format!("  --socket {}", socket.display()))
                .collect();
            bail!("several daemons run here, say which:\n{}", list.join("\n"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_socket_is_taken_and_several_are_listed() {
        let folder = tempfile::tempdir().unwrap();
        let gone = folder.path().join("gone");
        let error = only_one(&gone).unwrap_err().to_string();
        assert!(error.contains("l2ha run --config FILE"), "{error}");

        let (one, two) = (folder.path().join("a.sock"), folder.path().join("b.sock"));
        fs::write(folder.path().join("a.lock"), "").unwrap();
        fs::write(&one, "").unwrap();
        assert_eq!(only_one(folder.path()).unwrap(), one);
        fs::write(&two, "").unwrap();
        let error = only_one(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains(&format!("--socket {}", two.display())),
            "{error}"
        );
    }
}
