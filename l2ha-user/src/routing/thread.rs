//! The routing thread: feeds the speakers with packets and time, does what they say.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use ospfv3::{AreaConfig, Event, Family, PathOutcome, Peer, Speaker, Transmit};
use serde_json::json;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{sleep, sleep_until},
};

use super::{
    Desired, Interface, Request, STOP_GRACE, View,
    detection::{Detection, Heard},
    epoch::{self, Ending},
    flaps::Flaps,
    graceful,
    instances::Instances,
    kernel::Routes,
    protection::Protection,
    redistribute,
    refusals::Refusals,
    seldom::Seldom,
    socket::{OspfSocket, Received},
    views,
};
use crate::{
    bfd::Change,
    config::{Ospf, OspfArea},
    netlink::{Netlink, Nexthop, Spread},
};

/// How long after a graceful restart the routes of before are kept for the calculation.
const ROUTES_FOLLOW: Duration = Duration::from_millis(500);
/// How long neighbours have to acknowledge that this node restarts: more than one retransmission
/// would help little, and the restart is wanted now.
const LEAVE_PATIENCE: Duration = Duration::from_secs(2);
/// Route notifications come in bursts, most of them our own doing.
const ROUTE_SETTLE: Duration = Duration::from_millis(50);
/// Beyond the dead interval, how long the routes of an earlier daemon are kept.
const KEEP_EXTRA: Duration = Duration::from_secs(2);
/// Packets read and not yet handled, per interface; more stay in the socket.
const QUEUE: usize = 64;
/// How often it is said that others have newer LSAs of ours: a peer could fill the log with that.
const RECLAIMED_AGAIN: Duration = Duration::from_secs(60);

/// A packet on its way from a socket to the speaker.
struct Packet {
    interface: u32,
    bytes: Vec<u8>,
    received: Received,
}

/// An interface OSPF runs on.
struct Port {
    interface: Interface,
    socket: Arc<OspfSocket>,
    reader: JoinHandle<()>,
}

