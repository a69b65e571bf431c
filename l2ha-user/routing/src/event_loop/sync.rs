//! Brings the speakers to what is wanted: interfaces, areas, services, IPv4, external routes.

use std::collections::BTreeMap;

use config::OspfArea;
use ospfv3::AreaConfig;

use super::{EventLoop, OpenInterface};
use crate::{
    redistribute, restart_state,
    types::{Desired, Interface},
};

impl EventLoop {
    /// Brings the speakers' interfaces and prefixes to what is wanted.
    pub(super) async fn sync(&mut self, desired: Desired) {
        self.set_ipv4(desired.ipv4).await;
        let now = self.now();
        let kernel = self.routes.kernel();
        self.instances
            .set_transit(now, |family| kernel.forwards(family));
        // The clock may have been set.
        self.instances
            .each(|speaker| speaker.set_wall_clock(now, restart_state::wall_clock()));
        self.set_areas(&desired.areas);
        let interfaces = desired.interfaces.iter();
        let wanted: BTreeMap<u32, &Interface> = interfaces.map(|it| (it.index, it)).collect();
        let stays = |open: &OpenInterface| {
            let new = wanted.get(&open.interface.index);
            new.is_some_and(|new| new.is_like(&open.interface))
        };
        let open = self.interfaces.iter();
        let stale = open.filter(|(_, open)| !stays(open));
        let stale: Vec<u32> = stale.map(|(index, _)| *index).collect();
        for index in stale {
            self.interfaces.remove(&index);
            self.refusals.forget(index);
            self.flaps.forget(index);
            self.instances
                .each(|speaker| speaker.remove_interface(now, index));
        }
        for interface in &desired.interfaces {
            let Some(open) = self.interfaces.get_mut(&interface.index) else {
                self.open(interface);
                continue;
            };
            let old = std::mem::replace(&mut open.interface, interface.clone());
            if old.keys != interface.keys {
                tracing::info!(interface = interface.name, "OSPF has new keys here");
            }
            if !old.is_same_to_ospf(interface) {
                self.instances.add_interface(now, interface);
            }
        }
        if (desired.home, &desired.services) != (self.desired.home, &self.desired.services) {
            self.instances.set_services(now, &desired);
        }
        let indexes = desired.interfaces.iter().map(|it| it.index);
        self.routes.know_interfaces(indexes.collect());
        self.routes.set_sources(&desired.sources).await;
        self.follow();
        let narrow = desired.interfaces.iter().filter(|it| it.carries < it.mtu);
        let mtus = narrow.map(|it| (it.index, u32::from(it.carries)));
        self.routes.set_mtus(mtus.collect()).await;
        self.desired = desired;
    }

    /// Opens an interface; when that fails the next sync tries again.
    fn open(&mut self, interface: &Interface) {
        let port = match self.wire.open(interface, self.packets.clone()) {
            Ok(port) => port,
            Err(error) => {
                tracing::error!(interface = interface.name, %error, "cannot open an OSPF socket");
                return;
            }
        };
        let open = OpenInterface {
            interface: interface.clone(),
            port,
        };
        self.interfaces.insert(interface.index, open);
        let now = self.now();
        self.instances.add_interface(now, interface);
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

    /// Starts or ends IPv4. The interfaces that are open already get it too.
    async fn set_ipv4(&mut self, wanted: Option<u8>) {
        let now = self.now();
        let (changed, last_packets) = self.instances.set_ipv4(now, wanted);
        if !changed {
            return;
        }
        for transmit in &last_packets {
            self.send(transmit);
        }
        self.equip();
        self.set_routes().await;
    }

    /// Gives new speakers what the others have.
    pub(super) fn equip(&mut self) {
        let now = self.now();
        self.instances
            .each(|speaker| speaker.set_wall_clock(now, restart_state::wall_clock()));
        for area in &self.desired.areas {
            self.instances
                .each(|speaker| speaker.set_area(now, area.area, area.config));
        }
        for open in self.interfaces.values() {
            self.instances.add_interface(now, &open.interface);
        }
        self.instances.set_services(now, &self.desired);
    }

    /// Advertises what of the kernel's routes is to be.
    pub(super) async fn redistribute(&mut self) {
        let config = &self.config.redistribute;
        if !config.connected && !config.statics {
            let now = self.now();
            self.instances.set_externals(now, |_| Vec::new());
            return;
        }
        match self
            .routes
            .kernel()
            .foreign_routes(redistribute::TABLE)
            .await
        {
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
}
