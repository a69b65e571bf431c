//! The routes OSPF has computed, in the kernel.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use crate::netlink::{Error, KernelRoute, Netlink};

/// Destination and prefix length in bits.
pub(super) type Key = (IpAddr, u8);

/// Removes every `ospf` route with this table and priority.
///
/// # Errors
///
/// When the kernel refuses.
pub(crate) async fn remove_routes(
    netlink: &Netlink,
    table: u32,
    priority: u32,
) -> Result<(), Error> {
    for route in netlink.ospf_routes(table).await? {
        if route.priority == priority {
            netlink.delete_route(&route).await?;
        }
    }
    Ok(())
}

/// Keeps the kernel's routes equal to the wanted ones.
pub(super) struct Routes {
    netlink: Netlink,
    table: u32,
    priority: u32,
    wanted: BTreeMap<Key, KernelRoute>,
    installed: BTreeMap<Key, KernelRoute>,
    /// Until then, routes an earlier daemon left are kept although nobody has computed them yet:
    /// the adjacencies are still coming up, and traffic goes on meanwhile.
    keep_until: Option<Instant>,
}

impl Routes {
    /// Reads what an earlier daemon left.
    pub(super) async fn adopt(
        netlink: Netlink,
        table: u32,
        priority: u32,
        keep: Duration,
    ) -> Result<Self, Error> {
        let mut routes = Self {
            netlink,
            table,
            priority,
            wanted: BTreeMap::new(),
            installed: BTreeMap::new(),
            keep_until: None,
        };
        routes.read().await?;
        if !routes.installed.is_empty() {
            tracing::info!(
                routes = routes.installed.len(),
                "routes of an earlier daemon found, kept while the adjacencies come up"
            );
            routes.keep_until = Some(Instant::now() + keep);
        }
        Ok(routes)
    }

    /// When stale routes are to be removed, if any are kept.
    pub(super) fn keep_until(&self) -> Option<Instant> {
        self.keep_until
    }

    /// Keeps the routes of an earlier daemon only so much longer.
    pub(super) fn keep_for(&mut self, time: Duration) {
        if self.keep_until.is_some() {
            self.keep_until = Some(Instant::now() + time);
        }
    }

    /// Sets the wanted routes and applies the difference.
    pub(super) async fn set(
        &mut self,
        wanted: impl Iterator<Item = (Key, Vec<crate::netlink::Nexthop>)>,
    ) {
        self.wanted = wanted
            .map(|((destination, prefix_len), nexthops)| {
                let route = KernelRoute {
                    destination,
                    prefix_len,
                    table: self.table,
                    priority: self.priority,
                    nexthops,
                };
                ((destination, prefix_len), route)
            })
            .collect();
        self.apply().await;
    }

    /// Compares the kernel with what is wanted and puts right what somebody else has changed.
    pub(super) async fn check(&mut self) {
        if let Err(error) = self.read().await {
            tracing::error!(%error, "cannot read the kernel's routes");
        }
        self.apply().await;
    }

    /// Ends the time in which routes of an earlier daemon are kept.
    pub(super) async fn stop_keeping(&mut self) {
        self.keep_until = None;
        self.apply().await;
    }

    /// Removes all of them.
    pub(super) async fn remove_all(&mut self) {
        self.keep_until = None;
        self.wanted.clear();
        self.apply().await;
    }

    async fn read(&mut self) -> Result<(), Error> {
        let found = self.netlink.ospf_routes(self.table).await?;
        self.installed = found
            .into_iter()
            .filter(|route| route.priority == self.priority)
            .map(|route| ((route.destination, route.prefix_len), route))
            .collect();
        Ok(())
    }

    /// New and changed routes first, then those to be removed.
    async fn apply(&mut self) {
        for (key, route) in &self.wanted {
            if self.installed.get(key) == Some(route) {
                continue;
            }
            match self.netlink.replace_route(route).await {
                Ok(()) => {
                    tracing::info!(
                        destination = %format_args!("{}/{}", key.0, key.1),
                        nexthops = ?route.nexthops,
                        "route installed"
                    );
                    self.installed.insert(*key, route.clone());
                }
                Err(error) => {
                    tracing::error!(%error, "route not installed; tried again at the next change")
                }
            }
        }
        if self.keep_until.is_some() {
            return;
        }
        let stale: Vec<Key> = self
            .installed
            .keys()
            .filter(|key| !self.wanted.contains_key(key))
            .copied()
            .collect();
        for key in stale {
            let Some(route) = self.installed.get(&key) else {
                continue;
            };
            match self.netlink.delete_route(route).await {
                Ok(()) => {
                    tracing::info!(destination = %format_args!("{}/{}", key.0, key.1), "route removed");
                    self.installed.remove(&key);
                }
                Err(error) => {
                    tracing::error!(%error, "route not removed; tried again at the next change")
                }
            }
        }
    }
}