impl Drop for Port {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

struct Thread {
    config: Ospf,
    epoch: Instant,
    instances: Instances,
    ports: BTreeMap<u32, Port>,
    desired: Desired,
    routes: Routes,
    netlink: Netlink,
    detection: Detection,
    protection: Protection,
    packets: mpsc::Sender<Packet>,
    /// Sends that the kernel refused, by interface name.
    send_errors: BTreeMap<String, u64>,
    /// What neighbours say that does not fit.
    refusals: Refusals,
    flaps: Flaps,
    /// Words about our own LSAs that others send.
    reclaimed: BTreeMap<Family, Seldom>,
}

/// Runs until asked to stop.
pub(super) async fn run(
    config: Ospf,
    (number, before): (u32, Option<Ending>),
    detection: Detection,
    protection: Protection,
    mut inbox: mpsc::UnboundedReceiver<Request>,
) -> Result<()> {
    let netlink = Netlink::open().context("cannot open rtnetlink")?;
    let restart = graceful::resumed(&config, before);
    let keep = graceful::keep_for(&config, restart) + KEEP_EXTRA;
    let place = (config.table, config.route_metric);
    let spread = Spread::Resilient(120);
    let routes = Routes::adopt(netlink.clone(), place, keep, spread).await?;
    let epoch = Instant::now();
    let (packets, mut arrived) = mpsc::channel(QUEUE);
    let mut thread = Thread {
        instances: Instances::new(&config, number, restart),
        config,
        epoch,
        ports: BTreeMap::new(),
        desired: Desired::default(),
        routes,
        netlink,
        detection,
        protection,
        packets,
        send_errors: BTreeMap::new(),
        refusals: Refusals::default(),
        flaps: Flaps::default(),
        reclaimed: BTreeMap::new(),
    };
    let mut check_due: Option<Instant> = None;
    loop {
        thread.act().await;
        let timer = thread.instances.poll_timeout().map(|time| epoch + time);
        tokio::select! {
            biased;
            heard = thread.detection.heard() => match heard {
                Heard::Failed(change) => thread.path_failed(&change),
                Heard::Silences => {
                    // The routes first: what has failed is left by them.
                    thread.act().await;
                    thread.protection.watch(&thread.detection.silences());
                }
            },
            Some(packet) = arrived.recv() => thread.packet(&packet),
            () = until(timer) => thread.instances.handle_timeout(epoch.elapsed()),
            request = inbox.recv() => match request {
                Some(Request::Sync(desired)) => {
                    thread.sync(desired).await;
                    thread.redistribute().await;
                }
                Some(Request::CheckRoutes) => {
                    check_due.get_or_insert_with(|| Instant::now() + ROUTE_SETTLE);
                }
                Some(Request::Drain(on)) => {
                    let now = thread.now();
                    thread.instances.drain(now, on);
                }
                Some(Request::Show(view, answer)) => {
                    thread.answer(view, answer);
                }
                Some(Request::Leave) => {
                    thread.leave(&mut arrived).await;
                    return Ok(());
                }
                Some(Request::Stop) | None => break,
            },
            () = until(check_due) => {
                check_due = None;
                thread.routes.check().await;
                thread.redistribute().await;
            }
            () = until(thread.routes.keep_until()) => thread.routes.stop_keeping().await,
            () = std::future::ready(()), if thread.routes.is_busy() => {
                thread.routes.proceed().await;
            }
        }
    }
    thread.stop(&mut arrived).await;
    Ok(())
}

/// Sleeps until a moment, or for ever.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

impl Thread {
    fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// Sends what the speaker has to send and does what it says.
    async fn act(&mut self) {
        self.transmit();
        let (mut routes_changed, mut neighbors_changed) = (false, false);
        while let Some((family, event, restarted)) = self.instances.poll_event() {
            routes_changed |= matches!(event, Event::RoutesChanged);
            neighbors_changed |= matches!(event, Event::NeighborChanged { .. });
            if restarted {
                // The calculation is due now, and finds what is still right of the routes.
                self.routes.keep_for(ROUTES_FOLLOW);
            }
            if let Event::InterfaceChanged { interface, .. } = event {
                self.office_changed(interface);
            }
            self.tell(family, &event);
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

    /// Brings the kernel to the routes of all instances.
    async fn set_routes(&mut self) {
        let routes = self.instances.iter().map(|it| it.speaker.routes());
        let wanted = routes.flatten().map(|(prefix, route)| {
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
    fn office_changed(&self, interface: u32) {
        let Some(port) = self.ports.get(&interface) else {
            return;
        };
        let holds_office = self.instances.holds_office(interface);
        if let Err(error) = port.socket.set_designated(holds_office) {
            let name = &port.interface.name;
            tracing::error!(
                interface = name,
                %error,
                "cannot change the membership of ff02::6: what others on the link send to the \
                 Designated Router may be missed"
            );
        }
    }

    /// Brings the speaker's areas to what is wanted; one that is not named is like any other.
    fn set_areas(&mut self, areas: &[OspfArea]) {
        let now = self.now();
        let gone = self
            .desired
            .areas
            .iter()
            .map(|area| (area.area, AreaConfig::default()));
        let wanted = areas.iter().map(|area| (area.area, area.config));
        let all: BTreeMap<_, _> = gone.chain(wanted).collect();
        for (area, config) in all {
            self.instances
                .each(|speaker| speaker.set_area(now, area, config));
        }
    }

    /// Advertises what of the kernel's routes is to be.
    async fn redistribute(&mut self) {
        let config = self.config.redistribute;
        if !config.connected && !config.statics {
            return;
        }
        match self.netlink.foreign_routes(redistribute::TABLE).await {
            Ok(routes) => {
                let now = self.now();
                let desired = &self.desired;
                self.instances.set_externals(now, |family| {
                    redistribute::externals(family, &routes, config, desired)
                });
            }
            Err(error) => {
                tracing::error!(%error, "cannot tell which routes to redistribute; they stay as they were");
            }
        }
    }

    fn transmit(&mut self) {
        while let Some(transmit) = self.instances.poll_transmit() {
            self.send(&transmit);
        }
    }

    fn send(&mut self, transmit: &Transmit) {
        let Some(port) = self.ports.get(&transmit.interface) else {
            return;
        };
        let sent = port
            .socket
            .send(transmit.source, transmit.destination, &transmit.bytes);
        if let Err(error) = sent {
            let name = &port.interface.name;
            let count = self.send_errors.entry(name.clone()).or_default();
            *count += 1;
            // The first of a series is worth a line; the count tells the rest.
            if count.is_power_of_two() {
                tracing::warn!(interface = name, %error, count, "cannot send an OSPF packet");
            }
        }
    }

    /// Watches the neighbours' paths.
    fn follow(&mut self) {
        let ports = &self.ports;
        self.detection.follow(&self.instances.paths(), |index| {
            ports.get(&index).map(|port| &port.interface)
        });
    }

    /// BFD says that the path to a neighbour is gone (RFC 5882 4.1).
    fn path_failed(&mut self, change: &Change) {
        let now = self.now();
        let to = (change.interface, change.remote);
        let outcome = self.instances.path_failed(now, to, change.path_is_gone());
        if outcome == PathOutcome::Helped {
            // Its path is not given up.
            return;
        }
        // Of an IPv4 next hop the neighbour's IPv6 address says nothing.
        let alone = !self.instances.has_neighbors(change.interface);
        let remote = Some(IpAddr::V6(change.remote));
        self.routes
            .leave(|hop| hop.interface == change.interface && (alone || hop.gateway == remote));
    }

    fn packet(&mut self, packet: &Packet) {
        let now = self.now();
        let addresses = (packet.received.source, packet.received.destination);
        self.instances
            .handle_packet(now, packet.interface, addresses, &packet.bytes);
    }

    /// Starts or ends IPv4. The interfaces that are open already get it too.
    async fn set_ipv4(&mut self, wanted: Option<u8>) {
        let now = self.now();
        let (changed, last_words) = self.instances.set_ipv4(now, wanted);
        if !changed {
            return;
        }
        for transmit in &last_words {
            self.send(transmit);
        }
        self.instances
            .each(|speaker| speaker.set_wall_clock(now, epoch::wall_clock()));
        for area in &self.desired.areas {
            self.instances
                .each(|speaker| speaker.set_area(now, area.area, area.config));
        }
        for port in self.ports.values() {
            self.instances.add_interface(now, &port.interface);
        }
        self.instances.set_services(now, &self.desired);
        self.set_routes().await;
    }

    /// Brings the speakers' interfaces and prefixes to what is wanted.
    async fn sync(&mut self, desired: Desired) {
        self.set_ipv4(desired.ipv4).await;
        let now = self.now();
        self.instances.set_transit(now);
        // Somebody may have set the clock.
        self.instances
            .each(|speaker| speaker.set_wall_clock(now, epoch::wall_clock()));
        self.set_areas(&desired.areas);
        let stale: Vec<u32> = self
            .ports
            .iter()
            .filter(|(_, port)| {
                !desired
                    .interfaces
                    .iter()
                    .any(|new| new.is_like(&port.interface))
            })
            .map(|(index, _)| *index)
            .collect();
        for index in stale {
            self.ports.remove(&index);
            self.refusals.forget(index);
            self.flaps.forget(index);
            self.instances
                .each(|speaker| speaker.remove_interface(now, index));
        }
        for interface in &desired.interfaces {
            match self.ports.get_mut(&interface.index) {
                None => self.open(interface),
                Some(port)
                    if port.interface.keys != interface.keys
                        || port.interface.prefixes != interface.prefixes =>
                {
                    let new_keys = port.interface.keys != interface.keys;
                    port.interface.keys.clone_from(&interface.keys);
                    port.interface.prefixes.clone_from(&interface.prefixes);
                    if new_keys {
                        tracing::info!(interface = interface.name, "OSPF has new keys here");
                    }
                    self.instances.add_interface(now, interface);
                }
                Some(_) => {}
            }
        }
        if (desired.home, &desired.services) != (self.desired.home, &self.desired.services) {
            self.instances.set_services(now, &desired);
        }
        for interface in &desired.interfaces {
            if let Some(port) = self.ports.get_mut(&interface.index) {
                port.interface.bfd = interface.bfd;
                port.interface.bfd_keys.clone_from(&interface.bfd_keys);
            }
        }
        self.follow();
        self.desired = desired;
    }

    /// Opens an interface; when that fails the next sync tries again.
    fn open(&mut self, interface: &Interface) {
        let socket = match OspfSocket::open(&interface.name, interface.index) {
            Ok(socket) => Arc::new(socket),
            Err(error) => {
                tracing::error!(interface = interface.name, %error, "cannot open an OSPF socket");
                return;
            }
        };
        let reader = tokio::spawn(read(
            Arc::clone(&socket),
            interface.clone(),
            self.packets.clone(),
        ));
        let port = Port {
            interface: interface.clone(),
            socket,
            reader,
        };
        self.ports.insert(interface.index, port);
        let now = self.now();
        self.instances.add_interface(now, interface);
    }

    fn answer(&mut self, view: View, answer: oneshot::Sender<serde_json::Value>) {
        if view != View::Bfd {
            let _ = answer.send(self.show(view));
            return;
        }
        let shown = self.detection.show();
        tokio::spawn(async move {
            let view = match shown {
                Some(shown) => shown.await.ok(),
                None => None,
            };
            let _ = answer.send(json!(view));
        });
    }

    /// What an instance says, in the log and for who asks.
    fn tell(&mut self, family: Family, event: &Event) {
        let name = |interface: &u32| {
            let port = self.ports.get(interface)?;
            Some(port.interface.name.as_str())
        };
        match event {
            Event::Refused { interface, .. } => self.refusals.note(family, event, name(interface)),
            Event::SelfOriginatedReceived { lsa, sequence } => {
                let words = self.reclaimed.entry(family).or_default();
                if let Some(times) = words.again(RECLAIMED_AGAIN) {
                    tracing::info!(
                        ?lsa, sequence, times, %family,
                        "others have an LSA of ours that is newer than we know: from an earlier life, \
                         or somebody uses our Router ID. Outpaced"
                    );
                }
            }
            _ => {}
        }
        log(family, event);
        if let Event::NeighborChanged { peer, .. } = event {
            self.flaps.note(family, event, name(&peer.interface));
        }
    }

    fn show(&mut self, view: View) -> serde_json::Value {
        // Ages and timers as of this moment.
        let now = self.now();
        self.instances.handle_timeout(now);
        let name = |index: u32| {
            let port = self.ports.get(&index);
            port.map(|port| port.interface.name.as_str())
        };
        let value = match view {
            View::Interfaces => views::interfaces(&self.instances, &self.refusals, &self.flaps),
            View::Neighbors => views::list(&self.instances, Speaker::neighbors),
            View::Database => views::list(&self.instances, |speaker| speaker.database().lsas),
            View::Routes => views::list(&self.instances, |speaker| views::routes(speaker, name)),
            View::Summary => Ok(self.summary()),
            View::Bfd => Ok(serde_json::Value::Null),
        };
        value.unwrap_or_else(|error| serde_json::json!({ "error": error.to_string() }))
    }

    /// What status shows: IPv6 at the top, IPv4 below a name of its own.
    fn summary(&self) -> serde_json::Value {
        let mut summary = self
            .instances
            .ipv6()
            .map(views::instance)
            .unwrap_or_default();
        let rest = [
            ("router_id", json!(self.config.router_id)),
            ("interfaces", json!(self.ports.len())),
            ("detours", json!(self.protection.count())),
            ("kernel", json!(self.routes.counts())),
            ("send_errors", json!(self.send_errors)),
            ("ipv4", json!(self.instances.ipv4().map(views::instance))),
        ];
        summary.extend(rest.map(|(name, value)| (name.to_owned(), value)));
        summary.into()
    }

    /// The end before a restart: the neighbours hear of it, and everything stays in its place. BFD
    /// says nothing: the kernel goes on answering for the path.
    async fn leave(&mut self, arrived: &mut mpsc::Receiver<Packet>) {
        let Some(restart) = graceful::planned(&self.config) else {
            tracing::warn!(
                "graceful_restart = 0: the neighbours are not asked to wait, and take the next \
                 start for a new router"
            );
            self.detection.abandon();
            return;
        };
        let now = self.now();
        self.instances
            .each(|speaker| speaker.begin_graceful_restart(now, restart));
        let patience = sleep(LEAVE_PATIENCE);
        tokio::pin!(patience);
        let mut all = true;
        loop {
            self.transmit();
            while let Some((family, event, _)) = self.instances.poll_event() {
                self.tell(family, &event);
            }
            if self.instances.is_settled() {
                break;
            }
            let timer = self.instances.poll_timeout().map(|time| self.epoch + time);
            tokio::select! {
                () = &mut patience => {
                    all = false;
                    break;
                }
                Some(packet) = arrived.recv() => self.packet(&packet),
                () = until(timer) => {
                    let now = self.now();
                    self.instances.handle_timeout(now);
                }
            }
        }
        self.detection.abandon();
        if all {
            tracing::info!(
                seconds = restart.period,
                "every neighbour knows that this node restarts"
            );
        } else {
            tracing::warn!(
                "not every neighbour has acknowledged that this node restarts; those others may \
                 give up the adjacency"
            );
        }
    }

    /// The clean stop: withdraw, wait for acknowledgements and the neighbours' routes, end.
    async fn stop(&mut self, arrived: &mut mpsc::Receiver<Packet>) {
        let now = self.now();
        // The neighbours hear of the stop from OSPF; BFD shall not call it a failure.
        self.detection.stop();
        self.protection.end();
        self.instances.each(|speaker| speaker.shutdown(now));
        self.transmit();
        let grace = sleep(STOP_GRACE);
        tokio::pin!(grace);
        loop {
            let timer = self.instances.poll_timeout().map(|time| self.epoch + time);
            tokio::select! {
                () = &mut grace => break,
                Some(packet) = arrived.recv() => self.packet(&packet),
                () = until(timer) => {
                    let now = self.now();
                    self.instances.handle_timeout(now);
                }
            }
            self.transmit();
            while let Some((family, event, _)) = self.instances.poll_event() {
                self.tell(family, &event);
            }
        }
        self.routes.remove_all().await;
    }
}

/// Reads one socket into the queue.
async fn read(socket: Arc<OspfSocket>, interface: Interface, packets: mpsc::Sender<Packet>) {
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        match socket.receive(&mut buffer).await {
            Ok(received) => {
                let packet = Packet {
                    interface: interface.index,
                    bytes: buffer.get(..received.length).unwrap_or_default().to_vec(),
                    received,
                };
                if packets.send(packet).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::debug!(interface = interface.name, %error, "cannot read an OSPF packet");
                // A vanished interface answers at once, again and again, until it is removed.
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// What the speaker says, in the log.
fn log(family: Family, event: &Event) {
    match event {
        Event::NeighborChanged {
            peer,
            from,
            to,
            reason,
        } => {
            let Peer {
                interface,
                router_id,
            } = *peer;
            tracing::info!(interface, %router_id, ?from, ?to, ?reason, %family, "neighbour");
        }
        Event::InterfaceChanged {
            interface,
            from,
            to,
        } => {
            tracing::info!(interface, ?from, ?to, %family, "OSPF interface");
        }
        Event::RoutesChanged => tracing::debug!(%family, "routes computed"),
        // Counted by the speaker; a peer could fill the log with these.
        Event::Refused {
            interface,
            source,
            reason,
            mismatch,
        } => {
            tracing::debug!(interface, %source, ?reason, ?mismatch, %family, "OSPF packet refused");
        }
        Event::LastKeyExpired { interface, sa_id } => {
            tracing::warn!(
                interface,
                sa_id,
                "the time of the last OSPF key is over; it is used on, because no key would be \
                 worse. Add a key to [[ospf_keys]] here and at the neighbours"
            );
        }
        Event::HelpBegun { .. }
        | Event::HelpRefused { .. }
        | Event::HelpEnded { .. }
        | Event::RestartEnded { .. } => graceful::log(family, event),
        Event::SelfOriginatedReceived { lsa, sequence } => {
            tracing::debug!(?lsa, sequence, %family, "our own LSA received");
        }
    }
}
