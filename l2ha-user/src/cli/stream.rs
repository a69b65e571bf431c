//! Following what the daemon sends on, until there is enough of it or the user ends it.

use std::{io, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use control::{self, Command, Line, Missed, Request};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
    signal::unix::{SignalKind, signal},
    time::timeout,
};

use super::output;

/// How long the daemon may take to answer, and to come to an end.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where the packets go.
pub(super) trait Sink {
    /// Takes one; says whether it was the last that is wanted.
    fn take(&mut self, line: Line) -> Result<bool>;
    /// Makes what was taken visible.
    fn flush(&mut self) -> Result<()>;
}

/// Follows the daemon's stream until SIGINT, SIGTERM or the sink's last packet. Returns what the
/// daemon could not send.
pub(super) fn follow(socket: &Path, command: Command, sink: &mut impl Sink) -> Result<Missed> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run(socket, command, sink))
}

async fn run(socket: &Path, command: Command, sink: &mut impl Sink) -> Result<Missed> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stream = control::connect(socket)?;
    stream.set_nonblocking(true)?;
    let (read, mut write) = UnixStream::from_std(stream)?.into_split();
    let mut question = serde_json::to_vec(&Request { command })?;
    question.push(b'\n');
    write.write_all(&question).await?;
    let mut read = BufReader::new(read);
    let mut line = String::new();
    let first = timeout(PATIENCE, read.read_line(&mut line)).await;
    first
        .map_err(|_| anyhow::anyhow!("nothing came within {PATIENCE:?}"))
        .and_then(|length| Ok(length?))
        .with_context(|| format!("the daemon at {} does not answer", socket.display()))?;
    control::understand(socket, &line)?;

    let mut lines = read.lines();
    let mut closed = false;
    loop {
        let line = tokio::select! {
            line = lines.next_line() => line?,
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
        };
        let Some(line) = line else {
            bail!("the daemon has closed the connection: it is stopping");
        };
        let taken = sink.take(parse(&line)?).and_then(|last| {
            if !lines.get_ref().buffer().contains(&b'\n') {
                sink.flush()?;
            }
            Ok(last)
        });
        match taken {
            Ok(false) => {}
            Ok(true) => closed = true,
            // The reader has seen enough.
            Err(error) if output::is_closed_pipe(&error) => closed = true,
            Err(error) => return Err(error),
        }
        if closed {
            break;
        }
    }
    write.shutdown().await?;
    let rest = async {
        while let Some(line) = lines.next_line().await? {
            match parse(&line)? {
                Line::End(missed) => return Ok(missed),
                _ if closed => {}
                line => match sink.take(line) {
                    Ok(last) => closed = last,
                    Err(error) if output::is_closed_pipe(&error) => closed = true,
                    Err(error) => return Err(error),
                },
            }
        }
        bail!("the daemon has closed the connection before it said what is missing")
    };
    let missed = timeout(PATIENCE, rest)
        .await
        .map_err(|_| anyhow::anyhow!("the daemon does not end within {PATIENCE:?}"))??;
    match sink.flush() {
        Err(error) if !output::is_closed_pipe(&error) => Err(error),
        _ => Ok(missed),
    }
}

fn parse(line: &str) -> Result<Line> {
    serde_json::from_str(line)
        .map_err(io::Error::other)
        .context("the daemon sends what this command does not know: use the one that was installed with it")
}

/// Says on standard error what is missing, if anything is.
pub(super) fn say_missing(missed: Missed) {
    if missed.total() == 0 {
        return;
    }
    let mut parts = Vec::new();
    for (count, why) in [
        (missed.by_daemon, "the daemon was too slow"),
        (missed.by_client, "this command was too slow"),
        (
            missed.rate_limited,
            "there were more than are shown in a second",
        ),
    ] {
        if count > 0 {
            parts.push(format!("{count} because {why}"));
        }
    }
    output::error(&format!(
        "l2ha: {} packets are missing: {}",
        missed.total(),
        parts.join(", ")
    ));
}
