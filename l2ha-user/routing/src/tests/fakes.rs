//! The three ends of a node, and a history of what the node does with them.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    io,
    net::Ipv6Addr,
    rc::Rc,
    sync::{Arc, Mutex},
    time::Duration,
};

use control::BfdStatus;
use linux::{
    Destination, Error, ForeignRoute, Found, HostRoutes, KernelRoute, Leads, Nexthop,
    NexthopObject, Order,
};
use ospfv3::{Family, Transmit};
use tokio::{
    sync::{mpsc, oneshot},
    task::spawn_local,
    time::{Instant, sleep_until},
};

use crate::{
    bfd::{Peer, Sessions},
    detours::{Detour, DetourTable},
    kernel::{Answer, Kernel},
    types::Interface,
    wire::{Packet, Port, Wire},
};

/// How long a packet is under way.
const LATENCY: Duration = Duration::from_millis(1);

/// What a node has done, in order: routes, nexthop objects, BFD's sessions, detours, interfaces.
#[derive(Clone, Default)]
pub(super) struct History(Arc<Mutex<Vec<(Instant, String)>>>);

impl History {
    pub(super) fn note(&self, what: String) {
        self.0.lock().unwrap().push((Instant::now(), what));
    }

    /// Everything since it was taken last.
    pub(super) fn take(&self) -> Vec<(Instant, String)> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// A node and the index of an interface there.
pub(super) type End = (u32, u32);

/// Links between nodes.
#[derive(Default)]
pub(super) struct Links {
    /// Which interface leads to which.
    far: BTreeMap<End, End>,
    /// Where what comes in goes, of the interfaces that are open.
    open: BTreeMap<End, mpsc::Sender<Packet>>,
    /// Ends whose link is cut.
    cut: Vec<End>,
}

impl Links {
    pub(super) fn join(&mut self, one: End, other: End) {
        self.far.insert(one, other);
        self.far.insert(other, one);
    }

    pub(super) fn set_cut(&mut self, end: End, cut: bool) {
        self.cut.retain(|it| *it != end);
        if cut {
            self.cut.push(end);
        }
    }

    /// Where a packet that is sent at an end arrives.
    fn arrival(&self, from: End) -> Option<(End, mpsc::Sender<Packet>)> {
        let far = *self.far.get(&from)?;
        if self.cut.contains(&from) || self.cut.contains(&far) {
            return None;
        }
        Some((far, self.open.get(&far)?.clone()))
    }
}

/// The wire of one node.
pub(super) struct FakeWire {
    pub(super) node: u32,
    pub(super) links: Rc<RefCell<Links>>,
    pub(super) history: History,
}

struct FakePort {
    end: End,
    name: String,
    links: Rc<RefCell<Links>>,
    history: History,
    under_way: mpsc::UnboundedSender<(Instant, Transmit)>,
}

impl Wire for FakeWire {
    fn open(
        &mut self,
        interface: &Interface,
        packets: mpsc::Sender<Packet>,
    ) -> io::Result<Box<dyn Port>> {
        let end = (self.node, interface.index);
        self.links.borrow_mut().open.insert(end, packets);
        self.history.note(format!("open {}", interface.name));
        let (under_way, mut sent) = mpsc::unbounded_channel::<(Instant, Transmit)>();
        let links = Rc::clone(&self.links);
        spawn_local(async move {
            while let Some((arrives, packet)) = sent.recv().await {
                sleep_until(arrives).await;
                let arrival = links.borrow().arrival(end);
                if let Some(((_, interface), packets)) = arrival {
                    let packet = Packet {
                        interface,
                        source: packet.source,
                        destination: packet.destination,
                        bytes: packet.bytes,
                    };
                    let _ = packets.send(packet).await;
                }
            }
        });
        Ok(Box::new(FakePort {
            end,
            name: interface.name.clone(),
            links: Rc::clone(&self.links),
            history: self.history.clone(),
            under_way,
        }))
    }
}

impl Port for FakePort {
    fn send(&self, packet: &Transmit) -> io::Result<()> {
        let arrives = Instant::now() + LATENCY;
        let _ = self.under_way.send((arrives, packet.clone()));
        Ok(())
    }

