//! The end of the event loop: a stop, or the begin of a graceful restart.

use std::time::Duration;

use super::EventLoop;
use crate::{graceful, types::STOP_GRACE};

/// How long neighbours have to acknowledge that this node restarts: more than one retransmission
/// would help little, and the restart is wanted now.
const RESTART_PATIENCE: Duration = Duration::from_secs(2);

impl EventLoop {
    /// The end before a restart: the neighbours are told, and everything stays in its place. BFD
    /// says nothing: the kernel goes on answering for the path.
    pub(super) async fn end_for_restart(&mut self) {
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
        let acknowledged = |this: &Self| this.instances.is_acknowledged();
        let all = self.go_on(RESTART_PATIENCE, acknowledged).await;
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
    pub(super) async fn stop(&mut self) {
        let now = self.now();
        // OSPF tells the neighbours of the stop; to BFD it is administrative.
        self.detection.stop();
        self.protection.end();
        self.instances.each(|speaker| speaker.shutdown(now));
        self.go_on(STOP_GRACE, |_| false).await;
        self.routes.remove_all().await;
    }
}
