//! Which neighbour on the underlay leads to each peer.
//!
//! The programs are told, so that no packet depends on a route that OSPF or somebody else has put before the
//! underlay's. The neighbour's MAC address is the kernel's to know.

use std::{collections::BTreeMap, net::IpAddr};

use config::{Config, Tunnel};
use linux::{Netlink, Way};

use crate::underlay::UnderlayLink;

/// The next hops to all peers, as they were last seen.
#[derive(Debug, Default)]
pub(crate) struct Ways {
    next_hops: BTreeMap<Way, Option<IpAddr>>,
    /// Why they could not be looked up the last time, to log it once.
    failed: Option<String>,
}

impl Ways {
    /// Looks up the ways to all peers. Where that fails, it is logged, and all is as it was.
    pub(crate) async fn look_up(
        &mut self,
        config: &Config,
        underlay: UnderlayLink,
        netlink: &Netlink,
    ) {
        let ways = all(config);
        let name = &config.underlay.interface;
        let found = netlink.next_hops((underlay.index, name), &ways).await;
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                let failed = error.to_string();
                if self.failed.as_ref() != Some(&failed) {
                    tracing::error!(
                        error = failed,
                        "cannot tell which way leads to the peers; as it was"
                    );
                }
                self.failed = Some(failed);
                return;
            }
        };
        self.failed = None;
        let now = ways.into_iter().zip(found).collect();
        let before = std::mem::replace(&mut self.next_hops, now);
        let changed = self.next_hops.iter().filter_map(|(way, now)| {
            let before = before.get(way);
            (before != Some(now)).then_some((way, now, before.is_some()))
        });
        let (mut moved, mut lost) = (Vec::new(), Vec::new());
        for (way, now, is_known) in changed {
            match now {
                Some(next_hop) if is_known => moved.push((way.remote, *next_hop)),
                Some(_) => {}
                None => lost.push(way.remote),
            }
        }
        if let Some((remote, next_hop)) = moved.first() {
            tracing::info!(
                interface = name, peers = moved.len(), %remote, %next_hop,
                "the way to peers leads to another neighbour now"
            );
        }
        if let Some(remote) = lost.first() {
            tracing::warn!(
                interface = name, peers = lost.len(), %remote,
                "no route to peers leads out of the underlay's interface: nothing is sent to them"
            );
        }
    }

    /// The neighbour that leads to a tunnel's peer.
    pub(crate) fn next_hop(&self, tunnel: &Tunnel) -> Option<IpAddr> {
        self.next_hops.get(&way(tunnel)).copied().flatten()
    }
}

/// The ways to all peers, each once.
pub(crate) fn all(config: &Config) -> Vec<Way> {
    let mut ways: Vec<Way> = config.tunnels.iter().map(way).collect();
    ways.sort_unstable();
    ways.dedup();
    ways
}

fn way(tunnel: &Tunnel) -> Way {
    Way {
        local: tunnel.local,
        remote: tunnel.remote,
    }
}