    fn set_designated(&self, _: bool) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for FakePort {
    fn drop(&mut self) {
        self.links.borrow_mut().open.remove(&self.end);
        self.history.note(format!("close {}", self.name));
    }
}

/// What the kernel of a node has. It is stricter than a kernel: what one would refuse, or do more than was
/// asked for, fails the test.
#[derive(Default)]
pub(super) struct Tables {
    objects: BTreeMap<u32, Leads>,
    /// By table, destination and metric, as the kernel tells them apart.
    routes: BTreeMap<(u32, Destination, u32), KernelRoute>,
    pub(super) host: HostRoutes,
    /// Routes of others.
    pub(super) foreign: Vec<ForeignRoute>,
    /// Whether packets of others are dropped, and not forwarded.
    is_host: bool,
}

impl Tables {
    pub(super) fn set_forwarding(&mut self, on: bool) {
        self.is_host = !on;
    }

    /// The interfaces that routes to a destination lead to.
    pub(super) fn leads(&self, destination: &Destination) -> Vec<u32> {
        // The one with the lowest metric leads.
        let mut routes = self.routes.values();
        let Some(route) = routes.find(|it| it.key() == *destination) else {
            return Vec::new();
        };
        let hops = self.nexthops(route);
        hops.iter().map(|hop| hop.interface).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.routes.is_empty() && self.objects.is_empty()
    }

    /// The tables and metrics that there are routes with.
    pub(super) fn places(&self) -> BTreeSet<(u32, u32)> {
        let keys = self.routes.keys();
        keys.map(|(table, _, metric)| (*table, *metric)).collect()
    }

    /// Somebody else removes a route.
    pub(super) fn lose(&mut self, destination: &Destination) {
        let before = self.routes.len();
        self.routes.retain(|(_, key, _), _| key != destination);
        assert!(self.routes.len() < before);
    }

    fn nexthops(&self, route: &KernelRoute) -> Vec<Nexthop> {
        match route.object {
            Some(object) => self.hops(&self.objects[&object]),
            None => route.nexthops.clone(),
        }
    }

    fn hops(&self, leads: &Leads) -> Vec<Nexthop> {
        match leads {
            Leads::To(hop, _) => vec![*hop],
            Leads::Among(members, _) => {
                let members = members.iter().map(|id| &self.objects[id]);
                members.flat_map(|leads| self.hops(leads)).collect()
            }
        }
    }

    /// In words: "object to 2", "group to 2 3".
    fn describe(&self, object: &NexthopObject) -> String {
        let mut text = match object.leads {
            Leads::To(..) => "object to".to_owned(),
            Leads::Among(..) => "group to".to_owned(),
        };
        for hop in self.hops(&object.leads) {
            let _ = write!(text, " {}", hop.interface);
        }
        text
    }

    fn carry_out(&mut self, order: &Order) -> String {
        match order {
            Order::AddNexthop(object) => {
                let before = self.objects.insert(object.id, object.leads.clone());
                assert_eq!(before, None, "{order:?}");
                format!("add {}", self.describe(object))
            }
            Order::TurnNexthop(object) => {
                let before = self.objects.insert(object.id, object.leads.clone());
                let same_kind = match (before, &object.leads) {
                    (Some(Leads::To(..)), Leads::To(..)) => true,
                    (Some(Leads::Among(_, was)), Leads::Among(_, is)) => was == *is,
                    _ => false,
                };
                assert!(same_kind, "{order:?}");
                format!("turn {}", self.describe(object))
            }
            Order::DropNexthop(id) => {
                let used = self.routes.values().any(|route| route.object == Some(*id));
                assert!(!used, "routes go with {order:?}");
                let grouped = self.objects.values().any(|leads| match leads {
                    Leads::Among(members, _) => members.contains(id),
                    Leads::To(..) => false,
                });
                assert!(!grouped, "a group loses its member by {order:?}");
                assert!(self.objects.remove(id).is_some(), "{order:?}");
                "drop object".to_owned()
            }
            Order::PutRoute(route) => {
                let there = route.object.is_none_or(|id| self.objects.contains_key(&id));
                assert!(there, "no such object: {order:?}");
                self.routes.insert(place(route), route.clone());
                format!("put {}", route.destination)
            }
            Order::DropRoute(route) => {
                self.routes.remove(&place(route));
                format!("remove {}", route.destination)
            }
        }
    }
}

/// Where the kernel keeps a route.
fn place(route: &KernelRoute) -> (u32, Destination, u32) {
    (route.table, route.key(), route.priority)
}

/// The kernel of one node; the tables outlive the node's daemon.
pub(super) struct FakeKernel {
    pub(super) tables: Rc<RefCell<Tables>>,
    pub(super) history: History,
}

impl Kernel for FakeKernel {
    fn ospf_routes(&self, table: u32) -> Answer<'_, Vec<KernelRoute>> {
        let tables = self.tables.borrow();
        let routes = tables.routes.values().filter(|route| route.table == table);
        let routes = routes.map(|route| KernelRoute {
            nexthops: tables.nexthops(route),
            ..route.clone()
        });
        Box::pin(std::future::ready(Ok(routes.collect())))
    }

