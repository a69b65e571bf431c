//! One daemon for each node name: a socket with an abstract name (unix(7)), of which each network namespace has one.
//!
//! It is in no folder, so nobody can remove it under a running daemon, and it goes with the process.

use std::{
    fs, io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::socket::{getsockopt, sockopt::PeerCredentials},
    unistd::geteuid,
};

/// What the names begin with.
const PREFIX: &str = "l2ha/";
/// Where the kernel lists the sockets; abstract names begin with `@` there.
const SOCKETS: &str = "/proc/self/net/unix";
/// How long it is waited before the next client is accepted when that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// Held for as long as the runtime goes on.
#[derive(Debug)]
pub(crate) struct NameLock;

impl NameLock {
    /// Takes the name. To be called where tokio runs.
    ///
    /// # Errors
    ///
    /// When another daemon of this user, or of root, has it. If it is anybody else's socket, nothing is locked, and a
    /// warning says so: a stranger must not keep the node from starting.
    pub(crate) fn take(node: &str) -> Result<Option<Self>> {
        let name = SocketAddr::from_abstract_name(format!("{PREFIX}{node}"))
            .with_context(|| format!("`{node}` is too long for a node's name"))?;
        let listener = match UnixListener::bind_addr(&name) {
            Ok(listener) => listener,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                return refuse(node, &name).map(|()| None);
            }
            Err(error) => return Err(error).context("cannot lock the node's name"),
        };
        listener.set_nonblocking(true)?;
        let listener = tokio::net::UnixListener::from_std(listener)?;
        // Who connects learns by that who has the name.
        tokio::spawn(async move {
            loop {
                if listener.accept().await.is_err() {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        });
        Ok(Some(Self))
    }
}

fn refuse(node: &str, name: &SocketAddr) -> Result<()> {
    let holder = UnixStream::connect_addr(name)
        .and_then(|socket| getsockopt(&socket, PeerCredentials).map_err(Into::into));
    match holder {
        Ok(holder) if holder.uid() == 0 || holder.uid() == geteuid().as_raw() => bail!(
            "another l2ha runs under this node name, process {}: stop it, or give this node another [node].name",
            holder.pid()
        ),
        Ok(holder) => tracing::warn!(
            "process {} of user {} has the socket @{PREFIX}{node}: a second daemon of this name is not noticed",
            holder.pid(),
            holder.uid()
        ),
        Err(error) => tracing::warn!(
            %error,
            "somebody has the socket @{PREFIX}{node}: a second daemon of this name is not noticed"
        ),
    }
    Ok(())
}

/// The names of the other nodes whose daemons run in this network namespace.
pub(crate) fn others(node: &str) -> Vec<String> {
    let sockets = fs::read_to_string(SOCKETS).unwrap_or_default();
    let mut names: Vec<String> = names(&sockets).map(str::to_owned).collect();
    names.retain(|name| name != node);
    names.sort();
    names.dedup();
    names
}

fn names(sockets: &str) -> impl Iterator<Item = &str> {
    let paths = sockets
        .lines()
        .filter_map(|line| line.split_whitespace().nth(7));
    paths.filter_map(|path| path.strip_prefix('@')?.strip_prefix(PREFIX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn fault_17_a_second_daemon_of_the_same_name_is_refused() {
        let node = format!("test-{}", std::process::id());
        let other = format!("{node}-other");
        let lock = NameLock::take(&node).unwrap();
        assert!(lock.is_some());
        assert!(NameLock::take(&other).unwrap().is_some());
        for _ in 0..3 {
            let refused = format!("{:#}", NameLock::take(&node).unwrap_err());
            let me = format!("process {}:", std::process::id());
            assert!(refused.contains(&me), "{refused}");
        }
        assert!(others(&node).contains(&other));
        assert!(!others(&node).contains(&node));
    }

    #[test]
    fn somebody_with_a_socket_of_that_name_keeps_no_node_from_starting() {
        let node = format!("test-{}-squatted", std::process::id());
        let name = SocketAddr::from_abstract_name(format!("{PREFIX}{node}")).unwrap();
        // One that nobody answers at.
        let socket = std::os::unix::net::UnixDatagram::bind_addr(&name).unwrap();
        assert!(refuse(&node, &name).is_ok());
        drop(socket);
    }

    #[test]
    fn names_are_found_among_the_sockets() {
        let sockets = "Num       RefCount Protocol Flags    Type St Inode Path
ffff8fd6: 00000002 00000000 00010000 0001 01 22441 @l2ha/server-1
ffff8fd7: 00000002 00000000 00010000 0001 01 22442 /run/l2ha/server-1.sock
ffff8fd8: 00000003 00000000 00000000 0001 03 22443
ffff8fd9: 00000002 00000000 00010000 0001 01 22444 @/tmp/.X11-unix/X0
";
        assert_eq!(names(sockets).collect::<Vec<_>>(), ["server-1"]);
    }
}
