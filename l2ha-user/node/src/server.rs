//! The control socket: one JSON line asked, one JSON line answered, or a stream of them.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use control::{Answer, Command, Reloaded};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::{answers, node::Node, packet_stream::PacketStream};

/// Longest question in bytes.
const LONGEST: u64 = 4096;
/// How long a client may take to ask and to read.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a reload waits until everything is in place.
const SETTLE: Duration = Duration::from_secs(3);
/// How many questions may wait for the daemon.
const WAITING: usize = 16;

/// A question that waits for its answer.
pub(crate) struct Question {
    command: Command,
    answer: oneshot::Sender<Reply>,
}

/// The answer, and what follows it.
type Reply = (Answer, Option<PacketStream>);

impl Question {
    /// Answers it.
    pub(crate) async fn answer(self, node: &mut Node) {
        if let Command::Reload { dry_run, returns } = self.command {
            let reloaded = node.reload(dry_run).await;
            let settled = node.settled();
            let answer = self.answer;
            // What it waits for waits for nobody else.
            tokio::spawn(async move {
                let settled = timeout(SETTLE, settled).await.is_ok();
                let reloaded = reloaded.map(|done| Reloaded { settled, ..done });
                let _ = answer.send((Answer::to(returns, reloaded), None));
            });
            return;
        }
        let reply = match node.packets(&self.command) {
            None => (answers::answer(node, self.command).await, None),
            Some(Ok((answer, stream))) => (answer, Some(stream)),
            Some(Err(error)) => (Answer::error(format!("{error:#}")), None),
        };
        // The client may have closed the connection meanwhile.
        let _ = self.answer.send(reply);
    }
}

/// The listening socket; removed when dropped.
pub(crate) struct Server {
    path: PathBuf,
    questions: mpsc::Receiver<Question>,
}

impl Server {
    /// Listens, for root and the socket's group only.
    ///
    /// # Errors
    ///
    /// When the socket cannot be made at `path`.
    pub(crate) fn listen(path: &Path) -> Result<Self> {
        let context = || format!("cannot listen on {}", path.display());
        // The lock is held, so a socket that is there belongs to a daemon that crashed.
        if let Err(error) = fs::remove_file(path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error).with_context(context);
        }
        let listener = UnixListener::bind(path).with_context(context)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o660)).with_context(context)?;
        let (sender, questions) = mpsc::channel(WAITING);
        tokio::spawn(accept(listener, sender));
        Ok(Self {
            path: path.to_owned(),
            questions,
        })
    }

    /// Waits for the next question.
    pub(crate) async fn next(&mut self) -> Question {
        match self.questions.recv().await {
            Some(question) => question,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

async fn accept(listener: UnixListener, questions: mpsc::Sender<Question>) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                let questions = questions.clone();
                tokio::spawn(async move {
                    match timeout(PATIENCE, converse(client, questions)).await {
                        Ok(Ok(None)) => {}
                        Ok(Ok(Some((stream, read, write)))) => {
                            if let Err(error) = stream.run(read, write).await {
                                tracing::debug!(%error, "control client has disconnected");
                            }
                        }
                        Ok(Err(error)) => {
                            tracing::debug!(%error, "control client has disconnected")
                        }
                        Err(_) => tracing::debug!("control client took too long"),
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a control client");
                tokio::time::sleep(PATIENCE).await;
            }
        }
    }
}

/// A stream and the client's connection.
type Streaming = (PacketStream, OwnedReadHalf, OwnedWriteHalf);

/// Answers one question; returns what is to be sent on.
async fn converse(
    client: UnixStream,
    questions: mpsc::Sender<Question>,
) -> io::Result<Option<Streaming>> {
    let (mut read, mut write) = client.into_split();
    let mut line = String::new();
    BufReader::new((&mut read).take(LONGEST))
        .read_line(&mut line)
        .await?;
    let (answer, stream) = match serde_json::from_str::<control::Request>(&line) {
        Ok(request) => {
            let (answer, receiver) = oneshot::channel();
            let question = Question {
                command: request.command,
                answer,
            };
            if questions.send(question).await.is_err() {
                return Ok(None);
            }
            receiver
                .await
                .unwrap_or_else(|_| (Answer::error("the daemon is stopping"), None))
        }
        Err(error) => (Answer::error(format!("not understood: {error}")), None),
    };
    let mut bytes = serde_json::to_vec(&answer)?;
    bytes.push(b'\n');
    write.write_all(&bytes).await?;
    Ok(stream.map(|stream| (stream, read, write)))
}
