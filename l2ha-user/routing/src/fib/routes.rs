//! The routes OSPF has computed, in the kernel.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
    time::Duration,
};

use anyhow::{Context as _, Result};
use control::KernelRoutes;
use linux::{Batch, Destination, Error, KernelRoute, Netlink, Nexthop, Order, Spread};
use tokio::time::Instant;

use crate::{
    fib::{
        nexthops::{Class, Objects, leftovers},
        said::Said,
    },
    kernel::Kernel,
};

/// Routes given to the kernel at a time, between looks at what else has happened: a few milliseconds.
const PORTION: usize = 512;
/// How flows are spread over several next hops, where the kernel can: they stay with theirs, and what has
/// been idle for this many seconds may move to a next hop that has too few.
const SPREAD: Spread = Spread::Resilient(120);

/// Removes our routes with this table and priority, and what they lead to.
pub async fn remove_routes(netlink: &Netlink, table: u32, priority: u32) -> Result<()> {
    let objects = Objects::new(table, priority, Spread::Hash);
    let mut found = netlink.ospf_routes(table).await?;
    found.retain(|route| route.priority == priority && may_be_ours(route, Some(&objects)));
    let orders: Vec<Order> = found.into_iter().map(Order::DropRoute).collect();
    let mut batch = Batch::open().context("cannot open rtnetlink")?;
    let mut refused = batch.carry_out(&orders)?;
    if let Ok(found) = batch.nexthops() {
        refused.extend(batch.carry_out(&leftovers(table, priority, &found))?);
    }
    if let Some((_, error)) = refused.into_iter().next() {
        return Err(error.into());
    }
    Ok(())
}

/// Keeps the kernel's routes equal to the wanted ones.
pub(crate) struct Routes {
    kernel: Box<dyn Kernel>,
    table: u32,
    priority: u32,
    wanted: BTreeMap<Destination, Vec<Nexthop>>,
    /// The addresses that what this host sends comes from, one of a family.
    sources: Vec<IpAddr>,
    /// Where traffic for a destination may go when the neighbour on an interface is gone.
    backups: BTreeMap<(Destination, u32), Nexthop>,
    installed: BTreeMap<Destination, KernelRoute>,
    /// Destinations of `ospf` routes with our priority that somebody else has written.
    taken: BTreeSet<Destination>,
    /// The MTU of IPv4 packets out of an interface, where the way behind it carries less than the interface takes.
    mtus: BTreeMap<u32, u32>,
    /// Interfaces that our routes may lead out of.
    interfaces: BTreeSet<u32>,
    /// Nothing if the kernel has no nexthop objects.
    objects: Option<Objects>,
    classes: BTreeMap<Destination, Class>,
    /// Classes whose objects the kernel has refused since the last change.
    refused: BTreeSet<Class>,
    /// Routes that may have to be written, and whether all that are not wanted shall go then.
    queue: VecDeque<Destination>,
    counts: KernelRoutes,
    /// Until then, routes an earlier daemon left are kept although they have not been computed yet:
    /// the adjacencies are still coming up, and traffic goes on meanwhile.
    keep_until: Option<Instant>,
    said: Said,
    /// What is in tables and has metrics of before, until all that is wanted is in its new place.
    left: Vec<Left>,
}

/// Routes in a place of before.
struct Left {
    table: u32,
    priority: u32,
    routes: Vec<KernelRoute>,
}

impl Routes {
    /// Reads what an earlier daemon left, which is kept for some time.
    pub(crate) async fn adopt(
        mut kernel: Box<dyn Kernel>,
        (table, priority): (u32, u32),
        keep: Duration,
    ) -> Result<Self> {
        let objects = match kernel.nexthops() {
            Ok(_) => Some(Objects::new(table, priority, spread(&mut *kernel))),
            Err(error) => {
                tracing::warn!(
                    %error,
                    "the kernel has no nexthop objects (Linux 5.3 has): routes are switched one by \
                     one after a failure"
                );
                None
            }
        };
        let mut routes = Self {
            kernel,
            table,
            priority,
            wanted: BTreeMap::new(),
            sources: Vec::new(),
            backups: BTreeMap::new(),
            installed: BTreeMap::new(),
            taken: BTreeSet::new(),
            mtus: BTreeMap::new(),
            interfaces: BTreeSet::new(),
            objects,
            classes: BTreeMap::new(),
            refused: BTreeSet::new(),
            queue: VecDeque::new(),
            counts: KernelRoutes::default(),
            keep_until: None,
            said: Said::default(),
            left: Vec::new(),
        };
        routes.read().await?;
        if routes.installed.is_empty() {
            routes.finish();
        } else {
            tracing::info!(
                routes = routes.installed.len(),
                "routes of an earlier daemon found, kept while the adjacencies come up"
            );
            routes.keep_until = Some(Instant::now() + keep);
        }
        Ok(routes)
    }

