//! The I/O around the OSPFv3 crate: a thread of its own with sockets, timers and kernel routes.

mod detection;
mod epoch;
mod flaps;
mod graceful;
mod instances;
mod kernel;
mod nexthops;
mod protection;
mod redistribute;
mod refusals;
mod seldom;
mod socket;
mod thread;
mod views;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context as _, Result};
use config::{Ospf, OspfArea, OspfNetwork};
use ospfv3::KeyChain;
use tokio::sync::{mpsc, oneshot};

pub(crate) use self::kernel::remove_routes;
use self::{
    detection::Detection,
    epoch::{Ending, Life},
    protection::Protection,
};

/// Interface ID of the loopback, which carries the anycast prefixes and has no packets.
/// Kernel indexes fit in 31 bits, so no other interface has it.
const LOOPBACK: u32 = u32::MAX;
/// After a withdrawal has been sent, how long data and addresses stay: the neighbours compute routes
/// meanwhile (BIRD does so once a second) and still send here until they have.
pub(crate) const STOP_GRACE: Duration = Duration::from_millis(1500);

/// An interface OSPF shall run on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    /// Name, for the log.
    pub(crate) name: String,
    /// Index; it is the Interface ID of RFC 5340 2.9 as well.
    pub(crate) index: u32,
    /// Link-local address, source of every packet.
    pub(crate) link_local: Ipv6Addr,
    /// MTU in bytes.
    pub(crate) mtu: u16,
    /// Its area.
    pub(crate) area: Ipv4Addr,
    /// Its kind.
    pub(crate) network: OspfNetwork,
    /// Router Priority.
    pub(crate) priority: u8,
    /// Output cost.
    pub(crate) cost: u16,
    /// Intervals of BFD, where it is used.
    pub(crate) bfd: Option<bfd::Timers>,
    /// Keys that BFD's packets are signed with.
    pub(crate) bfd_keys: Vec<bfd::Key>,
    /// Keys that packets are signed with.
    pub(crate) keys: Option<KeyChain>,
    /// Global addresses on the interface with the lengths of their prefixes, which are advertised
    /// with its cost, each in its family.
    pub(crate) prefixes: Vec<(IpAddr, u8)>,
}

impl Interface {
    /// Whether this can take the place of `other` without its adjacencies falling.
    fn is_like(&self, other: &Self) -> bool {
        let as_other = Self {
            keys: other.keys.clone(),
            prefixes: other.prefixes.clone(),
            bfd: other.bfd,
            bfd_keys: other.bfd_keys.clone(),
            ..self.clone()
        };
        as_other == *other
    }
}

/// A host address to advertise, with the LA bit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostPrefix {
    /// The address.
    pub(crate) address: IpAddr,
    /// Its metric.
    pub(crate) metric: u16,
}

/// What OSPF shall run on and advertise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Desired {
    /// Instance ID of IPv4's instance, if IPv4 is to be routed.
    pub(crate) ipv4: Option<u8>,
    /// Interfaces.
    pub(crate) interfaces: Vec<Interface>,
    /// Anycast addresses.
    pub(crate) services: Vec<HostPrefix>,
    /// The area they are in.
    pub(crate) home: Option<Ipv4Addr>,
    /// Areas that are not like any other.
    pub(crate) areas: Vec<OspfArea>,
    /// Anycast addresses of the configuration, offered now or not.
    pub(crate) reserved: Vec<IpAddr>,
    /// Outer addresses of the tunnels' ends.
    pub(crate) endpoints: Vec<IpAddr>,
    /// Index of the underlay's interface.
    pub(crate) underlay: Option<u32>,
}

/// What can be asked of the routing thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// The interfaces.
    Interfaces,
    /// The neighbours.
    Neighbors,
    /// The link-state database.
    Database,
    /// The routes computed.
    Routes,
    /// Counts for status.
    Summary,
    /// BFD and its sessions; null without it.
    Bfd,
}

enum Request {
    Sync(Desired),
    CheckRoutes,
    Drain(bool),
    Show(View, oneshot::Sender<serde_json::Value>),
    Stop,
    Leave,
}

/// The running routing thread.
pub(crate) struct Routing {
    requests: mpsc::UnboundedSender<Request>,
    finished: oneshot::Receiver<()>,
    thread: JoinHandle<()>,
    life: Life,
}

impl Routing {
    /// Starts the thread; `memory` is the file that keeps what must outlive a crash, `pins` where the
    /// loaded data plane has its maps.
    ///
    /// # Errors
    ///
    /// When its rtnetlink connection or the thread cannot be had.
    pub(crate) fn start(config: Ospf, memory: PathBuf, pins: PathBuf) -> Result<Self> {
        let life = Life::begin(&memory)?;
        let (number, before) = (life.number, life.before);
        let (requests, inbox) = mpsc::unbounded_channel();
        let (finish, finished) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = std::thread::Builder::new()
            .name("routing".into())
            .spawn(move || {
                let detection = Detection::start();
                let protection = Protection::open(&pins);
                linux::keep_what_is_needed();
                if let Err(error) = runtime.block_on(thread::run(
                    config,
                    (number, before),
                    detection,
                    protection,
                    inbox,
                )) {
                    tracing::error!(error = format!("{error:#}"), "OSPF has stopped");
                }
                let _ = finish.send(());
            })
            .context("cannot start the routing thread")?;
        Ok(Self {
            requests,
            finished,
            thread,
            life,
        })
    }

    /// Says which interfaces and prefixes there are now.
    pub(crate) fn sync(&self, desired: Desired) {
        self.ask(Request::Sync(desired));
    }

    /// Says that kernel routes have changed: they may have been ours.
    pub(crate) fn check_routes(&self) {
        self.ask(Request::CheckRoutes);
    }

    /// Whether the node was drained in the life before, and this one goes on with that.
    pub(crate) fn was_drained(&self) -> bool {
        self.life.drained
    }

    /// Makes the node the last resort, or ends that, for lives that follow without a clean stop too.
    ///
    /// # Errors
    ///
    /// When that cannot be written down; nothing has been changed then.
    pub(crate) fn drain(&mut self, on: bool) -> Result<()> {
        self.life.drain(on)?;
        self.ask(Request::Drain(on));
        Ok(())
    }

    /// What the thread answers to `view`, when it does.
    pub(crate) fn show(&self, view: View) -> oneshot::Receiver<serde_json::Value> {
        let (answer, receiver) = oneshot::channel();
        self.ask(Request::Show(view, answer));
        receiver
    }

    /// Withdraws everything, waits until the neighbours have moved, removes the routes and ends.
    pub(crate) async fn stop(self) {
        self.end(Request::Stop, Ending::Stopped).await;
    }

    /// Ends so that the next start can go on where this one was: the neighbours are asked to wait
    /// (RFC 3623 2.1), and everything is left in its place.
    pub(crate) async fn leave(self) {
        self.end(Request::Leave, Ending::Restarting).await;
    }

    async fn end(self, how: Request, ending: Ending) {
        self.ask(how);
        let _ = self.finished.await;
        if let Err(error) = self.life.end(ending) {
            tracing::error!(
                error = format!("{error:#}"),
                "the next start will take this end for a crash"
            );
        }
        if self.thread.join().is_err() {
            tracing::error!("the routing thread had panicked");
        }
    }

    fn ask(&self, request: Request) {
        // The thread ends early only after an error it has logged.
        let _ = self.requests.send(request);
    }
}