    fn foreign_routes(&self, _: u32) -> Answer<'_, Vec<ForeignRoute>> {
        let foreign = self.tables.borrow().foreign.clone();
        Box::pin(std::future::ready(Ok(foreign)))
    }

    fn host_routes(&self, _: u32) -> Answer<'_, HostRoutes> {
        let host = self.tables.borrow().host.clone();
        Box::pin(std::future::ready(Ok(host)))
    }

    fn nexthops(&mut self) -> io::Result<Vec<Found>> {
        let tables = self.tables.borrow();
        let objects = tables.objects.iter().map(|(id, leads)| {
            Found::Ours(NexthopObject {
                id: *id,
                leads: leads.clone(),
            })
        });
        Ok(objects.collect())
    }

    fn resilience(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn carry_out(&mut self, orders: &[Order]) -> io::Result<Vec<(usize, Error)>> {
        for order in orders {
            let done = self.tables.borrow_mut().carry_out(order);
            self.history.note(done);
        }
        Ok(Vec::new())
    }

    fn forwards(&self, _: Family) -> bool {
        !self.tables.borrow().is_host
    }
}

/// BFD of one node. What it finds out is said by the test.
pub(super) struct FakeSessions {
    pub(super) history: History,
    /// Which neighbours are watched.
    pub(super) watched: Rc<RefCell<Vec<(u32, Ipv6Addr)>>>,
    /// Which key signs, by interface.
    pub(super) signing: Rc<RefCell<BTreeMap<u32, u8>>>,
    pub(super) abandoned: bool,
}

impl Sessions for FakeSessions {
    fn watch(&self, peers: Vec<Peer>) {
        let mut text = "watch".to_owned();
        for peer in &peers {
            let _ = write!(text, " {}", peer.interface);
        }
        self.history.note(text);
        let signing = peers.iter();
        let signing = signing.filter_map(|peer| Some((peer.interface, peer.keys.first()?.id)));
        *self.signing.borrow_mut() = signing.collect();
        let peers = peers.iter().map(|peer| (peer.interface, peer.remote));
        *self.watched.borrow_mut() = peers.collect();
    }

    fn show(&self) -> oneshot::Receiver<BfdStatus> {
        oneshot::channel().1
    }

    fn abandon(mut self: Box<Self>) {
        self.abandoned = true;
        self.history.note("abandon BFD".to_owned());
    }
}

impl Drop for FakeSessions {
    fn drop(&mut self) {
        self.watched.borrow_mut().clear();
        if !self.abandoned {
            self.history.note("end BFD".to_owned());
        }
    }
}

/// The data plane's detours of one node.
pub(super) struct FakeDetours {
    history: History,
    detours: Vec<Detour>,
}

impl FakeDetours {
    pub(super) fn new(history: History) -> Self {
        Self {
            history,
            detours: Vec::new(),
        }
    }
}

impl DetourTable for FakeDetours {
    fn watch(&mut self, silences: &BTreeMap<u32, Duration>) -> anyhow::Result<()> {
        self.history.note(format!("silences {silences:?}"));
        Ok(())
    }

    fn set(&mut self, wanted: Vec<Detour>) -> anyhow::Result<()> {
        if self.detours == wanted {
            return Ok(());
        }
        let mut text = "detours".to_owned();
        for detour in &wanted {
            let Detour {
                destination,
                interface,
                alternate_interface,
                ..
            } = detour;
            let _ = write!(text, " {destination}:{interface}>{alternate_interface}");
        }
        self.history.note(text);
        self.detours = wanted;
        Ok(())
    }

    fn count(&self) -> usize {
        self.detours.len()
    }
}
