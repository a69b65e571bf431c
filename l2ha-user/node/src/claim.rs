//! The claim on the underlay's interface: one daemon for each, whatever its name and its folders are.
//!
//! Two of them would put their programs in each other's place for ever. The claim is an abstract Unix socket named after
//! the interface's index (unix(7)): the kernel has these names for each network namespace apart, and takes one back when
//! the process ends, however it ends. Whoever connects is told who holds it.

use std::{
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener as BlockingListener, UnixStream as BlockingStream},
    },
    path::Path,
    time::Duration,
};

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    task::JoinHandle,
    time::timeout,
};

/// How long the holder may take to say who it is: it may be loading its programs.
const PATIENCE: Duration = Duration::from_secs(2);
/// What is read of the answer, in bytes: anybody may hold the name.
const LONGEST: u64 = 4096;

/// Who holds a claim, as it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    node: String,
    config_file: String,
}

/// What this daemon has claimed.
pub(crate) struct Claim {
    holder: Holder,
    /// The index of the interface, and the task that answers.
    held: Option<(u32, JoinHandle<()>)>,
    /// Why the kernel has no such sockets for us, to log it once.
    unavailable: Option<String>,
}

impl Claim {
    /// Nothing yet.
    pub(crate) fn new(node: &str, config_file: &Path) -> Self {
        Self {
            holder: Holder {
                node: node.to_owned(),
                config_file: config_file.display().to_string(),
            },
            held: None,
            unavailable: None,
        }
    }

    /// Claims an interface, in place of one that was claimed before.
    ///
    /// # Errors
    ///
    /// When another daemon holds it; the text says which, and what to do.
    pub(crate) async fn ensure(&mut self, ifindex: u32, interface: &str) -> Result<()> {
        if self.held.as_ref().is_some_and(|(held, _)| *held == ifindex) {
            return Ok(());
        }
        self.release();
        match bind(ifindex) {
            Ok(listener) => {
                let answer = serde_json::to_vec(&self.holder)?;
                self.held = Some((ifindex, tokio::spawn(tell(listener, answer))));
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                self.held_by_another(ifindex, interface).await
            }
            Err(error) => {
                self.do_without(interface, &error.to_string());
                Ok(())
            }
        }
    }

    /// Without it, a second daemon on this interface is not refused; the first works all the same.
    fn do_without(&mut self, interface: &str, why: &str) {
        if self.unavailable.as_deref() != Some(why) {
            tracing::warn!(
                interface,
                why,
                "cannot claim the interface: a second l2ha on it would not be noticed"
            );
            self.unavailable = Some(why.to_owned());
        }
    }

    async fn held_by_another(&mut self, ifindex: u32, interface: &str) -> Result<()> {
        let asked = timeout(PATIENCE, ask(ifindex)).await;
        let (who, process) = match asked {
            Ok(Ok((holder, process))) => (holder, process),
            // Gone meanwhile, or not to be asked.
            Ok(Err(_)) | Err(_) => (None, None),
        };
        let (pid, uid) = process.unwrap_or_default();
        let pid = match pid {
            Some(pid) => format!("process {pid}"),
            None => "a process that cannot be seen from here".to_owned(),
        };
        // Anybody can hold the name; only root runs a daemon.
        if uid.is_some_and(|uid| uid != 0 && uid != nix::unistd::geteuid().as_raw()) {
            self.do_without(interface, &format!("{pid} of a user holds its name"));
            return Ok(());
        }
        let node = match &who {
            Some(who) => format!(
                "node {}, {pid}, configured by {}",
                who.node, who.config_file
            ),
            None => pid,
        };
        bail!(
            "another l2ha runs on {interface}: {node}; stop that one, or give this node another \
             [underlay].interface"
        )
    }

    fn release(&mut self) {
        if let Some((_, task)) = self.held.take() {
            task.abort();
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.release();
    }
}

fn address(ifindex: u32) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("l2ha-underlay/{ifindex}"))
}

fn bind(ifindex: u32) -> io::Result<UnixListener> {
    let listener = BlockingListener::bind_addr(&address(ifindex)?)?;
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

/// Tells whoever connects who holds the claim, until the task is ended, and the claim with it.
async fn tell(listener: UnixListener, answer: Vec<u8>) {
    loop {
        match listener.accept().await {
            Ok((mut client, _)) => {
                // It fits into the socket's buffer: nobody can hold this up.
                let _ = timeout(PATIENCE, client.write_all(&answer)).await;
            }
            Err(error) => {
                tracing::debug!(%error, "cannot tell who holds the underlay's interface");
                tokio::time::sleep(PATIENCE).await;
            }
        }
    }
}

/// The process and the user of the other end of a connection.
type Process = (Option<i32>, Option<u32>);

/// Asks who holds a claim: what it says, and what the kernel says of its process.
async fn ask(ifindex: u32) -> io::Result<(Option<Holder>, Option<Process>)> {
    let stream = BlockingStream::connect_addr(&address(ifindex)?)?;
    stream.set_nonblocking(true)?;
    let stream = UnixStream::from_std(stream)?;
    let credentials = stream.peer_cred()?;
    // 0 is one in another process namespace.
    let pid = credentials.pid().filter(|pid| *pid != 0);
    let process = Some((pid, Some(credentials.uid())));
    let mut bytes = Vec::new();
    let read = timeout(PATIENCE / 2, stream.take(LONGEST).read_to_end(&mut bytes)).await;
    let holder = match read {
        Ok(Ok(_)) => serde_json::from_slice(&bytes).ok(),
        Ok(Err(_)) | Err(_) => None,
    };
    Ok((holder, process))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No interface has it, and no other run of these tests.
    fn index(offset: u32) -> u32 {
        u32::MAX - 4 * std::process::id() - offset
    }

    #[tokio::test]
    async fn a_second_claim_is_refused_and_names_the_holder_until_that_is_gone() {
        let mut first = Claim::new("server-1", Path::new("/etc/l2ha/a.toml"));
        first.ensure(index(0), "eth0").await.unwrap();
        // Each pass does.
        first.ensure(index(0), "eth0").await.unwrap();
        let mut second = Claim::new("server-2", Path::new("/etc/l2ha/b.toml"));
        let refused = second
            .ensure(index(0), "eth0")
            .await
            .unwrap_err()
            .to_string();
        let process = format!("process {}", std::process::id());
        for word in ["eth0", "node server-1", "/etc/l2ha/a.toml", &process] {
            assert!(refused.contains(word), "{word}: {refused}");
        }
        // The interface was made anew: the claim goes with it.
        first.ensure(index(1), "eth0").await.unwrap();
        // The task that held it ends at the next turn of the event loop.
        tokio::task::yield_now().await;
        second.ensure(index(0), "eth0").await.unwrap();
        assert!(second.ensure(index(1), "eth0").await.is_err());
        drop(first);
        tokio::task::yield_now().await;
        second.ensure(index(1), "eth0").await.unwrap();
    }

    /// Its holder may be loading its programs.
    #[tokio::test]
    async fn a_holder_that_does_not_answer_is_named_by_its_process() {
        let index = index(2);
        let _silent = BlockingListener::bind_addr(&address(index).unwrap()).unwrap();
        let mut second = Claim::new("server-2", Path::new("/etc/l2ha/b.toml"));
        let refused = second.ensure(index, "eth0").await.unwrap_err().to_string();
        let process = format!("process {}", std::process::id());
        assert!(refused.contains(&process), "{refused}");
    }
}
