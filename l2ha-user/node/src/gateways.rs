//! Whether attaching a program has cut this node off: its gateways are probed before and after.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    time::{Duration, Instant},
};

use linux::{Error, Netlink, Reachability};
use tokio::time::sleep;

/// How long a gateway may take to answer before the program is attached. It is probed when the start
/// begins, which takes about as long by itself. Gateways answer within milliseconds.
const BEFORE: Duration = Duration::from_millis(250);
/// How long one may take afterwards: the kernel sends three solicitations, one a second, and a NIC
/// that has set its queues up again may lose the first of them.
const AFTER: Duration = Duration::from_millis(3200);
/// How long to pause between two looks at the neighbour table, at first and at last.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// Of many tunnels without a gateway, so many neighbours tell enough.
const MOST: usize = 8;

/// The neighbours on the way out of an interface, which are being probed.
#[derive(Debug)]
pub(crate) struct GatewayProbe {
    interface: u32,
    probed: Vec<IpAddr>,
    since: Instant,
}

/// The neighbours that answered before a program was attached.
#[derive(Debug)]
pub(crate) struct ReachableGateways {
    interface: u32,
    neighbours: Vec<IpAddr>,
}

impl GatewayProbe {
    /// Begins to probe the gateways of the interface's default routes or, where there are none, the
    /// neighbours on the way to these addresses. Does not wait for answers.
    pub(crate) async fn start(
        netlink: &Netlink,
        interface: u32,
        remotes: &BTreeSet<IpAddr>,
    ) -> Result<Self, Error> {
        let mut neighbours = netlink.default_gateways(interface).await?;
        if neighbours.is_empty() {
            for remote in remotes.iter().take(MOST) {
                // Without a route there is no neighbour.
                neighbours.extend(netlink.next_hop(interface, *remote).await.ok());
            }
            neighbours.sort_unstable();
            neighbours.dedup();
        }
        let mut probed = Vec::new();
        for neighbour in neighbours {
            // One that has not answered the kernel is unreachable already, and need not be probed.
            if netlink.reachability(interface, neighbour).await? != Reachability::Failed
                && probe(netlink, interface, neighbour).await?
            {
                probed.push(neighbour);
            }
        }
        Ok(Self {
            interface,
            probed,
            since: Instant::now(),
        })
    }

    /// The neighbours that have answered. Waits for the others for what is left of their time.
    pub(crate) async fn reachable(self, netlink: &Netlink) -> Result<ReachableGateways, Error> {
        let Self {
            interface,
            probed,
            since,
        } = self;
        let neighbours = wait(netlink, interface, &probed, since + BEFORE, false).await?;
        Ok(ReachableGateways {
            interface,
            neighbours,
        })
    }
}

impl ReachableGateways {
    /// The neighbours that do not answer any more. Waits until all have answered, or long enough to
    /// be sure that one does not.
    pub(crate) async fn lost(&self, netlink: &Netlink) -> Result<Vec<IpAddr>, Error> {
        for neighbour in &self.neighbours {
            probe(netlink, self.interface, *neighbour).await?;
        }
        let until = Instant::now() + AFTER;
        let answered = wait(netlink, self.interface, &self.neighbours, until, true).await?;
        let mut lost = self.neighbours.clone();
        lost.retain(|neighbour| !answered.contains(neighbour));
        Ok(lost)
    }
}

/// Probes a neighbour; returns whether it is one that can be probed.
async fn probe(netlink: &Netlink, interface: u32, neighbour: IpAddr) -> Result<bool, Error> {
    if netlink.reachability(interface, neighbour).await? == Reachability::NotProbed {
        return Ok(false);
    }
    netlink.probe(interface, neighbour).await?;
    Ok(true)
}

/// Those that answer in time. With `again`, one that the kernel has given up is probed again.
async fn wait(
    netlink: &Netlink,
    interface: u32,
    neighbours: &[IpAddr],
    until: Instant,
    again: bool,
) -> Result<Vec<IpAddr>, Error> {
    let mut waiting = neighbours.to_vec();
    let mut answered = Vec::new();
    let mut pause = FIRST_PAUSE;
    loop {
        let mut still = Vec::new();
        for neighbour in waiting {
            match netlink.reachability(interface, neighbour).await? {
                Reachability::Confirmed | Reachability::NotProbed => answered.push(neighbour),
                Reachability::Failed if !again => {}
                Reachability::Failed => {
                    netlink.probe(interface, neighbour).await?;
                    still.push(neighbour);
                }
                Reachability::Unknown => still.push(neighbour),
            }
        }
        waiting = still;
        if waiting.is_empty() || Instant::now() >= until {
            return Ok(answered);
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