    /// The kernel that has them.
    pub(crate) fn kernel(&self) -> &dyn Kernel {
        &*self.kernel
    }

    /// When stale routes are to be removed, if any are kept.
    pub(crate) fn keep_until(&self) -> Option<Instant> {
        self.keep_until
    }

    /// Keeps the routes of an earlier daemon only so much longer.
    pub(crate) fn keep_for(&mut self, time: Duration) {
        if self.keep_until.is_some() {
            self.keep_until = Some(Instant::now() + time);
        }
    }

    /// Keeps what is installed for some time, although it is not wanted.
    pub(crate) fn keep(&mut self, time: Duration) {
        self.keep_until = Some(Instant::now() + time);
    }

    /// Goes on in another table or with another metric. What is wanted is there before what was there
    /// before goes, so that no packet is without a route.
    pub(crate) async fn move_to(&mut self, (table, priority): (u32, u32)) -> Result<()> {
        if (self.table, self.priority) == (table, priority) {
            return Ok(());
        }
        tracing::info!(table, metric = priority, "routes move");
        self.left.push(Left {
            table: self.table,
            priority: self.priority,
            routes: std::mem::take(&mut self.installed).into_values().collect(),
        });
        // Where they were once before, they are found again.
        self.left
            .retain(|left| (left.table, left.priority) != (table, priority));
        (self.table, self.priority) = (table, priority);
        if let Some(objects) = &mut self.objects {
            *objects = Objects::new(table, priority, objects.spread());
        }
        self.taken.clear();
        self.classes.clear();
        self.refused.clear();
        let read = self.read().await;
        self.apply().await;
        read
    }

    /// Whether routes are left in a place of before.
    pub(crate) fn is_moving(&self) -> bool {
        !self.left.is_empty()
    }

    /// Removes what is left in places of before.
    fn remove_left(&mut self) {
        for left in std::mem::take(&mut self.left) {
            let orders = left.routes.iter().cloned().map(Order::DropRoute).collect();
            let Some(refused) = self.give(orders) else {
                continue;
            };
            let failed: Vec<&Error> = refused.iter().flatten().collect();
            self.said
                .log_refused(&failed, "route of before not removed");
            let mut objects = self.objects.as_ref();
            // Numbers that both places share are swept with those of the new one.
            let alone = objects.take_if(|it| !it.has_numbers_of(left.table, left.priority));
            if alone.is_some()
                && let Ok(found) = self.kernel.nexthops()
            {
                self.carry_out(&leftovers(left.table, left.priority, &found));
            }
        }
    }

    /// Sets the wanted routes and begins to apply the difference.
    pub(crate) async fn set(&mut self, wanted: impl Iterator<Item = (Destination, Vec<Nexthop>)>) {
        self.wanted = wanted.collect();
        self.know_interfaces(
            self.wanted
                .values()
                .flatten()
                .map(|hop| hop.interface)
                .collect(),
        );
        self.refused.clear();
        self.apply().await;
    }

    /// Says which interfaces are OSPF's: a route without a nexthop object that an earlier daemon left leads out
    /// of these, and one that leads elsewhere is somebody else's.
    pub(crate) fn know_interfaces(&mut self, interfaces: Vec<u32>) {
        self.interfaces.extend(interfaces);
    }

