//! Questions to the anycast addresses of both families at the same time.

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{
    beats::{Beats, Gap},
    lab::{Lab, PATIENCE},
    trio::Trio,
};

/// How long the last answers may take.
const LAST: Duration = Duration::from_millis(300);

/// The questions of IPv6 and of IPv4.
#[derive(Debug)]
pub struct Both([Beats; 2]);

impl Both {
    /// Starts to ask and waits until the preferred server of a trio answers in both families.
    ///
    /// # Errors
    ///
    /// When it does not.
    #[track_caller]
    pub fn start(trio: &Trio) -> Result<Self> {
        Ok(Self([trio.beats()?, trio.beats_ipv4()?]))
    }

    /// Waits until a server has answered `times` questions in a row of each family that were asked after `since`.
    ///
    /// # Errors
    ///
    /// When it does not in time.
    #[track_caller]
    pub fn wait_served_by(&self, server: &str, since: Instant, times: usize) -> Result<()> {
        for beats in &self.0 {
            beats.wait_served_by(server, since, times, PATIENCE)?;
        }
        Ok(())
    }

    /// What a time cost in each family, said too, when the last answers have come.
    pub fn gaps(&self, lab: &Lab, what: &str, from: Instant, to: Instant) -> [Gap; 2] {
        thread::sleep((to + LAST).saturating_duration_since(Instant::now()));
        let gaps = self.0.each_ref().map(|beats| beats.gap(from, to));
        for (family, gap) in ["IPv6", "IPv4"].iter().zip(&gaps) {
            lab.say(format_args!(
                "{what}: {family} gap {:.1?}, {} lost",
                gap.longest, gap.lost
            ));
        }
        gaps
    }

    /// The servers that have answered the questions asked since a moment, of each family.
    pub fn answered_by(&self, from: Instant) -> [BTreeSet<String>; 2] {
        self.0.each_ref().map(|beats| beats.answered_by(from))
    }
}
