//! The event loop of the routing thread: feeds the speakers with packets and time, does what they say.

mod configure;
mod ending;
mod sync;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use anyhow::Result;
use config::Ospf;
use control::OspfStatus;
use linux::Nexthop;
use ospfv3::{Event, Family, NeighborState, PathOutcome, Transmit};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until},
};

use crate::{
    admission::Admission,
    bfd::Notice,
    detection::Detection,
    detours::DetourTable,
    fib::Routes,
    flaps::Flaps,
    graceful,
    instances::{Instance, Instances},
    kernel::Kernel,
    log::{interface_of, log},
    not_installed::NotInstalledRoutes,
    protection::Protection,
    rate_limit::RateLimit,
    refusals::Refusals,
    restart_state::Ending,
    twins::Twins,
    types::{Desired, Interface, Request, Rotations, View},
    views,
    wire::{Packet, Port, Wire},
};

/// How long after a graceful restart the routes of before are kept for the calculation.
const ROUTES_FOLLOW: Duration = Duration::from_millis(500);
/// Route notifications come in bursts, most of them our own doing.
const CHECK_DELAY: Duration = Duration::from_millis(50);
/// After a look at what others have changed, the next one waits for so many times what it has taken, within a limit.
const LOOK_PAUSE: (u32, Duration) = (100, Duration::from_secs(3));
/// Beyond the dead interval, how long the routes of an earlier daemon are kept.
const KEEP_EXTRA: Duration = Duration::from_secs(2);
/// Packets read and not yet handled; more stay in the sockets.
const QUEUE: usize = 64;
/// How often it is said that others have newer LSAs of ours: a peer could fill the log with that.
const RECLAIMED_AGAIN: Duration = Duration::from_secs(60);

/// What a node's routing stands between.
pub(crate) struct Ends {
    pub(crate) wire: Box<dyn Wire>,
    pub(crate) kernel: Box<dyn Kernel>,
    pub(crate) detection: Detection,
    /// Where the data plane takes detours, if it can.
    pub(crate) detours: Option<Box<dyn DetourTable>>,
    /// Where it is said how far rotations are.
    pub(crate) rotations: watch::Sender<Rotations>,
}

/// An interface OSPF runs on.
struct OpenInterface {
    interface: Interface,
    port: Box<dyn Port>,
}

/// What became of waiting for the next thing that happens.
enum Next {
    /// Something has happened, and was handled.
    Handled,
    /// The event loop is asked to end.
    End(Ending),
    /// Nothing has happened until the deadline.
    Deadline,
}

struct EventLoop {
    config: Ospf,
    /// The zero of the speakers' time.
    start: Instant,
    instances: Instances,
    interfaces: BTreeMap<u32, OpenInterface>,
    desired: Desired,
    wire: Box<dyn Wire>,
    routes: Routes,
    detection: Detection,
    protection: Protection,
    rotations: watch::Sender<Rotations>,
    packets: mpsc::Sender<Packet>,
    arrived: mpsc::Receiver<Packet>,
    requests: mpsc::UnboundedReceiver<Request>,
    /// When to compare the kernel's routes with ours.
    check_due: Option<Instant>,
    /// When to look what others have changed on this host, and the moment before which not.
    look_due: Option<Instant>,
    look_from: Instant,
    /// The end has begun: which routes there are is not changed any more.
    ending: bool,
    /// Sends that the kernel refused, by interface name.
    send_errors: BTreeMap<String, u64>,
    /// What neighbours say that does not fit.
    refusals: Refusals,
    flaps: Flaps,
    /// Which of the computed routes the kernel gets.
    admission: Admission,
    not_installed: NotInstalledRoutes,
    twins: Twins,
    /// Limits on what is said of our own LSAs that others send.
    reclaimed: BTreeMap<Family, RateLimit>,
    /// Who waits until the routes are where the configuration says.
    configured: Vec<oneshot::Sender<()>>,
}

