//! One instance: its speaker, and how that is configured.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use config::{Ospf, OspfNetwork};
use ospfv3::{
    Family, GracefulRestart, InterfaceConfig, InterfaceKind, Speaker, SpfDelay, StubPrefix, Time,
};

use crate::{
    kernel::forwarding_sysctl,
    types::{Desired, Interface, LOOPBACK},
};

/// Least time between two originations of one LSA, in place of MinLSInterval (5 s, RFC 2328 B): a
/// second change, such as the adjacency that comes up again after a cut, shall not wait that long.
/// It must stay above MinLSArrival (1 s), below which neighbours drop what they receive.
const LSA_THROTTLE: Duration = Duration::from_millis(1200);
/// Delays before routes are computed. A neighbour moves its traffic here 0.3 s after it has heard of
/// an adjacency, so even in a storm of changes the way back must be computed before. The second calculation follows
/// soon: after a death, what the other neighbours of the dead say comes within milliseconds of what we see ourselves.
const SPF_DELAY: SpfDelay = SpfDelay {
    initial: Duration::ZERO,
    hold: Duration::from_millis(25),
    max: Duration::from_millis(200),
};

/// A speaker and the family it routes.
pub(crate) struct Instance {
    pub(crate) family: Family,
    /// Instance ID.
    pub(crate) id: u8,
    pub(crate) speaker: Speaker,
    /// Whether this node forwards packets of the family, as it was last seen.
    transit: Option<bool>,
    /// Whether a graceful restart of ours goes on.
    pub(super) restarting: bool,
}

impl Instance {
    pub(super) fn new(
        config: &Ospf,
        epoch: u32,
        (family, id): (Family, u8),
        now: Time,
        restart: Option<GracefulRestart>,
    ) -> Self {
        let speaker_config = ospfv3::Config {
            family,
            announce_families: true,
            min_ls_interval: LSA_THROTTLE,
            spf_delay: SPF_DELAY,
            authentication_epoch: epoch,
            graceful_helper: config.graceful_helper,
            graceful_strict: config.graceful_strict,
            ..ospfv3::Config::new(config.router_id)
        };
        let mut speaker = Speaker::new(speaker_config, now);
        if let Some(restart) = restart {
            speaker.resume_graceful_restart(now, restart);
        }
        Self {
            family,
            id,
            speaker,
            transit: None,
            restarting: restart.is_some(),
        }
    }

    /// The anycast addresses, on an interface that has no packets.
    pub(super) fn loopback(&self, config: &Ospf, desired: &Desired) -> InterfaceConfig {
        let mine = desired.services.iter();
        let mine = mine.filter(|service| Family::of(service.address) == self.family);
        let prefixes = mine.map(|service| StubPrefix {
            metric: service.metric,
            ..StubPrefix::host(service.address)
        });
        InterfaceConfig {
            area: desired.home.unwrap_or(config.area),
            instance_id: self.id,
            prefixes: prefixes.collect(),
            ..InterfaceConfig::new("lo", LOOPBACK, InterfaceKind::Loopback, Ipv6Addr::LOCALHOST)
        }
    }

    pub(super) fn interface(&self, config: &Ospf, interface: &Interface) -> InterfaceConfig {
        let ipv4 = |(address, _): &(IpAddr, u8)| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        };
        let mine = interface.prefixes.iter();
        let mine = mine.filter(|(address, _)| Family::of(*address) == self.family);
        InterfaceConfig {
            area: interface.area,
            priority: interface.priority,
            authentication: interface.keys.clone(),
            rotation: interface.rotation.clone(),
            edge: interface.edge.clone(),
            ipv4: interface.prefixes.iter().find_map(ipv4),
            mtu: interface.mtu,
            cost: interface.cost,
            hello_interval: config.hello_interval,
            dead_interval: config.dead_interval,
            retransmit_interval: config.retransmit_interval,
            instance_id: self.id,
            prefixes: mine
                .filter_map(|(address, length)| {
                    Some(StubPrefix {
                        prefix: ospfv3::Prefix::new(*address, *length)?,
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

    /// Keeps others from routing through a node that forwards nothing.
    pub(super) fn set_transit(&mut self, now: Time, on: bool) {
        if self.transit != Some(on) {
            self.transit = Some(on);
            tracing::info!(
                forwarding = on,
                "sysctl {}: others {} route {} through this node",
                forwarding_sysctl(self.family),
                if on { "may" } else { "do not" },
                self.family,
            );
        }
        self.speaker.set_transit(now, on);
    }
}
