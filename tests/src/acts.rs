//! What happens to the preferred server of a trio, and what each of it costs the client.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::{
    probe::Probe,
    trio::{SERVER_1, SERVER_2, Speaker, Trio},
};

/// Answers in a row by which a server is taken to serve for good.
const IN_A_ROW: usize = 20;
/// How long a change is watched after that: a late flap belongs to it.
const SETTLE: Duration = Duration::from_millis(300);
/// How long a change may take altogether before it counts as not happening.
const PATIENCE: Duration = Duration::from_secs(30);

/// An event and its price.
#[derive(Debug, Clone, Copy)]
pub struct Outage {
    /// When it began.
    pub from: Instant,
    /// When the first answer came from the server that serves after it.
    pub switched: Instant,
    /// The longest time the client went without an answer.
    pub gap: Duration,
}

impl Trio {
    /// Cuts the preferred server off without a sign; the other must take over.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub fn silent_cut(&self, probe: &Probe) -> Result<Outage> {
        change(probe, SERVER_2, || self.cloud.cut(&self.first.host))
    }

    /// Ends the cut; the preferred server must serve again.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub fn heal(&self, probe: &Probe) -> Result<Outage> {
        change(probe, SERVER_1, || self.cloud.heal(&self.first.host))
    }

    /// Stops whoever speaks OSPF on the preferred server in order; the other must take over.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub fn clean_stop(&self, probe: &Probe) -> Result<Outage> {
        change(probe, SERVER_2, || match self.first.speaker() {
            Speaker::L2ha => self.first.daemon.stop(),
            Speaker::Frr | Speaker::Bird => self.first.stop_peer(),
        })
    }

    /// Starts the stopped daemon again; the preferred server must serve again.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub fn come_back(&self, probe: &Probe) -> Result<Outage> {
        change(probe, SERVER_1, || self.first.daemon.run())
    }
}

/// Does something and waits until `server` serves.
fn change(probe: &Probe, server: &str, act: impl FnOnce() -> Result<()>) -> Result<Outage> {
    let from = Instant::now();
    act()?;
    let switched = probe.wait_served_by(server, from, IN_A_ROW, PATIENCE)?;
    std::thread::sleep(SETTLE);
    Ok(Outage {
        from,
        switched,
        gap: probe.longest_gap(from, Instant::now()),
    })
}