/// Runs until asked to stop. `epoch` is what sequence numbers of authenticated packets begin with,
/// `before` how the last run ended.
pub(crate) async fn run(
    config: Ospf,
    (epoch, before): (u32, Option<Ending>),
    ends: Ends,
    requests: mpsc::UnboundedReceiver<Request>,
) -> Result<()> {
    let restart = graceful::resumed(&config, before);
    let keep = graceful::keep_for(&config, restart) + KEEP_EXTRA;
    let place = (config.table, config.route_metric);
    let routes = Routes::adopt(ends.kernel, place, keep).await?;
    let (packets, arrived) = mpsc::channel(QUEUE);
    let mut event_loop = EventLoop {
        instances: Instances::new(&config, epoch, restart),
        config,
        start: Instant::now(),
        interfaces: BTreeMap::new(),
        desired: Desired::default(),
        wire: ends.wire,
        routes,
        detection: ends.detection,
        protection: Protection::new(ends.detours),
        rotations: ends.rotations,
        packets,
        arrived,
        requests,
        check_due: None,
        look_due: None,
        look_from: Instant::now(),
        ending: false,
        send_errors: BTreeMap::new(),
        refusals: Refusals::default(),
        flaps: Flaps::default(),
        admission: Admission::default(),
        not_installed: NotInstalledRoutes::default(),
        twins: Twins::default(),
        reclaimed: BTreeMap::new(),
        configured: Vec::new(),
    };
    let ending = loop {
        event_loop.act().await;
        event_loop.tell_configured();
        if let Next::End(ending) = event_loop.next(None).await {
            break ending;
        }
    };
    event_loop.ending = true;
    match ending {
        Ending::Restarting => event_loop.end_for_restart().await,
        Ending::Stopped | Ending::None => event_loop.stop().await,
    }
    Ok(())
}

/// Hands out what there is to show; who has asked may be gone.
fn send<T>(answer: oneshot::Sender<T>, shown: T) {
    let _ = answer.send(shown);
}

/// Sleeps until a moment; without one, without end.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

impl EventLoop {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Waits for the next thing that happens, at most until the deadline, and handles it.
    async fn next(&mut self, deadline: Option<Instant>) -> Next {
        let timer = self.instances.poll_timeout();
        let timer = timer.map(|time| self.start + time);
        tokio::select! {
            biased;
            () = until(deadline) => return Next::Deadline,
            notice = self.detection.next() => self.bfd_notice(notice).await,
            Some(packet) = self.arrived.recv() => self.packet(&packet),
            () = until(timer) => self.instances.handle_timeout(self.start.elapsed()),
            request = self.requests.recv(), if !self.ending => match request {
                Some(Request::Configure(config, done)) => {
                    self.configure(*config).await;
                    self.configured.push(done);
                }
                Some(Request::Sync(desired)) => {
                    self.sync(desired).await;
                    self.look_around().await;
                    self.redistribute().await;
                }
                Some(Request::CheckRoutes) => {
                    self.check_due.get_or_insert_with(|| Instant::now() + CHECK_DELAY);
                }
                Some(Request::LookAround) => {
                    let due = (Instant::now() + CHECK_DELAY).max(self.look_from);
                    self.look_due.get_or_insert(due);
                }
                Some(Request::Drain(on)) => {
                    let now = self.now();
                    self.instances.drain(now, on);
                }
                Some(Request::Show(view)) => self.show(view),
                Some(Request::End(ending)) => return Next::End(ending),
                None => return Next::End(Ending::Stopped),
            },
            () = until(self.check_due), if !self.ending => {
                self.check_due = None;
                self.routes.check().await;
                self.look_at_others().await;
            }
            () = until(self.look_due), if !self.ending => self.look_at_others().await,
            () = until(self.routes.keep_until()), if !self.ending => {
                self.routes.stop_keeping().await;
            }
            () = std::future::ready(()), if self.routes.is_busy() => {
                self.routes.proceed().await;
            }
        }
        Next::Handled
    }

    /// Goes on for some time, or until something is true. Whether that has come.
    async fn go_on(&mut self, time: Duration, reached: impl Fn(&Self) -> bool) -> bool {
        let deadline = Instant::now() + time;
        loop {
            self.act().await;
            if reached(self) {
                return true;
            }
            if let Next::Deadline = self.next(Some(deadline)).await {
                return false;
            }
        }
    }

    /// Does what follows from BFD's notice.
    async fn bfd_notice(&mut self, notice: Notice) {
        match notice {
            Notice::Failed {
                interface,
                remote,
                path_is_gone,
            } => self.path_failed((interface, remote), path_is_gone),
            Notice::DetectsIn {
                interface,
                remote,
                silence,
            } => {
                // The routes first: they are to lead around what has failed.
                self.act().await;
                self.protection.detects_in((interface, remote), silence);
            }
        }
    }

    /// Sends what the speaker has to send and does what it says.
    async fn act(&mut self) {
        self.transmit();
        let (mut routes_changed, mut neighbors_changed) = (false, false);
        while let Some((family, event, restarted)) = self.instances.poll_event() {
            routes_changed |= matches!(event, Event::RoutesChanged);
            neighbors_changed |= matches!(
                event,
                Event::NeighborChanged { .. } | Event::RotationChanged { .. }
            );
            if restarted {
                // The calculation is due now, and finds what is still right of the routes.
                self.routes.keep_for(ROUTES_FOLLOW);
            }
            if let Event::InterfaceChanged { interface, .. } = event {
                self.role_changed(interface);
            }
            self.report(family, &event);
        }
        if self.ending {
            return;
        }
        if routes_changed {
            self.set_routes().await;
        }
        if neighbors_changed {
            self.follow();
        }
        if let Some(backups) = self.protection.follow(&self.instances) {
            self.routes.protect(backups).await;
        }
    }

