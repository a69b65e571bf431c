//! How received frames are merged and spread on the virtual interfaces.

use anyhow::{Context as _, Result};
use config::Config;
use linux::ethtool::{self, Offload, Queues};

/// A veth gives what it receives to GRO only when the sending end would not have kept it
/// whole; received frames are sent into the hidden end. With XDP they were merged before
/// (`merged`).
///
/// Each queue of the underlay goes on to one of the virtual interface, so that what the NIC has
/// spread over the processors stays spread.
pub(crate) fn ensure(config: &Config, merged: bool) -> Result<()> {
    // A driver that does not say has one.
    let queues = ethtool::channels(&config.underlay.interface)
        .map_or(1, |channels| channels.receiving().max(1));
    for tunnel in &config.tunnels {
        let hidden = &tunnel.hidden;
        if ethtool::is_on(hidden, Offload::Tso)? != merged {
            ethtool::set(hidden, Offload::Tso, merged)
                .with_context(|| format!("cannot switch TSO of {hidden}"))?;
        }
        for (end, direction) in [(&tunnel.interface, Queues::Rx), (hidden, Queues::Tx)] {
            ethtool::set_queues(end, direction, queues)
                .with_context(|| format!("cannot set how many queues {end} has"))?;
        }
    }
    Ok(())
}