    /// Sets the MTU, in bytes, of IPv4 packets out of the interfaces behind which less than they take is carried. IPv6
    /// has it from the interface ([`linux::sysctl::set_ipv6_mtu`]).
    pub(crate) async fn set_mtus(&mut self, mtus: BTreeMap<u32, u32>) {
        if self.mtus != mtus {
            self.mtus = mtus;
            self.apply().await;
        }
    }

    /// Sets the addresses of this host that its own packets shall come from, at most one of a family.
    pub(crate) async fn set_sources(&mut self, sources: &[IpAddr]) {
        if self.sources != sources {
            self.sources = sources.to_vec();
            self.apply().await;
        }
    }

    /// Sets where traffic may go when a neighbour is gone.
    pub(crate) async fn protect(&mut self, backups: BTreeMap<(Destination, u32), Nexthop>) {
        if self.backups != backups {
            self.backups = backups;
            self.apply().await;
        }
    }

    /// A neighbour is lost: what leads to it leads elsewhere at once, where the way is known. The
    /// calculation that follows decides.
    pub(crate) fn route_around(&mut self, is_dead: impl Fn(&Nexthop) -> bool) {
        let Some(objects) = &mut self.objects else {
            return;
        };
        let orders = objects.route_around(is_dead);
        if orders.is_empty() {
            return;
        }
        self.counts.switches += 1;
        self.counts.switched += orders.len() as u64;
        tracing::info!(
            objects = orders.len(),
            "routes switched before the calculation"
        );
        self.carry_out(&orders);
    }

    /// Compares the kernel with what is wanted and restores what others have changed.
    pub(crate) async fn check(&mut self) {
        if let Err(error) = self.read().await {
            tracing::error!(
                error = format!("{error:#}"),
                "cannot read the kernel's routes"
            );
        }
        self.apply().await;
    }

    /// Ends the time in which routes of an earlier daemon are kept.
    pub(crate) async fn stop_keeping(&mut self) {
        self.keep_until = None;
        self.apply().await;
    }

    /// Removes all of them.
    pub(crate) async fn remove_all(&mut self) {
        self.keep_until = None;
        self.wanted.clear();
        self.apply().await;
        while self.is_busy() {
            self.proceed().await;
        }
    }

    /// What there is, and what has been done.
    pub(crate) fn counts(&self) -> KernelRoutes {
        let (nexthops, groups) = self.objects.as_ref().map_or((0, 0), Objects::count);
        let spread = self.objects.as_ref().map(Objects::spread);
        KernelRoutes {
            nexthops,
            groups,
            resilient: matches!(spread, Some(Spread::Resilient(_))),
            ..self.counts
        }
    }

    async fn read(&mut self) -> Result<()> {
        if let Some(objects) = &mut self.objects {
            let found = self.kernel.nexthops();
            objects.read(&found.context("cannot list the nexthop objects")?);
        }
        let found = self.kernel.ospf_routes(self.table).await?;
        let found = found.into_iter().map(|route| (route.key(), route));
        let (ours, others): (BTreeMap<_, _>, BTreeMap<_, _>) = found
            .filter(|(_, route)| route.priority == self.priority)
            .partition(|(_, route)| may_be_ours(route, self.objects.as_ref()));
        self.installed = ours;
        let taken: BTreeSet<Destination> = others.into_keys().collect();
        if let Some((address, length)) = taken.difference(&self.taken).next() {
            tracing::warn!(
                destination = %format_args!("{address}/{length}"), routes = taken.len(), metric = self.priority,
                "another routing daemon on this host has `ospf` routes with our metric: they are left alone, and \
                 we install none to the same destinations. Give one of the two another metric (`route_metric`)"
            );
        }
        self.taken = taken;
        Ok(())
    }

    /// Plans what has to be done and begins with it.
    async fn apply(&mut self) {
        if !self.plan() {
            // What the kernel has may have changed: once more, with what it has now.
            if let Err(error) = self.read().await {
                tracing::error!(
                    error = format!("{error:#}"),
                    "cannot read the kernel's routes"
                );
            }
            if !self.plan() {
                self.give_up_objects();
            }
        }
        self.queue = self
            .wanted
            .keys()
            .filter(|key| !self.is_in_place(key) && !self.taken.contains(*key))
            .copied()
            .collect();
        self.proceed().await;
    }