    /// Looks what others have on this host, and not again for a while.
    async fn look_at_others(&mut self) {
        self.look_due = None;
        let began = Instant::now();
        self.look_around().await;
        self.redistribute().await;
        let (times, most) = LOOK_PAUSE;
        self.look_from = Instant::now() + (began.elapsed() * times).min(most);
    }

    /// Takes note of what this host has of its own. What that forbids goes, what it forbade comes.
    async fn look_around(&mut self) {
        let kernel = self.routes.kernel();
        let host = kernel.host_routes(self.config.table).await;
        match host {
            Ok(host) => {
                let admission = Admission::new(&self.config, &self.desired, &host);
                if self.admission != admission {
                    self.admission = admission;
                    self.set_routes().await;
                }
            }
            Err(error) => {
                tracing::error!(%error, "cannot tell which routes are the host's own; as it was");
            }
        }
    }

    /// Brings the kernel to the routes of all instances.
    async fn set_routes(&mut self) {
        let routes = self.instances.iter().map(|it| it.speaker.routes());
        let mut refused = Vec::new();
        let mut wanted = Vec::new();
        for (prefix, route) in routes.flatten() {
            match self.admission.judge(*prefix, route) {
                None => wanted.push((prefix, route)),
                Some(why) => refused.push((*prefix, why, route.routers.as_slice())),
            }
        }
        self.not_installed.set(&refused);
        let wanted = wanted.into_iter().map(|(prefix, route)| {
            let mut nexthops: Vec<Nexthop> = route
                .nexthops
                .iter()
                .map(|hop| Nexthop {
                    interface: hop.interface,
                    gateway: hop.address,
                })
                .collect();
            nexthops.sort_unstable();
            ((prefix.addr(), prefix.len()), nexthops)
        });
        self.routes.set(wanted).await;
    }

    /// As Designated Router or its Backup, in any instance, we listen to AllDRouters too.
    fn role_changed(&self, interface: u32) {
        let Some(open) = self.interfaces.get(&interface) else {
            return;
        };
        let designated = self.instances.is_dr_or_backup(interface);
        if let Err(error) = open.port.set_designated(designated) {
            let name = &open.interface.name;
            tracing::error!(
                interface = name,
                %error,
                "cannot change the membership of ff02::6: what others on the link send to the \
                 Designated Router may be missed"
            );
        }
    }

    fn transmit(&mut self) {
        while let Some(transmit) = self.instances.poll_transmit() {
            self.send(&transmit);
        }
    }

    fn send(&mut self, transmit: &Transmit) {
        let Some(open) = self.interfaces.get(&transmit.interface) else {
            return;
        };
        if let Err(error) = open.port.send(transmit) {
            let name = &open.interface.name;
            let count = self.send_errors.entry(name.clone()).or_default();
            *count += 1;
            // The first of a series is worth a line; the count tells the rest.
            if count.is_power_of_two() {
                tracing::warn!(interface = name, %error, count, "cannot send an OSPF packet");
            }
        }
    }

    /// Watches the neighbours' paths, and says how far their rotations are.
    fn follow(&mut self) {
        let interfaces = &self.interfaces;
        let former = |index| Some(interfaces.get(&index)?.interface.rotation.as_ref()?.former);
        let mut indexes = interfaces.keys();
        let rotations = match indexes.any(|index| former(*index).is_some()) {
            true => self.instances.rotations(former),
            false => Rotations::new(),
        };
        self.rotations.send_if_modified(|before| {
            let changed = *before != rotations;
            *before = rotations;
            changed
        });
        self.detection.follow(&self.instances.paths(), |index| {
            interfaces.get(&index).map(|open| &open.interface)
        });
    }

    /// BFD says that the path to a neighbour has failed (RFC 5882 4.1).
    fn path_failed(&mut self, to: (u32, Ipv6Addr), path_is_gone: bool) {
        let (interface, remote) = to;
        let now = self.now();
        let outcome = self.instances.path_failed(now, to, path_is_gone);
        if outcome == PathOutcome::Helped {
            // Its path is not given up.
            return;
        }
        // Of an IPv4 next hop the neighbour's IPv6 address says nothing.
        let alone = !self.instances.has_neighbors(interface);
        let remote = Some(IpAddr::V6(remote));
        self.routes
            .route_around(|hop| hop.interface == interface && (alone || hop.gateway == remote));
    }

