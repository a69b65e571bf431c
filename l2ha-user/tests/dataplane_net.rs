//! The data plane between two namespaces.

mod kit;

use anyhow::{Context as _, ensure};
use kit::{
    Result,
    net::{Pair, Wire},
};
use l2ha::dataplane::{AttachMode, Sublayer};

/// Every way to carry a pseudowire.
fn wires() -> Vec<Wire> {
    let mut wires = Vec::new();
    for mode in [AttachMode::Xdp, AttachMode::Tc] {
        for v6 in [false, true] {
            for udp in [true, false] {
                for sublayer in [Sublayer::None, Sublayer::Default] {
                    wires.push(Wire {
                        v6,
                        udp,
                        sublayer,
                        mode,
                        ..Wire::default()
                    });
                }
            }
        }
    }
    wires
}

fn ping(pair: &Pair, words: &[&str]) -> Result {
    let mut command = vec!["ping", "-c", "3", "-i", "0.05", "-W", "1"];
    command.extend_from_slice(words);
    let (status, text) = pair.a.ns.try_run(&command)?;
    ensure!(
        status.success(),
        "{:?}: {text}\na: {:?} {:?}\nb: {:?} {:?}",
        pair.wire,
        pair.a.reasons()?,
        pair.a.traffic()?,
        pair.b.reasons()?,
        pair.b.traffic()?,
    );
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn pings_over_every_wire() -> Result {
    for wire in wires() {
        let pair = Pair::new(wire).with_context(|| format!("{wire:?}"))?;
        ping(&pair, &["192.0.2.2"])?;
        ping(&pair, &["fd00:2::2"])?;
        let full = (wire.mtu() - 28).to_string();
        ping(&pair, &["-M", "do", "-s", &full, "192.0.2.2"])?;
    }
    Ok(())
}
