//! The routing thread: feeds the speaker with packets and time, does what it says.

use std::{
    collections::BTreeMap,
    net::Ipv6Addr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use ospfv3::{
    AreaConfig, Event, Family, GracefulRestart, InterfaceConfig, InterfaceKind, InterfaceState,
    NeighborState, Prefix, Speaker, SpfDelay, StubPrefix,
};
use serde_json::json;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{sleep, sleep_until},
};

use super::{
    Desired, Interface, Request, View,
    detection::{Detection, Heard},
    epoch::{self, Ending},
    graceful,
    kernel::Routes,
    protection::Protection,
    redistribute,
    socket::{OspfSocket, Received},
};
use crate::{
    bfd::Change,
    config::{Ospf, OspfArea, OspfNetwork},
    netlink::{Netlink, Nexthop},
};

/// Interface ID of the loopback, which carries the anycast prefixes and has no packets.
/// Kernel indexes fit in 31 bits, so no other interface has it.
const LOOPBACK: u32 = u32::MAX;
/// After the withdrawal has been sent, how long data and addresses stay: the neighbours compute
/// routes meanwhile (BIRD does so once a second) and still send here until they have.
const STOP_GRACE: Duration = Duration::from_millis(1500);
/// How long after a graceful restart the routes of before are kept for the calculation.
const ROUTES_FOLLOW: Duration = Duration::from_millis(500);
/// How long neighbours have to acknowledge that this node restarts: more than one retransmission
/// would help little, and the restart is wanted now.
const LEAVE_PATIENCE: Duration = Duration::from_secs(2);
/// Route notifications come in bursts, most of them our own doing.
const ROUTE_SETTLE: Duration = Duration::from_millis(50);
/// Beyond the dead interval, how long the routes of an earlier daemon are kept.
const KEEP_EXTRA: Duration = Duration::from_secs(2);
/// Least time between two originations of one LSA, in place of MinLSInterval (5 s, RFC 2328 B): a
/// second change, such as the adjacency that comes up again after a cut, shall not wait that long.
/// It must stay above MinLSArrival (1 s), below which neighbours drop what they receive.
const LSA_THROTTLE: Duration = Duration::from_millis(1200);
/// Delays before routes are computed. A neighbour moves its traffic here 0.3 s after it has heard of
/// an adjacency, so even in a storm of changes the way back must be computed before.
const SPF_DELAY: SpfDelay = SpfDelay {
    initial: Duration::ZERO,
    hold: Duration::from_millis(50),
    max: Duration::from_millis(200),
};
/// Packets read and not yet handled, per interface; more stay in the socket.
const QUEUE: usize = 64;

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
    speaker: Speaker,
    ports: BTreeMap<u32, Port>,
    desired: Desired,
    routes: Routes,
    netlink: Netlink,
    detection: Detection,
    protection: Protection,
    packets: mpsc::Sender<Packet>,
    /// Whether this node forwards, as it was last seen.
    transit: Option<bool>,
    /// Sends that the kernel refused, by interface name.
    send_errors: BTreeMap<String, u64>,
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
    let routes = Routes::adopt(netlink.clone(), config.table, config.route_metric, keep).await?;
    let epoch = Instant::now();
    let (packets, mut arrived) = mpsc::channel(QUEUE);
    let mut thread = Thread {
        speaker: speaker(&config, number, restart),
        config,
        epoch,
        ports: BTreeMap::new(),
        desired: Desired::default(),
        routes,
        netlink,
        detection,
        protection,
        packets,
        transit: None,
        send_errors: BTreeMap::new(),
    };
    let mut check_due: Option<Instant> = None;
    loop {
        thread.act().await;
        let timer = thread.speaker.poll_timeout().map(|time| epoch + time);
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
            () = until(timer) => thread.speaker.handle_timeout(epoch.elapsed()),
            request = inbox.recv() => match request {
                Some(Request::Sync(desired)) => {
                    thread.sync(desired);
                    thread.redistribute().await;
                }
                Some(Request::CheckRoutes) => {
                    check_due.get_or_insert_with(|| Instant::now() + ROUTE_SETTLE);
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

/// The areas and what kind each is.
fn areas(speaker: &Speaker) -> BTreeMap<String, &'static str> {
    let kind = |config: AreaConfig| match (config.stub, config.no_summary) {
        (false, _) => "regular",
        (true, false) => "stub",
        (true, true) => "stub, no summaries",
    };
    let areas = speaker.areas().into_iter();
    areas
        .map(|view| (view.area.to_string(), kind(view.config)))
        .collect()
}

/// Whether the kernel forwards IPv6 packets in this network namespace.
fn forwards() -> bool {
    std::fs::read_to_string("/proc/sys/net/ipv6/conf/all/forwarding")
        .is_ok_and(|value| value.trim() != "0")
}

fn speaker(config: &Ospf, number: u32, restart: Option<GracefulRestart>) -> Speaker {
    let speaker_config = ospfv3::Config {
        min_ls_interval: LSA_THROTTLE,
        spf_delay: SPF_DELAY,
        authentication_epoch: number,
        graceful_helper: config.graceful_helper,
        graceful_strict: config.graceful_strict,
        ..ospfv3::Config::new(config.router_id)
    };
    let mut speaker = Speaker::new(speaker_config, Duration::ZERO);
    if let Some(restart) = restart {
        tracing::info!(
            seconds = restart.period,
            reason = %restart.reason,
            "an earlier daemon has left the data plane in place: the neighbours are asked to go on \
             as if nothing happened"
        );
        speaker.resume_graceful_restart(Duration::ZERO, restart);
    }
    speaker
}

impl Thread {
    fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// Sends what the speaker has to send and does what it says.
    async fn act(&mut self) {
        self.transmit();
        let (mut routes_changed, mut neighbors_changed) = (false, false);
        while let Some(event) = self.speaker.poll_event() {
            routes_changed |= matches!(event, Event::RoutesChanged);
            neighbors_changed |= matches!(event, Event::NeighborChanged { .. });
            if matches!(event, Event::RestartEnded { .. }) {
                // The calculation is due now, and finds what is still right of the routes.
                self.routes.keep_for(ROUTES_FOLLOW);
            }
            if let Event::InterfaceChanged { interface, to, .. } = event {
                self.office_changed(interface, to);
            }
            log(&event);
        }
        if routes_changed {
            let wanted = self.speaker.routes().iter().map(|(prefix, route)| {
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
        if neighbors_changed {
            self.follow();
        }
        let now = self.now();
        self.protection.follow(now, &self.speaker);
    }

    /// As Designated Router or its Backup we listen to AllDRouters too.
    fn office_changed(&self, interface: u32, state: InterfaceState) {
        let Some(port) = self.ports.get(&interface) else {
            return;
        };
        let holds_office = matches!(state, InterfaceState::Dr | InterfaceState::Backup);
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
            self.speaker.set_area(now, area, config);
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
                let externals =
                    redistribute::externals(Family::Ipv6, &routes, config, &self.desired);
                let now = self.now();
                self.speaker.set_externals(now, externals);
            }
            Err(error) => {
                tracing::error!(%error, "cannot tell which routes to redistribute; they stay as they were");
            }
        }
    }

    fn transmit(&mut self) {
        while let Some(transmit) = self.speaker.poll_transmit() {
            let Some(port) = self.ports.get(&transmit.interface) else {
                continue;
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
    }

    /// Watches the neighbours' paths.
    fn follow(&mut self) {
        let ports = &self.ports;
        self.detection.follow(&self.speaker.neighbors(), |index| {
            ports.get(&index).map(|port| &port.interface)
        });
    }

    /// BFD says that the path to a neighbour is gone (RFC 5882 4.1).
    fn path_failed(&mut self, change: &Change) {
        let now = self.now();
        let lost = self.speaker.neighbors().into_iter().find(|neighbor| {
            neighbor.interface == change.interface && neighbor.address == change.remote
        });
        let Some(neighbor) = lost else { return };
        let (interface, router_id) = (neighbor.interface, neighbor.router_id);
        if change.path_is_gone() {
            self.speaker.path_lost(now, interface, router_id);
        } else {
            self.speaker.neighbor_lost(now, interface, router_id);
        }
    }

    fn packet(&mut self, packet: &Packet) {
        let now = self.now();
        self.speaker.handle_packet(
            now,
            packet.interface,
            packet.received.source,
            packet.received.destination,
            &packet.bytes,
        );
    }

    /// Brings the speaker's interfaces and prefixes to what is wanted.
    fn sync(&mut self, desired: Desired) {
        let now = self.now();
        self.set_transit(forwards());
        // Somebody may have set the clock.
        self.speaker.set_wall_clock(now, epoch::wall_clock());
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
            self.speaker.remove_interface(now, index);
        }
        for interface in &desired.interfaces {
            match self.ports.get_mut(&interface.index) {
                None => self.open(interface),
                Some(port) if port.interface.keys != interface.keys => {
                    port.interface.keys.clone_from(&interface.keys);
                    tracing::info!(interface = interface.name, "OSPF has new keys here");
                    let config = self.interface_config(interface);
                    self.speaker.add_interface(now, config);
                }
                Some(_) => {}
            }
        }
        if (desired.home, &desired.services) != (self.desired.home, &self.desired.services) {
            let prefixes = desired.services.iter().map(|service| StubPrefix {
                metric: service.metric,
                ..StubPrefix::host(service.address)
            });
            let kind = InterfaceKind::Loopback;
            let loopback = InterfaceConfig {
                area: desired.home.unwrap_or(self.config.area),
                instance_id: self.config.instance_id,
                prefixes: prefixes.collect(),
                ..InterfaceConfig::new("lo", LOOPBACK, kind, Ipv6Addr::LOCALHOST)
            };
            self.speaker.add_interface(now, loopback);
        }
        for interface in &desired.interfaces {
            if let Some(port) = self.ports.get_mut(&interface.index) {
                port.interface.bfd = interface.bfd;
            }
        }
        self.follow();
        self.desired = desired;
    }

    /// Keeps others from routing through a node that forwards nothing.
    fn set_transit(&mut self, on: bool) {
        if self.transit != Some(on) {
            self.transit = Some(on);
            tracing::info!(
                forwarding = on,
                "sysctl net.ipv6.conf.all.forwarding: others {} route through this node",
                if on { "may" } else { "do not" }
            );
        }
        let now = self.now();
        self.speaker.set_transit(now, on);
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
        let config = self.interface_config(interface);
        self.speaker.add_interface(now, config);
    }

    fn interface_config(&self, interface: &Interface) -> InterfaceConfig {
        InterfaceConfig {
            area: interface.area,
            priority: interface.priority,
            authentication: interface.keys.clone(),
            mtu: interface.mtu,
            cost: interface.cost,
            hello_interval: self.config.hello_interval,
            dead_interval: self.config.dead_interval,
            retransmit_interval: self.config.retransmit_interval,
            instance_id: self.config.instance_id,
            prefixes: interface
                .prefixes
                .iter()
                .filter_map(|(address, length)| {
                    Some(StubPrefix {
                        prefix: Prefix::new(*address, *length)?,
                        metric: interface.cost,
                        local: false,
                    })
                })
                .collect(),
            ..InterfaceConfig::new(
                &interface.name,
                interface.index,
                match interface.network {
                    OspfNetwork::PointToPoint => InterfaceKind::PointToPoint,
                    OspfNetwork::Broadcast => InterfaceKind::Broadcast,
                },
                interface.link_local,
            )
        }
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

    fn show(&mut self, view: View) -> serde_json::Value {
        // Ages and timers as of this moment.
        let now = self.now();
        self.speaker.handle_timeout(now);
        let value = match view {
            View::Interfaces => serde_json::to_value(self.speaker.interfaces()),
            View::Neighbors => serde_json::to_value(self.speaker.neighbors()),
            View::Database => serde_json::to_value(self.speaker.database().lsas),
            View::Routes => serde_json::to_value(self.routes()),
            View::Summary => serde_json::to_value(self.summary()),
            View::Bfd => Ok(serde_json::Value::Null),
        };
        value.unwrap_or_else(|error| serde_json::json!({ "error": error.to_string() }))
    }

    /// The routes as OSPF computed them, with the names of the interfaces.
    fn routes(&self) -> Vec<serde_json::Value> {
        let name = |index: u32| {
            self.ports
                .get(&index)
                .map(|port| port.interface.name.as_str())
        };
        self.speaker
            .routes()
            .iter()
            .map(|(prefix, route)| {
                let nexthops: Vec<_> = route
                    .nexthops
                    .iter()
                    .map(|hop| json!({ "interface": name(hop.interface), "address": hop.address }))
                    .collect();
                json!({
                    "prefix": prefix.to_string(),
                    "metric": route.metric,
                    "kind": route.kind,
                    "nexthops": nexthops,
                    "routers": route.routers,
                })
            })
            .collect()
    }

    /// What status shows.
    fn summary(&self) -> serde_json::Value {
        let full = self
            .speaker
            .neighbors()
            .iter()
            .filter(|neighbor| neighbor.state == NeighborState::Full)
            .count();
        json!({
            "router_id": self.config.router_id,
            "areas": areas(&self.speaker),
            "area_border": self.speaker.is_area_border(),
            "redistributed": self.speaker.externals().len(),
            "interfaces": self.ports.len(),
            "neighbors_full": full,
            "routes": self.speaker.routes().len(),
            "detours": self.protection.count(),
            "graceful_restart": self.speaker.restart(),
            "counters": self.speaker.counters(),
            "send_errors": self.send_errors,
        })
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
        self.speaker.begin_graceful_restart(now, restart);
        let patience = sleep(LEAVE_PATIENCE);
        tokio::pin!(patience);
        let mut all = true;
        loop {
            self.transmit();
            while let Some(event) = self.speaker.poll_event() {
                log(&event);
            }
            if self.speaker.is_settled() {
                break;
            }
            let timer = self.speaker.poll_timeout().map(|time| self.epoch + time);
            tokio::select! {
                () = &mut patience => {
                    all = false;
                    break;
                }
                Some(packet) = arrived.recv() => self.packet(&packet),
                () = until(timer) => {
                    let now = self.now();
                    self.speaker.handle_timeout(now);
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
        self.speaker.shutdown(now);
        self.transmit();
        let grace = sleep(STOP_GRACE);
        tokio::pin!(grace);
        loop {
            let timer = self.speaker.poll_timeout().map(|time| self.epoch + time);
            tokio::select! {
                () = &mut grace => break,
                Some(packet) = arrived.recv() => self.packet(&packet),
                () = until(timer) => {
                    let now = self.now();
                    self.speaker.handle_timeout(now);
                }
            }
            self.transmit();
            while let Some(event) = self.speaker.poll_event() {
                log(&event);
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
fn log(event: &Event) {
    match event {
        Event::NeighborChanged {
            interface,
            router_id,
            from,
            to,
            reason,
        } => {
            tracing::info!(interface, %router_id, ?from, ?to, ?reason, "neighbour");
        }
        Event::InterfaceChanged {
            interface,
            from,
            to,
        } => {
            tracing::info!(interface, ?from, ?to, "OSPF interface");
        }
        Event::RoutesChanged => tracing::debug!("routes computed"),
        // Counted by the speaker; a peer could fill the log with these.
        Event::Refused {
            interface,
            source,
            reason,
            mismatch,
        } => {
            tracing::debug!(interface, %source, ?reason, ?mismatch, "OSPF packet refused");
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
        | Event::RestartEnded { .. } => graceful::log(event),
        Event::SelfOriginatedReceived { lsa, sequence } => {
            tracing::info!(
                ?lsa,
                sequence,
                "our own LSA came back from an earlier life, outpacing it"
            );
        }
    }
}