    fn packet(&mut self, packet: &Packet) {
        let now = self.now();
        let addresses = (packet.source, packet.destination);
        self.instances
            .handle_packet(now, packet.interface, addresses, &packet.bytes);
    }

    /// Logs and counts what an instance reports.
    fn report(&mut self, family: Family, event: &Event) {
        let name = |interface: &u32| {
            let open = self.interfaces.get(interface)?;
            Some(open.interface.name.as_str())
        };
        match event {
            Event::Refused { interface, .. } => {
                let is_full = || self.instances.is_full(*interface);
                self.refusals.note(family, event, name(interface), is_full);
            }
            Event::NeighborChanged {
                to: NeighborState::Full,
                ..
            } => {
                let at = |interface, address| self.instances.full_at(interface, address);
                self.twins.heal(at);
            }
            Event::SelfOriginatedReceived { lsa, sequence, .. } => {
                let limit = self.reclaimed.entry(family).or_default();
                if let Some(times) = limit.again(RECLAIMED_AGAIN) {
                    tracing::info!(
                        lsa = %format_args!("{} {}", lsa.ty.name(), lsa.id), sequence, times, %family,
                        "others have an LSA of ours that is newer than we know: from before a restart, \
                         or another router has our Router ID. Originated again"
                    );
                }
            }
            _ => {}
        }
        if self.twins.note(family, event, Instant::now()) {
            self.tell_of_twins();
        }
        log(family, event, interface_of(event).as_ref().and_then(name));
        if let Event::NeighborChanged { peer, .. } = event {
            self.flaps.note(family, event, name(&peer.interface));
        }
    }

    /// Which routers have one Router ID: a problem, which is said once.
    fn tell_of_twins(&self) {
        let now = Instant::now();
        for other in self.twins.hold(now, |index| self.name(index)) {
            let interface = other.interface.as_deref().unwrap_or("behind a neighbour");
            tracing::debug!(
                router_id = %self.config.router_id, interface, addresses = ?other.addresses,
                neighbors = ?other.neighbors,
                "another router has our Router ID"
            );
        }
        for two in self.twins.doubled(now, |index| self.name(index)) {
            tracing::debug!(
                router_id = %two.router_id, neighbors = ?two.neighbors,
                "two neighbours have one Router ID"
            );
        }
    }

    /// The name of an open interface.
    fn name(&self, index: u32) -> Option<&str> {
        let open = self.interfaces.get(&index);
        open.map(|open| open.interface.name.as_str())
    }

    fn show(&mut self, view: View) {
        // Ages and timers as of this moment.
        let now = self.now();
        self.instances.handle_timeout(now);
        let name = |index: u32| {
            let open = self.interfaces.get(&index);
            open.map(|open| open.interface.name.as_str())
        };
        let all = &self.instances;
        match view {
            View::Interfaces(answer) => {
                let of = |it: &Instance| views::interfaces(it, &self.refusals, &self.flaps);
                send(answer, views::list(all, of));
            }
            View::Neighbors(answer) => send(answer, views::list(all, |it| it.speaker.neighbors())),
            View::Database(answer) => {
                send(answer, views::list(all, |it| it.speaker.database().lsas));
            }
            View::Routes(answer) => {
                send(
                    answer,
                    views::list(all, |it| views::routes(&it.speaker, &self.admission, name)),
                );
            }
            View::Summary(answer) => send(answer, self.summary()),
            View::Bfd(answer) => {
                let shown = self.detection.show();
                tokio::spawn(async move {
                    let status = match shown {
                        Some(shown) => shown.await.ok(),
                        None => None,
                    };
                    send(answer, status);
                });
            }
        }
    }

    /// What status shows: IPv6 at the top, IPv4 below a name of its own.
    fn summary(&self) -> Option<OspfStatus> {
        Some(OspfStatus {
            router_id: self.config.router_id,
            interfaces: self.interfaces.len(),
            detours: self.protection.count(),
            twins: self.twins.hold(Instant::now(), |index| self.name(index)),
            doubled_router_ids: self.twins.doubled(Instant::now(), |index| self.name(index)),
            kernel: self.routes.counts(),
            not_installed: self.not_installed.counts().clone(),
            kept_out: self.not_installed.shown().to_vec(),
            send_errors: self.send_errors.clone(),
            ipv6: self.instances.ipv6().map(views::instance)?,
            ipv4: self.instances.ipv4().map(views::instance),
        })
    }
}
