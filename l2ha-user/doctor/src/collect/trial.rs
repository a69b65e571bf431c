//! Trying what the kernel has, in a network namespace that is gone afterwards.

use anyhow::{Context as _, Result};
use dataplane::inspect;
use linux::VethPair;
use nix::sched::{CloneFlags, unshare};

use super::thread::with_netlink;
use crate::facts::Needed;

/// A pair that only the trial's namespace ever sees.
const PAIR: VethPair<'_> = VethPair {
    visible: "l2-doctor",
    hidden: "l2h-doctor",
    mac: [2, 0, 0, 0, 0, 1],
    queues: 1,
};

/// What l2ha needs and the kernel lacks, with its answer.
pub(super) fn lacks() -> Result<Vec<(Needed, String)>> {
    let enter = || unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace");
    with_netlink(enter, async |netlink| {
        let mut lacks = Vec::new();
        if let Err(error) = netlink.add_veth(&PAIR).await {
            lacks.push((Needed::Veth, error.to_string()));
        }
        if let Err(error) = inspect::try_clsact("lo") {
            lacks.push((Needed::Clsact, format!("{error:#}")));
        }
        Ok(lacks)
    })
}
