//! UDP packets of a tunnel with checksums that come close together, received by tc on this machine:
//! lost when the kernel joins them, and not any more after the command that `l2ha doctor` prints.

use std::{net::UdpSocket, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use l2ha_lab::{
    Cloud, Daemon, Lab, Link, NodeConfig, UNDERLAY,
    vm::{Vm, join_vm},
};
use serde_json::Value;

pub(crate) fn lost_until_they_are_not_joined(
    lab: &Lab,
    cloud: &Arc<Cloud>,
    vm: &Arc<Vm>,
) -> Result<()> {
    let host = lab.host(cloud, "joined")?;
    let mut config = NodeConfig::tunnels_only(lab, &host)?;
    config.mode = "tc".into();
    let link = Link {
        v6: true,
        ..Link::default()
    };
    join_vm(&mut config, vm, 1, link)?.add(vm)?;
    let daemon = Daemon::start(lab, config)?;
    // A busy NIC hands many packets to GRO at once; a veth gives them one by one unless GRO
    // waits for more.
    host.ns.run(["ethtool", "-K", UNDERLAY, "gro", "on"])?;
    let wait = "mount -t sysfs sysfs /sys && cd /sys/class/net/eth0 && \
                    echo 2000000 >gro_flush_timeout && echo 10 >napi_defer_hard_irqs";
    host.ns.run(["unshare", "--mount", "sh", "-c", wait])?;
    // Somebody who listens: or the sender would hear that nobody does, and end.
    let _ear = host.ns.enter(|| UdpSocket::bind("10.78.1.1:9"))??;
    vm.run("ping -c 1 -W 5 10.78.1.1; head -c 1000000 /dev/zero >/tmp/data")?;

    for feature in ["rx-gro-list", "rx-udp-gro-forwarding"] {
        host.ns.run(["ethtool", "-K", UNDERLAY, feature, "on"])?;
        let (received, lost) = burst(vm, &daemon)?;
        ensure!(
            received < BURST / 2 && lost > 0,
            "{feature}: {received}, {lost}"
        );
        let file = daemon.file().to_string_lossy().into_owned();
        let binary = daemon.binary().to_string_lossy().into_owned();
        let words = [&*binary, "doctor", "--json", "--config", &file];
        let (_, text) = host.ns.try_run(words)?;
        let answer: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
        let command = answer["findings"][0]["command"]
            .as_str()
            .with_context(|| text.clone())?;
        ensure!(command.contains(feature), "{text}");
        host.ns.run(["sh", "-c", command])?;
        let (after, failed) = burst(vm, &daemon)?;
        ensure!(
            after > BURST * 9 / 10 && failed == 0,
            "mended: {after}, {failed}"
        );
        lab.say(format_args!(
            "{feature}: {received} of {BURST} arrive, {lost} refused; after `{command}`: {after}"
        ));
    }
    daemon.stop()
}

/// Packets in a burst.
const BURST: u64 = 1000;

/// Sends a burst through the tunnel; how much of it is received, and how many packets
/// cannot be.
fn burst(vm: &Vm, daemon: &Daemon) -> Result<(u64, u64)> {
    let counts = || -> Result<(u64, u64)> {
        let status = daemon.status()?;
        let number = |value: &Value| value.as_u64().context("no number");
        Ok((
            number(&status["tunnels"][0]["rx_packets"])?,
            number(&status["dataplane"]["reasons"]["decap_failed"])?,
        ))
    };
    let before = counts()?;
    vm.run("exec 3<>/dev/udp/10.78.1.1/9; dd if=/tmp/data bs=1000 >&3 2>/dev/null")?;
    // What GRO still holds back comes within milliseconds.
    std::thread::sleep(Duration::from_millis(200));
    let after = counts()?;
    Ok((after.0 - before.0, after.1 - before.1))
}
