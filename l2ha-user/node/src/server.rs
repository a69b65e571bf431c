//! The control socket: one JSON line asked, one JSON line answered, or a stream of them.

use std::{
    fs, io,
    os::{
        fd::OwnedFd,
        unix::fs::{MetadataExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use control::{Answer, Command, Reloaded};
use linux::state;
use nix::sys::stat::{Mode, fchmod};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot},
    task::JoinHandle,
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
/// How many clients may wait to be accepted.
const BACKLOG: i32 = 128;
/// Permissions of the socket's file: root and its group.
const MODE: u32 = 0o660;

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
    sender: mpsc::Sender<Question>,
    questions: mpsc::Receiver<Question>,
    /// Accepts clients; nothing while there is no socket.
    listener: Option<Listening>,
    /// Why there is no socket.
    problem: Option<String>,
}

/// A socket that clients can find.
struct Listening {
    /// Device and inode number of its file.
    file: (u64, u64),
    task: JoinHandle<()>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Listens, for root and the socket's group only. A socket that cannot be made is tried again by
    /// [`Server::keep`]: the node does its work without.
    pub(crate) fn listen(path: &Path) -> Self {
        let (sender, questions) = mpsc::channel(WAITING);
        let mut server = Self {
            path: path.to_owned(),
            sender,
            questions,
            listener: None,
            problem: None,
        };
        server.keep();
        server
    }

    /// Makes the socket again if somebody has removed it, or there was no room. Returns why that cannot be done, if
    /// it cannot.
    pub(crate) fn keep(&mut self) -> Option<&str> {
        let there = file(&self.path).ok();
        let listens = self.listener.as_ref();
        if there.is_some() && listens.map(|it| it.file) == there {
            return None;
        }
        self.listener = None;
        let problem = match self.open() {
            Ok(listener) => {
                self.listener = Some(listener);
                None
            }
            Err(error) => Some(format!("cannot listen on {}: {error}", self.path.display())),
        };
        self.problem = problem;
        self.problem.as_deref()
    }

    fn open(&self) -> io::Result<Listening> {
        // The name is locked, so a socket that is there belongs to a daemon that crashed.
        state::remove(&self.path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
        // The file has no more from the beginning, whatever the umask is (unix_bind() in net/unix/af_unix.c).
        fchmod(&socket, Mode::from_bits_truncate(MODE))?;
        socket.bind(&SockAddr::unix(&self.path)?)?;
        fs::set_permissions(&self.path, fs::Permissions::from_mode(MODE))?;
        socket.listen(BACKLOG)?;
        let listener = std::os::unix::net::UnixListener::from(OwnedFd::from(socket));
        let listener = UnixListener::from_std(listener)?;
        Ok(Listening {
            file: file(&self.path)?,
            task: tokio::spawn(accept(listener, self.sender.clone())),
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

/// What tells a file from one that was put in its place.
fn file(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
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
