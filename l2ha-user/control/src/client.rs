//! The client's end of the control socket.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    marker::PhantomData,
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::message::{Answer, Command, Request, Returns, VERSION};

/// How long the daemon may take to answer. It looks at its questions between two repairs, which
/// take milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest answer in bytes; a large link-state database has some megabytes.
const LONGEST: u64 = 256 << 20;

/// An answer.
pub struct Reply<T> {
    /// The JSON as it came.
    pub json: Value,
    returns: Returns<T>,
}

impl<T: DeserializeOwned> Reply<T> {
    /// What it says.
    ///
    /// # Errors
    ///
    /// When that is not what this version of the command knows.
    pub fn data(&self) -> Result<T> {
        T::deserialize(&self.json).context(
            "the daemon runs another version than this command: restart the daemon, or call the \
             command that was installed with it",
        )
    }
}

/// Asks the daemon that listens on `socket`.
///
/// # Errors
///
/// When no daemon is there, it does not answer in time, or it says why it cannot answer.
pub fn ask<T>(socket: &Path, command: impl FnOnce(Returns<T>) -> Command) -> Result<Reply<T>> {
    let returns = PhantomData;
    let mut stream = connect(socket)?;
    let line = converse(&mut stream, command(returns), PATIENCE)
        .with_context(|| format!("the daemon at {} does not answer", socket.display()))?;
    let json = understand(socket, &line)?;
    Ok(Reply { json, returns })
}

/// Connects to the daemon that listens on `socket`.
///
/// # Errors
///
/// When no daemon is there; the text says what to do.
pub fn connect(socket: &Path) -> Result<UnixStream> {
    UnixStream::connect(socket).map_err(|error| unreachable(socket, &error))
}

/// The data of an answer.
///
/// # Errors
///
/// When there is none, or it is of another version.
pub fn understand(socket: &Path, line: &str) -> Result<Value> {
    let answer: Answer = serde_json::from_str(line)
        .with_context(|| format!("{} does not answer as l2ha does", socket.display()))?;
    if answer.version != VERSION {
        bail!(
            "the daemon at {} answers in version {}, this command knows version {VERSION}: use \
             the command that was installed with the daemon",
            socket.display(),
            answer.version
        );
    }
    match (answer.ok, answer.data, answer.error) {
        (true, Some(data), _) => Ok(data),
        (_, _, Some(error)) => bail!("the daemon says: {error}"),
        (..) => bail!("the daemon at {} answers nothing", socket.display()),
    }
}

fn converse(stream: &mut UnixStream, command: Command, patience: Duration) -> io::Result<String> {
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let mut question = serde_json::to_vec(&Request { command })?;
    question.push(b'\n');
    stream.write_all(&question)?;
    let mut line = String::new();
    BufReader::new(stream.take(LONGEST))
        .read_line(&mut line)
        .map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => io::Error::new(
                io::ErrorKind::TimedOut,
                format!("nothing came within {patience:?}"),
            ),
            _ => error,
        })?;
    if line.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "it has closed the connection, perhaps it is stopping",
        ));
    }
    Ok(line)
}

/// Says what to do when there is nobody to ask.
fn unreachable(socket: &Path, error: &io::Error) -> anyhow::Error {
    let path = socket.display();
    match error.kind() {
        io::ErrorKind::NotFound => anyhow::anyhow!(
            "no daemon runs here: there is no socket {path}; start one with `l2ha run --config \
             FILE`, or name another socket with --socket"
        ),
        io::ErrorKind::ConnectionRefused => anyhow::anyhow!(
            "no daemon listens on {path}: it has ended without cleaning up; start it again with \
             `l2ha run --config FILE`"
        ),
        io::ErrorKind::PermissionDenied => anyhow::anyhow!(
            "{path} may be used by root and its group only: call this command as root"
        ),
        _ => anyhow::anyhow!("cannot connect to {path}: {error}"),
    }
}

#[cfg(test)]
mod tests;
