//! Whether attaching a program has cut this node off: its gateways are asked before and after.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    time::{Duration, Instant},
};

use linux::{Answers, Error, Netlink};
use tokio::time::sleep;

/// How long a gateway may take to answer before the program is attached. It is asked when the start
/// begins, which takes about as long by itself. Gateways answer within milliseconds.
const BEFORE: Duration = Duration::from_millis(250);
/// How long one may take afterwards: the kernel asks three times, once a second, and a NIC that has
/// set its queues up anew may be deaf for the first of them.
const AFTER: Duration = Duration::from_millis(3200);
/// How often is looked, at first and at last.
const QUICK: Duration = Duration::from_millis(1);
const SLOW: Duration = Duration::from_millis(50);
/// Of many tunnels without a gateway, so many neighbours tell enough.
const MOST: usize = 8;

/// The neighbours on the way out of an interface, and who of them answers.
#[derive(Debug)]
pub(crate) struct Reach {
    interface: u32,
    asked: Vec<IpAddr>,
    since: Instant,
}

/// The neighbours that answered before a program was attached.
#[derive(Debug)]
pub(crate) struct Answered {
    interface: u32,
    neighbours: Vec<IpAddr>,
}

impl Reach {
    /// Begins to ask the gateways of the interface's default routes or, where there are none, the
    /// neighbours on the way to these addresses. Nobody is waited for yet.
    pub(crate) async fn ask(
        netlink: &Netlink,
        interface: u32,
        remotes: &BTreeSet<IpAddr>,
    ) -> Result<Self, Error> {
        let mut neighbours = netlink.default_gateways(interface).await?;
        if neighbours.is_empty() {
            for remote in remotes.iter().take(MOST) {
                // To one that cannot be reached there is no neighbour.
                neighbours.extend(netlink.next_hop(interface, *remote).await.ok());
            }
            neighbours.sort_unstable();
            neighbours.dedup();
        }
        let mut asked = Vec::new();
        for neighbour in neighbours {
            // Who has not answered the kernel is silent, and needs no further question.
            if netlink.answers(interface, neighbour).await? != Answers::No
                && ask(netlink, interface, neighbour).await?
            {
                asked.push(neighbour);
            }
        }
        Ok(Self {
            interface,
            asked,
            since: Instant::now(),
        })
    }

    /// Who has answered. Waits for the others for what is left of the time they have.
    pub(crate) async fn answered(self, netlink: &Netlink) -> Result<Answered, Error> {
        let Self {
            interface,
            asked,
            since,
        } = self;
        let neighbours = wait(netlink, interface, &asked, since + BEFORE, false).await?;
        Ok(Answered {
            interface,
            neighbours,
        })
    }
}

impl Answered {
    /// The neighbours that do not answer any more. Waits until all have answered, or long enough to
    /// be sure that one does not.
    pub(crate) async fn lost(&self, netlink: &Netlink) -> Result<Vec<IpAddr>, Error> {
        for neighbour in &self.neighbours {
            ask(netlink, self.interface, *neighbour).await?;
        }
        let until = Instant::now() + AFTER;
        let answer = wait(netlink, self.interface, &self.neighbours, until, true).await?;
        let mut lost = self.neighbours.clone();
        lost.retain(|neighbour| !answer.contains(neighbour));
        Ok(lost)
    }
}

/// Asks a neighbour; returns whether it is one that can be asked.
async fn ask(netlink: &Netlink, interface: u32, neighbour: IpAddr) -> Result<bool, Error> {
    if netlink.answers(interface, neighbour).await? == Answers::NeverAsked {
        return Ok(false);
    }
    netlink.probe(interface, neighbour).await?;
    Ok(true)
}

/// Those who answer in time. One for whom the kernel has given up is asked again if `insist`.
async fn wait(
    netlink: &Netlink,
    interface: u32,
    neighbours: &[IpAddr],
    until: Instant,
    insist: bool,
) -> Result<Vec<IpAddr>, Error> {
    let mut waiting = neighbours.to_vec();
    let mut answered = Vec::new();
    let mut pause = QUICK;
    loop {
        let mut still = Vec::new();
        for neighbour in waiting {
            match netlink.answers(interface, neighbour).await? {
                Answers::Yes | Answers::NeverAsked => answered.push(neighbour),
                Answers::No if !insist => {}
                Answers::No => {
                    netlink.probe(interface, neighbour).await?;
                    still.push(neighbour);
                }
                Answers::Unknown => still.push(neighbour),
            }
        }
        waiting = still;
        if waiting.is_empty() || Instant::now() >= until {
            return Ok(answered);
        }
        sleep(pause).await;
        pause = (pause * 2).min(SLOW);
    }
}
