//! Fragments of the remotes' packets, taken from the underlay while any come: the kernel's memory for putting them
//! together can be filled by anybody who sends beginnings, and then no honest fragment passes there.

use std::{
    collections::HashSet,
    io,
    net::IpAddr,
    time::{Duration, Instant},
};

use config::Config;
use dataplane::{Reassembled, Way};
use linux::sockets;
use socket2::Socket;
use tokio::{io::unix::AsyncFd, task::JoinHandle};

/// So long after the last fragment they are no longer looked for.
const LATELY: Duration = Duration::from_secs(60);
/// Room for the largest packet.
const BUFFER: usize = 0xffff;

/// The sockets that see fragments, while there are any.
#[derive(Default)]
pub(crate) struct FragmentTap {
    /// How many the programs have seen, and when they saw more than before.
    seen: u64,
    last: Option<Instant>,
    open: Option<Open>,
}

struct Open {
    interface: u32,
    ways: HashSet<Way>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Open {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl FragmentTap {
    /// Looks whether the programs have `seen` more fragments on the underlay than before, and opens or closes the
    /// sockets.
    pub(crate) fn follow(
        &mut self,
        config: &Config,
        underlay: Option<u32>,
        reassembled: &Reassembled,
        seen: u64,
    ) {
        let now = Instant::now();
        if seen > self.seen {
            self.last = Some(now);
        }
        self.seen = seen;
        let wanted = self.last.is_some_and(|last| now < last + LATELY);
        let Some(interface) = underlay.filter(|_| wanted) else {
            if self.open.take().is_some() {
                reassembled.put_together(None);
            }
            return;
        };
        let tunnels = config.tunnels.iter();
        let ways: HashSet<Way> = tunnels.map(|it| (it.local, it.remote)).collect();
        let is_open = |open: &Open| open.interface == interface && open.ways == ways;
        if self.open.as_ref().is_some_and(is_open) {
            return;
        }
        self.open = None;
        match open(interface, &ways) {
            Ok(sockets) => {
                reassembled.put_together(Some(ways.clone()));
                let tasks = sockets
                    .into_iter()
                    .map(|socket| tokio::spawn(receive(socket, reassembled.clone())));
                self.open = Some(Open {
                    interface,
                    ways,
                    tasks: tasks.collect(),
                });
            }
            Err(error) => {
                reassembled.put_together(None);
                tracing::debug!(%error, "fragments are left to the kernel alone");
            }
        }
    }
}

/// A socket for each family that has tunnels.
fn open(interface: u32, ways: &HashSet<Way>) -> io::Result<Vec<AsyncFd<Socket>>> {
    let mut sockets = Vec::new();
    for v6 in [false, true] {
        let remotes = ways.iter().map(|(_, remote)| *remote);
        let remotes: HashSet<IpAddr> = remotes.filter(|it| it.is_ipv6() == v6).collect();
        let remotes: Vec<IpAddr> = remotes.into_iter().collect();
        if !remotes.is_empty() {
            let socket = sockets::fragments(interface, v6, &remotes)?;
            sockets.push(sockets::watch(socket)?);
        }
    }
    Ok(sockets)
}

async fn receive(socket: AsyncFd<Socket>, reassembled: Reassembled) {
    let mut buffer = vec![0; BUFFER];
    loop {
        let Ok(mut ready) = socket.readable().await else {
            return;
        };
        let read = ready.try_io(|watched| io::Read::read(&mut watched.get_ref(), &mut buffer));
        // Otherwise the interface is down, or none is left.
        if let Ok(Ok(length)) = read {
            reassembled.take_fragment(&buffer[..length]);
        }
    }
}
