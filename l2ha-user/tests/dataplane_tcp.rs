//! TCP through the pseudowire: super-packets stay whole, and nothing is lost on the way.

mod kit;

use std::{
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use kit::{
    Result,
    net::{Pair, Wire},
};
use l2ha::dataplane::AttachMode;
use serde_json::Value;

/// Runs iperf3 from one host to the other and returns Gbit/s.
fn iperf(pair: &Pair, target: &str, words: &[&str]) -> Result<f64> {
    let mut server = Command::new("iperf3");
    server
        .args(["--server", "--one-off", "--bind", target])
        .stdout(Stdio::null());
    let server = pair.b.ns.spawn(server)?;
    let mut command = vec!["iperf3", "--json", "--client", target];
    command.extend_from_slice(words);
    let mut text = String::new();
    for _ in 0..250 {
        let (status, said) = pair.a.ns.try_run(&command)?;
        text = said;
        if !text.contains("Connection refused") {
            ensure!(status.success(), "{text}");
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    server.kill();
    let report: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
    let rate = report["end"]["sum_received"]["bits_per_second"]
        .as_f64()
        .with_context(|| format!("no rate: {text}"))?;
    Ok(rate / 1e9)
}

fn measure(wire: Wire) -> Result {
    let pair = Pair::new(wire)?;
    for target in ["192.0.2.2", "fd00:2::2"] {
        let rate = iperf(&pair, target, &["--time", "2"])?;
        println!(
            "{:?} udp {} v6 {} as a wire {} to {target}: {rate:.2} Gbit/s, {:?} {:?} {:?}",
            wire.mode,
            wire.udp,
            wire.v6,
            wire.as_a_wire,
            pair.a.traffic()?,
            pair.a.reasons()?,
            pair.b.reasons()?
        );
        ensure!(rate > 0.05, "{wire:?}: {rate} Gbit/s");
    }
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn tcp_flows() -> Result {
    for mode in [AttachMode::Xdp, AttachMode::Tc] {
        for v6 in [false, true] {
            for udp in [true, false] {
                measure(Wire {
                    v6,
                    udp,
                    mode,
                    ..Wire::default()
                })?;
            }
        }
    }
    measure(Wire {
        mode: AttachMode::Tc,
        as_a_wire: false,
        ..Wire::default()
    })?;
    measure(Wire {
        mode: AttachMode::Tc,
        as_a_wire: false,
        v6: true,
        ..Wire::default()
    })
}
