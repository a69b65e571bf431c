//! What happens to the preferred server of a trio, and what each of it costs the client.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::{
    lab::PATIENCE,
    probe::Probe,
    trio::{SERVER_1, SERVER_2, Speaker, Trio},
    web::WebServer,
};

/// Answers in a row by which a server is taken to serve for good.
const IN_A_ROW: usize = 20;
/// How long a change is watched after that: a late flap belongs to it.
const SETTLE: Duration = Duration::from_millis(300);

/// An event and its price.
#[derive(Debug, Clone, Copy)]
pub struct Outage {
    /// When it began.
    pub from: Instant,
    /// When it had been watched for long enough.
    pub to: Instant,
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
    #[track_caller]
    pub fn silent_cut(&self, probe: &Probe) -> Result<Outage> {
        change(probe, SERVER_2, || self.cloud.cut(&self.first.host))
    }

    /// Ends the cut; the preferred server must serve again.
    ///
    /// # Errors
    ///
    /// When it does not.
    #[track_caller]
    pub fn heal(&self, probe: &Probe) -> Result<Outage> {
        change(probe, SERVER_1, || self.cloud.heal(&self.first.host))
    }

    /// Kills the service's process on the preferred server; the other must take over.
    ///
    /// # Errors
    ///
    /// When it does not.
    #[track_caller]
    pub fn service_killed(&self, probe: &Probe) -> Result<Outage> {
        let service = self.first_service()?;
        change(probe, SERVER_2, || {
            service.kill();
            Ok(())
        })
    }

    /// Starts the service's process again; the preferred server must serve again.
    ///
    /// # Errors
    ///
    /// When it does not.
    #[track_caller]
    pub fn service_back(&self, probe: &Probe) -> Result<Outage> {
        let service = self.first_service()?;
        change(probe, SERVER_1, || service.run())
    }

    /// The process that is the preferred server's service.
    fn first_service(&self) -> Result<&WebServer> {
        let service = self.first.service.as_ref();
        service.context("the service of this trio is no process")
    }

    /// Stops what speaks OSPF on the preferred server in order; the other must take over.
    ///
    /// # Errors
    ///
    /// When it does not.
    #[track_caller]
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
    #[track_caller]
    pub fn come_back(&self, probe: &Probe) -> Result<Outage> {
        change(probe, SERVER_1, || self.first.daemon.run())
    }
}

/// Does something and waits until `server` serves.
#[track_caller]
fn change(probe: &Probe, server: &str, act: impl FnOnce() -> Result<()>) -> Result<Outage> {
    let from = Instant::now();
    act()?;
    let switched = probe.wait_served_by(server, from, IN_A_ROW, PATIENCE)?;
    std::thread::sleep(SETTLE);
    let to = Instant::now();
    Ok(Outage {
        from,
        to,
        switched,
        gap: probe.longest_gap(from, to),
    })
}
