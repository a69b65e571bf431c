//! Another `[ospf]`: what can be changed under live adjacencies is.

use std::time::Duration;

use config::Ospf;

use super::{EventLoop, KEEP_EXTRA};
use crate::twins::Twins;

/// What of the configuration each interface has.
fn of_interfaces(config: &Ospf) -> (u16, u16, u16) {
    let Ospf {
        hello_interval,
        dead_interval,
        retransmit_interval,
        ..
    } = config;
    (*hello_interval, *dead_interval, *retransmit_interval)
}

impl EventLoop {
    /// Goes on with another configuration. Another Router ID or Instance ID makes another router.
    pub(super) async fn configure(&mut self, config: Ospf) {
        let before = std::mem::replace(&mut self.config, config);
        let now = self.now();
        if let Some(last_packets) = self.instances.configure(now, &self.config) {
            for transmit in &last_packets {
                self.send(transmit);
            }
            self.begin_anew();
        } else if of_interfaces(&before) != of_interfaces(&self.config) {
            for open in self.interfaces.values() {
                self.instances.add_interface(now, &open.interface);
            }
        }
        let place = (self.config.table, self.config.route_metric);
        if let Err(error) = self.routes.move_to(place).await {
            tracing::error!(
                error = format!("{error:#}"),
                "cannot see which routes there are in the new place; looked at again soon"
            );
        }
        self.look_around().await;
        self.redistribute().await;
    }

    /// Goes on as another router. What it has installed stays until its adjacencies are up again.
    fn begin_anew(&mut self) {
        let dead = Duration::from_secs(self.config.dead_interval.into());
        self.routes.keep(dead + KEEP_EXTRA);
        self.twins = Twins::default();
        self.equip();
        self.follow();
        for index in self.interfaces.keys() {
            self.role_changed(*index);
        }
    }

    /// Answers who has configured this, once all routes are in their place.
    pub(super) fn tell_configured(&mut self) {
        if !self.routes.is_busy() && !self.routes.is_moving() {
            for done in self.configured.drain(..) {
                let _ = done.send(());
            }
        }
    }
}