    /// Whether routes are still to be written.
    pub(crate) fn is_busy(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Makes and turns the objects that the wanted routes need. Whether the kernel took all of it.
    fn plan(&mut self) -> bool {
        let Some(objects) = &mut self.objects else {
            return true;
        };
        objects.forget(|key| self.wanted.contains_key(key));
        self.classes = self
            .wanted
            .iter()
            .map(|(key, hops)| {
                let backup = match hops.as_slice() {
                    [only] => self.backups.get(&(*key, only.interface)).copied(),
                    _ => None,
                };
                (*key, objects.class(*key, hops, backup))
            })
            .filter(|(_, class)| !self.refused.contains(class))
            .collect();
        let installed = self
            .installed
            .iter()
            .filter(|(key, _)| self.keep_until.is_some() || self.wanted.contains_key(*key))
            .filter_map(|(key, route)| Some((*key, route.object?)))
            .collect();
        let orders = objects.plan(&self.classes, &installed);
        self.carry_out(&orders)
    }

    /// Whether all were carried out.
    fn carry_out(&mut self, orders: &[Order]) -> bool {
        if orders.is_empty() {
            return true;
        }
        let refused = match self.kernel.carry_out(orders) {
            Ok(refused) => refused,
            Err(error) => {
                tracing::error!(%error, "cannot tell the kernel about next hops");
                return false;
            }
        };
        self.counts.refused += refused.len() as u64;
        for (_, error) in &refused {
            tracing::debug!(%error, "refused");
        }
        refused.is_empty()
    }

    /// What the kernel still refuses after a second look goes without objects.
    fn give_up_objects(&mut self) {
        let Ok(found) = self.kernel.nexthops() else {
            return;
        };
        if let Some(objects) = &mut self.objects {
            objects.read(&found);
            let lost = self.classes.values().filter(|it| objects.of(it).is_none());
            self.refused.extend(lost.cloned());
        }
    }

    /// The route as it shall be in the kernel.
    fn target(&self, key: &Destination) -> Option<KernelRoute> {
        let nexthops = self.wanted.get(key)?.clone();
        let class = self.classes.get(key);
        let object = class.and_then(|class| self.objects.as_ref()?.of(class));
        let mtus = nexthops
            .iter()
            .filter_map(|hop| self.mtus.get(&hop.interface));
        let mtu = mtus.min().copied().filter(|_| key.0.is_ipv4());
        let mut sources = self.sources.iter();
        Some(KernelRoute {
            source: sources
                .find(|source| source.is_ipv4() == key.0.is_ipv4())
                .copied(),
            destination: key.0,
            prefix_len: key.1,
            table: self.table,
            priority: self.priority,
            object,
            mtu,
            nexthops,
        })
    }

    fn is_in_place(&self, key: &Destination) -> bool {
        let (Some(target), Some(installed)) = (self.target(key), self.installed.get(key)) else {
            return false;
        };
        match (target.object, installed.object) {
            (Some(object), Some(other)) => {
                object == other && target.mtu == installed.mtu && target.source == installed.source
            }
            (None, None) => target == *installed,
            _ => false,
        }
    }

    /// Writes a portion of the routes that are still to be written; new and changed ones first, then
    /// those to be removed go.
    pub(crate) async fn proceed(&mut self) {
        let portion = self.queue.len().min(PORTION);
        let keys: Vec<Destination> = self.queue.drain(..portion).collect();
        let keys = keys.into_iter().filter(|key| !self.is_in_place(key));
        let routes: Vec<KernelRoute> = keys.filter_map(|key| self.target(&key)).collect();
        self.write(routes);
        if self.queue.is_empty() && self.keep_until.is_none() {
            self.finish();
        }
    }

    fn write(&mut self, routes: Vec<KernelRoute>) {
        let orders = routes.iter().cloned().map(Order::PutRoute).collect();
        let Some(refused) = self.give(orders) else {
            return;
        };
        let (mut plain, mut written, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        let mut sourceless = Vec::new();
        for (route, refused) in routes.iter().zip(&refused) {
            let key = route.key();
            match refused {
                None => {
                    self.counts.written += 1;
                    self.installed.insert(key, route.clone());
                    written.push(route);
                }
                // Somebody has taken the address away: until it is back, the route is worth more than its source.
                Some(_) if route.source.is_some() => sourceless.push(KernelRoute {
                    source: None,
                    ..route.clone()
                }),
                Some(_) if route.object.is_some() => {
                    let without = KernelRoute {
                        object: None,
                        ..route.clone()
                    };
                    plain.push(without);
                }
                Some(error) => failed.push(error),
            }
        }
        self.said.log(&written, "route installed");
        self.said.log_refused(&failed, "route not installed");
        if !sourceless.is_empty() {
            self.write(sourceless);
        }
        if !plain.is_empty() {
            self.counts.plain += plain.len() as u64;
            tracing::warn!(
                routes = plain.len(),
                "the kernel refuses nexthop objects for these: they get routes of their own"
            );
            let refused = plain.iter().filter_map(|route| {
                let key = route.key();
                self.classes.get(&key).cloned()
            });
            self.refused.extend(refused);
            self.write(plain);
        }
    }

    /// Asks the kernel; gives for each whether and why it was refused. Nothing if that is not known.
    fn give(&mut self, orders: Vec<Order>) -> Option<Vec<Option<Error>>> {
        let mut answers: Vec<Option<Error>> = orders.iter().map(|_| None).collect();
        match self.kernel.carry_out(&orders) {
            Ok(refused) => {
                self.counts.refused += refused.len() as u64;
                for (place, error) in refused {
                    if let Some(answer) = answers.get_mut(place) {
                        *answer = Some(error);
                    }
                }
                Some(answers)
            }
            Err(error) => {
                tracing::error!(
                    %error,
                    "what the kernel says of its routes is lost; all are written again at the next change"
                );
                self.installed.clear();
                None
            }
        }
    }

    /// Whether a route leads out of interfaces of OSPF's only.
    fn leads_out_of_ours(&self, route: &KernelRoute) -> bool {
        let mut hops = route.nexthops.iter();
        hops.all(|hop| self.interfaces.contains(&hop.interface))
    }

    /// Removes what is not wanted.
    fn finish(&mut self) {
        self.remove_left();
        let stale: Vec<KernelRoute> = self
            .installed
            .iter()
            .filter(|(key, _)| !self.wanted.contains_key(*key))
            .map(|(_, route)| route.clone())
            .filter(|route| route.object.is_some() || self.leads_out_of_ours(route))
            .collect();
        let orders = stale.iter().cloned().map(Order::DropRoute).collect();
        let Some(refused) = self.give(orders) else {
            return;
        };
        let (mut removed, mut failed) = (Vec::new(), Vec::new());
        for (route, refused) in stale.iter().zip(&refused) {
            if let Some(error) = refused {
                failed.push(error);
            } else {
                self.installed.remove(&route.key());
                removed.push(route);
            }
        }
        self.said.log(&removed, "route removed");
        self.said.log_refused(&failed, "route not removed");
        let used = self.installed.values().filter_map(|it| it.object).collect();
        let wanted = self.classes.values().collect();
        let orders = self.objects.as_mut().map(|it| it.sweep(&wanted, &used));
        self.carry_out(&orders.unwrap_or_default());
    }
}

/// Whether we have written an `ospf` route, as far as can be told from the nexthop object it uses: ours have
/// numbers that others do not take. A route without one may be of a kernel that refused the object.
fn may_be_ours(route: &KernelRoute, objects: Option<&Objects>) -> bool {
    match (route.object, objects) {
        (Some(id), Some(objects)) => objects.is_ours(id),
        (Some(_), None) => false,
        (None, _) => true,
    }
}

/// How flows are spread, as far as this kernel can.
fn spread(kernel: &mut dyn Kernel) -> Spread {
    match kernel.resilience() {
        Ok(()) => SPREAD,
        Err(error) => {
            tracing::warn!(
                %error,
                "the kernel has no resilient nexthop groups (Linux 5.13 has): when a server comes or \
                 goes, flows to the others may move, too"
            );
            Spread::Hash
        }
    }
}

#[cfg(test)]
mod tests;
